/* Codebooks: how often each code is used, what it looks like, and an example whose codes can be
 * replaced by others. */
'use strict';

/** Codes of a book that are seen at once; the others behind a line to open. */
const CODES = 64;

/** Their section, added to the page. Returns the `Codes` of an example; null: the page cannot
 * compute them. */
function showCodebooks(model, explorer) {
  const { codebooks: books, rounded } = contents;
  if (!books.length) return null;
  const codes = model.quantiser && model.decoder ? new Codes(model, explorer) : null;
  const several = books.length > 1;
  const sum = 'A position has a code of each book: of the first the nearest to its features, of every other one the nearest '
    + 'to what the books before it leave. The decoder is given their sum. ';
  const scalars = rounded && `A position has ${several ? `${books.length} channels, each` : 'a channel'} rounded to one of a few levels: `
    + `of ${rounded.codes.toLocaleString('en')} codes ${rounded.used.toLocaleString('en')} are in use, perplexity ${number(rounded.perplexity, 3)}. `;
  const [code, of] = rounded ? ['level', 'channel'] : ['code', 'book'];
  const upon = several ? `, ${rounded ? 'beside the mean' : 'added to the mean code'} of each other ${of}` : '';
  const looks = codes ? ` A ${code} is shown as what is decoded where it stands at every position${upon}.` : '';
  section('codebook', rounded ? 'Codes' : several ? 'Codebooks' : 'Codebook',
    el('p', {}, `${scalars ?? (several ? sum : '')}Below a ${code} is its share of all positions of ${contents.counted.toLocaleString('en')} test examples; a perplexity of n is `
      + `that of n codes which are used alike.${looks}`),
    ...(codes?.parts ?? []), ...books.flatMap((_, book) => bookOf(book, codes)));
  codes?.take(0);
  return codes;
}

/** What a code of a book is called: by its place in it, or as the value that it is. */
function codeName(book, code) {
  const { values } = contents.codebooks[book];
  return values ? number(values[code], 2) : String(code);
}

/** A book: its codes, the most used first; of the levels of a channel the lowest first. */
function bookOf(book, codes) {
  const { counts, perplexity, values } = contents.codebooks[book];
  const total = counts.reduce((a, b) => a + b, 0);
  const most = Math.max(...counts);
  const order = [...counts.keys()];
  if (!values) order.sort((a, b) => counts[b] - counts[a]);
  const figure = (code) => {
    const percent = (100 * counts[code]) / total;
    const share = percent > 0 && percent < 0.1 ? '< 0.1 %' : `${number(percent, 2)} %`;
    const bar = el('span', { className: 'use' }, el('span', {}));
    bar.firstChild.style.width = `${(100 * counts[code]) / most}%`;
    const name = codeName(book, code);
    return el('figure', { title: `${values ? 'Level' : 'Code'} ${name}: ${share} of all positions`, className: counts[code] ? '' : 'unused' },
      codes?.button(book, code, share), bar, el('figcaption', {}, values ? el('b', {}, name) : null, values ? el('br') : null, share));
  };
  const figures = (some) => el('div', { className: 'row small' }, ...some.map(figure));
  const used = counts.filter((n) => n > 0).length;
  const name = contents.codebooks.length > 1 ? `${values ? 'Channel' : 'Book'} ${book + 1}: ` : '';
  const rest = order.slice(CODES);
  const more = el('details', {
    ontoggle: () => { // only then, since each has to be decoded
      if (more.children.length > 1) return;
      more.append(figures(rest));
      codes?.mark();
    },
  }, el('summary', {}, `${rest.length} more`));
  return [el('h3', {}, `${name}${used} of ${counts.length} ${values ? 'levels' : 'codes'} in use, perplexity ${number(perplexity, 3)}`),
    figures(order.slice(0, CODES)), rest.length ? more : null];
}

