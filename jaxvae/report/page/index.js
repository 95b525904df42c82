/* A folder of runs: a table that is sorted by a click on the head of a column. */
'use strict';

/** Columns: what they are called, what they are sorted by, and what they show. */
const COLUMNS = [
  { name: 'run', key: ({ name }) => name, show: nameOf },
  { name: 'experiment', key: ({ experiment }) => experiment, show: ({ experiment }) => experiment ?? '–' },
  { name: 'state', key: ({ state }) => state, show: stateOf },
  { name: 'loss', key: ({ best }) => best.val_loss, show: ({ best }) => number(best.val_loss, 5) },
  { name: 'recon', key: ({ best }) => best.val_recon, show: ({ best }) => number(best.val_recon, 5) },
  { name: 'KL', key: ({ best }) => best.val_kl || null, show: ({ best }) => number(best.val_kl || null) },
  { name: 'MSE', key: ({ best }) => best.val_mse, show: ({ best }) => number(best.val_mse, 3) },
  { name: 'parameters', key: ({ parameters }) => parameters, show: ({ parameters }) => (parameters === null ? '–' : parameters.toLocaleString('en')) },
  { name: 'time', key: ({ seconds }) => seconds, show: ({ seconds }) => (seconds === null ? '–' : duration(seconds)) },
  { name: 'last changed', key: ({ changed }) => changed, show: ({ changed }) => new Date(1000 * changed).toLocaleString('sv').slice(0, 16).replaceAll('-', '\u2011') },
];

function nameOf({ name, link }) {
  return link ? el('a', { href: link }, name) : name;
}

function stateOf({ state, epoch, epochs, members, member }) {
  const [word, why] = state.split(/: (.*)/s);
  if (epochs === null) return el('div', { className: 'state' }, word, el('small', {}, why));
  const of = members ? `; ${members} members${member === undefined ? '' : `, the best is ${member}`}` : '';
  return el('div', { className: 'state' }, word, el('small', {}, why ? `${why}; ` : '', `${number(epoch)} of ${epochs} epochs${of}`));
}

/** Numbers by size, names by letters; what is not known comes last, whichever way. */
function order(a, b, down) {
  const known = (value) => value !== null && value !== undefined;
  if (!known(a) || !known(b)) return known(b) - known(a);
  const by = typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true });
  return down ? -by : by;
}

function showRuns() {
  const body = el('tbody', {}, ...contents.runs.map((run) => {
    const picture = run.thumbnail
      ? el('img', { src: run.thumbnail.url, alt: `${run.thumbnail.name} of ${run.name}`, loading: 'lazy' }) : null;
    const [first, ...rest] = COLUMNS.map(({ show }) => show(run));
    const line = el('tr', {}, el('td', { className: 'thumbnail' }, picture), el('th', { scope: 'row' }, first), ...rest.map((cell) => el('td', {}, cell)));
    line.run = run;
    return line;
  }));
  const heads = COLUMNS.map(({ name, key }) => {
    const head = el('th', { scope: 'col' });
    head.append(el('button', {
      type: 'button',
      onclick: () => {
        const down = head.getAttribute('aria-sort') === 'ascending';
        for (const other of heads) other.removeAttribute('aria-sort');
        head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
        body.append(...[...body.children].sort((a, b) => order(key(a.run), key(b.run), down)));
      },
    }, name));
    return head;
  });
  heads[0].setAttribute('aria-sort', 'ascending');
  const table = el('table', { className: 'side index' }, el('thead', {}, el('tr', {}, el('td', {}), ...heads)), body);
  document.getElementById('main').append(wide('Runs', table));
}

openPage(async () => {
  const { runs } = contents;
  const linked = runs.filter(({ link }) => link).length;
  document.getElementById('header').append(el('h1', {}, contents.title), el('p', {},
    `${runs.length} ${runs.length === 1 ? 'run' : 'runs'}, ${linked} with a page of ${linked === 1 ? 'its' : 'their'} own, to which the name leads. `
    + 'Losses are of the validation examples at the best epoch, in nats per example; of different experiments they need not be of one kind.',
  onScreen(' The head of a column sorts.')));
  showRuns();
});
