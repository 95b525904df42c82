/* Runs beside each other: numbers and settings, curves, rate and distortion, pictures. */
'use strict';

const DASHES = [undefined, [7, 4], [2, 3]];
const TRAINING = [1, 2];
const SCATTER = { height: 340, point: 9, near: 24, gap: 8 };

/** Runs that the legend hides, by index. */
const hiddenRuns = new Set();

function showHeader() {
  const members = contents.runs.filter(({ member }) => member).map(({ name, member }) => el('p', { className: 'expected' }, `${name} is a population; shown is its ${member}. Curves, rate and distortion are of every member.`));
  document.getElementById('header').append(el('h1', {}, contents.title), ...members);
  showNotes();
  for (const { name, state, lacks } of contents.runs) {
    const said = [state.includes(': ') ? `${state}.` : '', lacks ? `No pictures of it: ${lacks}.` : ''].filter(Boolean).join(' ');
    if (said) document.getElementById('main').append(el('p', { className: 'note' }, el('b', {}, name), ` ${said}`));
  }
}

/** Buttons that show and hide a run everywhere on the page. */
function showLegend() {
  const legend = el('div', { className: 'legend runs', role: 'group', 'aria-label': 'Runs on this page' });
  contents.runs.forEach(({ name, color: ink }, run) => {
    legend.append(legendButton(name, ink, ({ currentTarget }) => {
      if (!hiddenRuns.delete(run)) hiddenRuns.add(run);
      currentTarget.setAttribute('aria-pressed', String(!hiddenRuns.has(run)));
      for (const part of document.querySelectorAll(`[data-run="${run}"]`)) part.hidden = hiddenRuns.has(run);
      repaint();
    }));
  });
  document.getElementById('main').append(legend);
}

/** The name of a run with its colour, and a link to its page where it has one. */
function runName(run) {
  const { name, color: ink, link } = contents.runs[run];
  return [swatch(ink), link ? el('a', { href: link }, name) : name];
}

function showTable() {
  const of = (read, digits) => contents.runs.map((run) => number(read(run), digits));
  const best = (name) => of((run) => run.best[name] || null, 5); // an AE has no KL
  const rows = [
    ['state', contents.runs.map(({ state }) => state.split(': ')[0])],
    ['epochs', contents.runs.map(({ epoch, epochs }) => `${number(epoch)} of ${epochs}`)],
    ['best epoch', of((run) => run.best.epoch)],
    ['validation loss', best('val_loss'), contents.runs.map((run) => run.best.val_loss)],
    ['reconstruction', best('val_recon')],
    ['KL divergence', best('val_kl')],
    ['mean squared error', best('val_mse'), contents.runs.map((run) => run.best.val_mse)],
    ['parameters', contents.runs.map(({ parameters }) => (parameters === null ? '–' : parameters.toLocaleString('en')))],
    ['time', contents.runs.map(({ seconds }) => (seconds === null ? '–' : duration(seconds)))],
  ];
  const cells = (values, numbers) => {
    const known = (numbers ?? []).filter((value) => Number.isFinite(value));
    const least = contents.one_kind.loss && known.length > 1 ? Math.min(...known) : null;
    return values.map((value, run) => el('td', { 'data-run': run },
      numbers && numbers[run] === least ? el('b', {}, value) : value ?? '–'));
  };
  const broken = (name) => name.split(/(?<=\.)/).flatMap((part) => [el('wbr'), part]);
  const line = ([name, values, numbers]) => el('tr', {}, el('th', { scope: 'row' }, ...broken(name)), ...cells(values, numbers));
  const group = (title) => el('tr', { className: 'group' }, el('th', { scope: 'colgroup', colSpan: contents.runs.length + 1 }, title));
  const settings = contents.settings;
  const table = el('table', { className: 'side' },
    el('thead', {}, el('tr', {}, el('td', {}), ...contents.runs.map(({ experiment }, run) =>
      el('th', { scope: 'col', 'data-run': run }, ...runName(run), el('small', {}, experiment))))),
    el('tbody', {}, group('Reached at the best epoch'), ...rows.filter(([, values]) => values.some((value) => value !== '–')).map(line),
      group(settings.length ? 'Settings that differ' : 'All settings are the same.'),
      ...settings.map(({ name, values }) => line([name, values]))));
  const bold = contents.one_kind.loss ? ' The lowest is bold.' : '';
  section('differences', 'What differs, and what it did', el('p', {},
    `Losses are of the validation examples, in ${contents.unit}.${bold}`), wide('What differs', table));
}