/** The codes of an example: a click on a place, and then on a code of a book, puts it there. */
class Codes {
  constructor(model, explorer) {
    const [rows, columns] = model.heads.code[0].after;
    Object.assign(this, { model, explorer, rows, columns, books: contents.codebooks.length, buttons: [] });
    this.place = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    this.original = el('canvas', { className: 'picture', role: 'img' });
    this.picture = el('canvas', { className: 'picture', role: 'img', 'aria-label': 'Decoded from the codes' });
    this.outline = el('div', { className: 'place' });
    this.outline.style.cssText = `width: ${100 / columns}%; height: ${100 / rows}%`;
    this.frame = el('div', {
      className: 'places', tabIndex: 0, role: 'application', 'aria-label': 'The place whose codes are changed: arrows move it',
      onclick: (event) => this.point(event), onkeydown: (event) => this.press(event),
    }, this.picture, this.outline);
    this.said = el('output', { 'aria-live': 'polite' });
    const button = (text, action) => el('button', { type: 'button', onclick: action }, text);
    const each = this.books > 1 ? `, one of each ${contents.rounded ? 'number' : 'book'}` : '';
    this.parts = [el('h3', {}, 'Change a code'),
      el('p', { className: 'hint' }, `Click a place of what is decoded, and then below the ${contents.rounded ? 'level' : 'code'} that it is to have. Those that it has are framed${each}.`),
      el('div', { className: 'bar' },
        button('Another test example', () => this.take(Math.floor(Math.random() * explorer.latents.carried.shape[0]))),
        button('Its own codes again', () => this.take(this.example))),
      el('div', { className: 'changed' },
        el('figure', {}, this.original, el('figcaption', {}, 'Test example')),
        el('figure', {}, this.frame, el('figcaption', {}, 'Decoded from its codes')),
        this.said)];
  }

  /** A button that shows a code, and puts it at the place. */
  button(book, code, share) {
    const { codes, count, length } = this.model.quantiser;
    const sum = Float32Array.from({ length }, (_, k) => codes[(book * count + code) * length + k]);
    contents.codebooks.forEach(({ counts }, other) => {
      const total = counts.reduce((a, b) => a + b, 0);
      if (other === book) return;
      counts.forEach((n, one) => {
        for (let k = 0; k < length; k++) sum[k] += (n / total) * codes[(other * count + one) * length + k];
      });
    });
    const everywhere = Float32Array.from({ length: this.rows * this.columns * length }, (_, i) => sum[i % length]);
    const label = `${contents.rounded ? `Level ${codeName(book, code)} of channel` : `Code ${code} of book`} ${book + 1}, ${share}`;
    const made = el('button', {
      type: 'button', className: 'code-of', 'aria-label': label, 'aria-pressed': 'false', onclick: () => this.put(book, code),
    }, picture(this.model.decode(everywhere, -1), label));
    this.buttons.push({ book, code, made });
    return made;
  }

  /** A test example of those that the page holds. */
  take(i) {
    this.example = i;
    // What was not observed is 0 for the encoder.
    this.values = unit(row(this.explorer.carried, this.explorer.latents.carried, i)).map((value) => (Number.isNaN(value) ? 0 : value));
    draw(this.original, this.values);
    const name = className(this.explorer.labels[i]);
    this.original.setAttribute('aria-label', `Test example${name ? `, ${name}` : ''}`);
    this.chosen = this.model.chosen(this.values);
    this.show();
  }

  put(book, code) {
    this.chosen[this.place * this.books + book] = code;
    this.show();
  }

  point({ clientX, clientY }) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    this.go(Math.floor(((clientY - top) / height) * this.rows), Math.floor(((clientX - left) / width) * this.columns));
  }

  press(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    this.go(Math.floor(this.place / this.columns) + step[0], (this.place % this.columns) + step[1]);
  }

  go(i, j) {
    const within = (at, size) => Math.min(size - 1, Math.max(0, at));
    this.place = within(i, this.rows) * this.columns + within(j, this.columns);
    this.mark();
  }

  show() {
    this.decoded = this.model.decode(sumOfCodes(this.model.quantiser, this.chosen), -1);
    draw(this.picture, this.decoded);
    this.mark();
  }

  /** Frame the place and its codes. */
  mark() {
    const own = this.chosen.subarray(this.place * this.books, (this.place + 1) * this.books);
    const [i, j] = [Math.floor(this.place / this.columns), this.place % this.columns];
    this.outline.style.left = `${(100 * j) / this.columns}%`;
    this.outline.style.top = `${(100 * i) / this.rows}%`;
    for (const { book, code, made } of this.buttons) made.setAttribute('aria-pressed', String(own[book] === code));
    const where = this.rows > 1 ? `Row ${i + 1}, column ${j + 1}` : `Place ${j + 1}`;
    const names = [...own].map((code, book) => codeName(book, code));
    const have = contents.rounded ? `code (${names.join(', ')})` : `${own.length > 1 ? 'codes' : 'code'} ${names.join(' + ')}`;
    this.said.textContent = `${where}: ${have}. `
      + `Mean squared error ${number(meanSquaredError(this.values, this.decoded), 3)} ${PER_VALUE[contents.kind]}.`;
  }
}