function showAllCurves() {
  const training = el('input', { type: 'checkbox', id: 'training', onchange: () => repaint() });
  const { panels } = contents.curves;
  for (const { series } of panels) {
    for (const one of series) {
      const { name, color: ink, dashed } = contents.runs[one.run];
      Object.assign(one, {
        training: { name: `${name}, training`, ink: `${ink}99`, width: 1, dash: TRAINING },
        member: { name: `${name}, another member`, ink: `${ink}99`, width: 1, quiet: true },
        '': { name, ink, width: 2.5 },
      }[one.of]);
      one.dash ??= DASHES[dashed % DASHES.length];
      Object.defineProperty(one, 'hidden', { get: () => hiddenRuns.has(one.run) || (one.of === 'training' && !training.checked) });
    }
  }
  const part = panels.length ? showCurves() : null;
  if (part && contents.runs.some(({ member }) => member)) {
    part.querySelector('p').append(' Of a population the thin, pale curves are the other members\u2019; what is read is the best one\u2019s.');
  }
  part?.querySelector('p').after(el('label', { className: 'check on-screen', for: 'training' }, training, ' training too, dotted'));
  if (contents.alone.length) {
    (part ?? section('curves', 'Training')).append(el('p', { className: 'hint' }, `Not drawn, since one run alone has it: ${contents.alone.join('; ')}.`));
  }
}

/** Reconstruction against KL, a point for every model. */
function showPlane() {
  const points = contents.points.filter(({ recon, kl }) => Number.isFinite(recon) && Number.isFinite(kl)).sort((a, b) => a.kl - b.kl);
  const without = contents.runs.map(({ name }, run) => ({ name, run }))
    .filter(({ run }) => !points.some((point) => point.run === run)).map(({ name }) => name);
  const lacking = without.length ? ` Not in it, for want of a KL or of a finished epoch: ${without.join(', ')}.` : '';
  const kinds = contents.one_kind.recon ? '' : ' The reconstructions of these runs are not of one kind: compare with care.';
  const part = section('plane', 'Rate and distortion', el('p', {},
    `What a code costs (KL) and what is lost in spite of it (reconstruction), in ${contents.unit}, at the best epoch of `
    + `each run, and of each member of a population. Lower and further left is better.${kinds}${lacking}`));
  if (!points.length) return;
  const title = (point) => [contents.runs[point.run].name, point.words].filter(Boolean).join(', ');
  const host = el('div', { role: 'img', 'aria-label': `Reconstruction against KL of ${points.length} models; a table of them is below.` });
  const readout = el('div', { className: 'readout' }, onScreen('Point at one to read it.'));
  const figure = el('figure', { className: 'curve plane' }, host, readout);
  const shown = () => points.filter(({ run }) => !hiddenRuns.has(run));
  const read = (u) => {
    const away = (point) => Math.hypot(u.valToPos(point.kl, 'x') - u.cursor.left, u.valToPos(point.recon, 'y') - u.cursor.top);
    const near = shown().sort((a, b) => away(a) - away(b))[0];
    if (near === undefined || away(near) > SCATTER.near) return;
    readout.replaceChildren(swatch(contents.runs[near.run].color),
      `${title(near)}: KL ${number(near.kl)}, reconstruction ${number(near.recon, 5)}, epoch ${near.epoch}`);
  };
  chart(figure, host, () => ({
    height: SCATTER.height,
    cursor: { points: { show: false }, drag: { x: true, y: true } },
    scales: { x: { time: false, range: (u, low, high) => widened(low, high) }, y: { range: (u, low, high) => widened(low, high) } },
    axes: [axis((t) => number(t, 4), { size: 32, label: 'KL divergence', labelFont: '12px system-ui' }),
      axis((t) => number(t, 4), { label: 'reconstruction', labelFont: '12px system-ui', size: 56 })],
    series: [{}, ...contents.runs.map(({ name, color: ink }, run) => ({
      label: name, show: !hiddenRuns.has(run), stroke: ink, paths: () => null, points: { show: true, size: SCATTER.point, fill: ink },
    }))],
    hooks: { setCursor: [read], draw: [(u) => writeNames(u, shown())] },
  }), [points.map(({ kl }) => kl), ...contents.runs.map((_, run) => points.map((point) => (point.run === run ? point.recon : null)))]);
  const head = ['model', 'KL', 'reconstruction', 'loss', 'epoch'].map((name) => el('th', { scope: 'col' }, name));
  part.append(figure, el('details', {}, el('summary', {}, 'The same as a table'), wide('Rate and distortion', el('table', {},
    el('thead', {}, el('tr', {}, ...head)),
    el('tbody', {}, ...points.map((point) => el('tr', { 'data-run': point.run }, el('th', { scope: 'row' }, title(point)),
      ...[point.kl, point.recon, point.loss, point.epoch].map((value) => el('td', {}, number(value, 5))))))))));
}

function widened(low, high) {
  const pad = 0.12 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - pad, high + pad];
}

/** Names beside points, where they cover no other name and no point. */
function writeNames(u, points) {
  const { ctx, bbox } = u;
  const scale = devicePixelRatio;
  const gap = SCATTER.gap * scale;
  const at = points.map(({ kl, recon }) => [u.valToPos(kl, 'x', true), u.valToPos(recon, 'y', true)]);
  const taken = at.map(([x, y]) => ({ y, left: x - gap / 2, right: x + gap / 2 }));
  ctx.save();
  ctx.font = `${11 * scale}px system-ui`;
  ctx.fillStyle = color('--ink');
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'left';
  points.forEach(({ run, words }, i) => {
    const text = [contents.runs[run].name, words.split(': ').pop()].filter(Boolean).join(', ');
    const width = ctx.measureText(text).width;
    const [x, y] = at[i];
    const left = [x + gap, x - gap - width].find((start) => start > bbox.left && start + width < bbox.left + bbox.width
      && taken.every((other) => Math.abs(other.y - y) > 13 * scale || other.left > start + width || other.right < start));
    if (left === undefined) return;
    taken.push({ y, left, right: left + width });
    ctx.fillText(text, left, y);
  });
  ctx.restore();
}

/** Rows of pictures beneath each other: `rows` have a head, `images` and captions. */
function pictures(name, rows) {
  const lines = rows.map(({ run, head, images, captions, form }) => {
    const cells = images.map((values, i) => {
      const canvas = picture(values.own, captions[i].label, 'picture', form);
      if (form.kind !== 'image') painted(() => draw(canvas, values.own, values.behind, form));
      return el('td', {}, el('figure', {}, canvas, captions[i].text ? el('figcaption', {}, captions[i].text) : null));
    });
    const line = el('tr', { 'data-kind': form.kind }, el('th', { scope: 'row' }, ...head), ...cells);
    if (run !== undefined) line.setAttribute('data-run', run);
    return line;
  });
  return wide(name, el('table', { className: 'side looks' }, el('tbody', {}, ...lines)));
}

/** The rows of a reference, each as a flat array. */
async function unpackRows(reference) {
  const flat = await unpack(reference);
  return Array.from({ length: reference.shape[0] }, (_, i) => row(flat, reference, i));
}

/** What `evaluate` measured on two runs at least, on the same examples: a table for each group. */
function showInCommon() {
  const { measures } = contents;
  if (!measures.length) return;
  const part = section('measures', 'Measures', el('p', {},
    'What jaxvae evaluate measured on two runs at least, on the same examples, made ready alike, and under the same options, with '
    + `standard errors. Arrows say which way is better; nats are ${contents.unit.replace('nats ', '')}. A dash: it was not measured so, `
    + 'or it is a number of another objective or likelihood.'));
  for (const { title, of, settings, epochs, rows } of measures) {
    const heads = contents.runs.map((_, run) => el('th', { scope: 'col', 'data-run': run }, ...runName(run),
      epochs[run] ? el('small', {}, `not at the best epoch, but ${typeof epochs[run] === 'number' ? `at epoch ${epochs[run]}` : epochs[run]}`) : ''));
    const table = (some, name) => wide(name, el('table', { className: 'side common' },
      el('thead', {}, el('tr', {}, el('td', {}), ...heads.map((head) => head.cloneNode(true)))),
      el('tbody', {}, ...some.map((row) => el('tr', {}, measureHead(row),
        ...row.values.map((cell, run) => el('td', { 'data-run': run }, cell ? withError(cell) : '–')))))));
    const rest = rows.slice(ROWS);
    part.append(el('h3', {}, title), el('p', { className: 'hint' }, `Of ${[of, settings].filter(Boolean).join('; ')}.`),
      table(rows.slice(0, ROWS), title),
      rest.length ? el('details', {}, el('summary', {}, `${rest.length} more`), table(rest, `${title}, the rest`)) : '');
  }
}

async function showExamples() {
  const groups = contents.examples;
  if (!groups.length) return;
  const apart = groups.length > 1
    ? ` Runs whose test examples, or what is made of them before a model sees them, are not the same stand apart: their errors cannot be compared.` : '';
  const part = section('examples', 'The same examples, reconstructed', el('p', {},
    `Test examples, and below them what each run makes of their codes, with the mean squared error; beside a run its mean over these.${apart}`));
  for (const group of groups) {
    const originals = await unpackRows(group.originals);
    const own = group.index.map((index) => ({ label: `Test example ${index}`, text: '' }));
    const rows = [{ head: ['test examples'], images: originals.map((values) => ({ own: values })), captions: own, form: group }];
    for (const { run, error, images } of group.runs) {
      const mean = error.reduce((a, b) => a + b, 0) / error.length;
      const name = contents.runs[run].name;
      rows.push({
        run,
        form: group,
        head: [...runName(run), el('small', {}, `mean ${number(mean, 3)}`)],
        images: (await unpackRows(images)).map((values, i) => ({ own: values, behind: originals[i] })),
        captions: error.map((value, i) => ({ label: `Test example ${group.index[i]} by ${name}, error ${number(value, 3)}`, text: number(value, 2) })),
      });
    }
    const alone = group.runs.length > 1 ? '' : ' No other run has these.';
    part.append(el('h3', {}, group.source), el('p', { className: 'hint' },
      `${group.index.length} of ${group.count.toLocaleString('en')} test examples; errors ${PER_VALUE[group.kind]}.${alone}`), pictures(group.source, rows));
  }
}

async function showLatents() {
  const { groups, others } = contents.latents;
  if (!groups.length && !others.length) return;
  const left = others.map((run) => contents.runs[run].name).join(', ');
  const part = section('latents', 'The same codes, decoded', el('p', {},
    'Draws from N(0, I), the same for all runs of as many latents. Each run has found axes of its own: that two decode a code alike is '
    + 'not to be expected; how sharp, how varied and how likely these samples are can be compared.'
    + (groups.length > 1 ? ' Runs with other numbers of latents cannot be given the same codes, and stand apart.' : '')
    + (left ? ` Left out, since N(0, I) is not the prior of their codes: ${left}.` : '')));
  for (const { latents, runs } of groups) {
    const rows = [];
    for (const { run, kind, shape, classes, images } of runs) {
      const { name } = contents.runs[run];
      rows.push({
        run,
        form: { kind, shape },
        head: [...runName(run), classes ? el('small', {}, 'each class in turn') : ''],
        images: (await unpackRows(images)).map((own) => ({ own })),
        captions: Array.from({ length: images.shape[0] }, (_, i) => ({ label: `Code ${i + 1} by ${name}`, text: '' })),
      });
    }
    part.append(el('h3', {}, `${latents} ${latents === 1 ? 'latent' : 'latents'}`), pictures(`Codes of ${latents} latents`, rows));
  }
}

openPage(async () => {
  showHeader();
  showLegend();
  showTable();
  showAllCurves();
  showPlane();
  showInCommon();
  await showExamples();
  await showLatents();
});
