/* What `evaluate` measured on the run, a table for each group. */
'use strict';

/** Rows of a table that are seen at once; the others behind a line to open. */
const ROWS = 12;
const BETTER = { higher: ['\u2191', 'higher is better'], lower: ['\u2193', 'lower is better'] };

function showMeasures() {
  const { groups, command } = contents.measures;
  if (!groups.length) {
    section('measures', 'Measures', el('p', {}, command
      ? 'Beyond the losses of validation nothing was measured on this run yet. This measures all that applies, and writes the page anew:'
      : 'Beyond the losses of validation nothing was measured on this run yet: run.evaluate("all") does in Python.'),
    command ? commandBar(command) : null);
    return;
  }
  section('measures', 'Measures', el('p', {},
    `What jaxvae evaluate measured on this run, with standard errors. Arrows say which way is better; nats are ${contents.unit.replace('nats ', '')}.`),
  el('div', { className: 'groups' }, ...groups.map(measuresOf)));
}

function measuresOf(group) {
  const first = group.rows.slice(0, ROWS);
  const rest = group.rows.slice(ROWS);
  const said = [group.of, group.settings, group.by].filter(Boolean).join('; ');
  return el('div', { className: `measures${group.columns.length > 3 ? ' whole' : ''}`, id: `measures-${group.name}` },
    el('h3', {}, group.title),
    el('p', { className: 'hint' }, `Of ${said}.`),
    group.other ? el('p', { className: 'note', role: 'note' }, group.other) : null,
    measuresTable(group, first, group.title),
    rest.length ? el('details', {}, el('summary', {}, `${rest.length} more`), measuresTable(group, rest, `${group.title}, the rest`)) : null,
    ...group.notes.map((note) => el('p', { className: 'hint' }, `${note}.`)),
    group.command ? el('details', {}, el('summary', {}, 'To measure it again'), commandBar(group.command)) : null);
}

function measuresTable(group, rows, label) {
  const numbers = (cell) => el('td', { className: 'number' }, cell ? withError(cell) : '');
  return el('div', { className: 'wide', tabIndex: 0, role: 'region', 'aria-label': label }, el('table', {},
    el('thead', {}, el('tr', {}, ...['measure', ...group.columns].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, ...rows.map((row) => el('tr', {}, measureHead(row), ...row.values.map(numbers))))));
}

/** What a measure is called, which way is better, its unit and its definition. */
function measureHead({ name, text, unit, better }) {
  const sign = ([arrow, words]) => el('span', { title: words }, ` ${arrow}`, el('span', { className: 'unseen' }, ` (${words})`));
  return el('th', { scope: 'row' }, el('b', {}, name.replaceAll('_', ' ')), better ? sign(BETTER[better]) : null,
    unit ? el('span', { className: 'unit' }, ` ${unit}`) : null, text ? el('small', {}, text) : null);
}

/** A value with as many digits as its standard error tells: two of the error's own. */
function withError({ value, error }) {
  if (error === null || !(error > 0)) {
    return Number.isInteger(value) ? value.toLocaleString('en') : number(value, 4);
  }
  const digits = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(error))));
  const fixed = (x) => x.toFixed(digits).replace('-', '\u2212');
  return `${fixed(value)} \u00b1 ${fixed(error)}`;
}

/** A command, whose words stay whole where it is broken into lines: a hyphen alone would end one. */
function commandBar(command) {
  const words = command.split(' ').flatMap((word) => [' ', el('span', {}, word)]).slice(1);
  return el('div', { className: 'bar' }, el('code', { className: 'command', tabIndex: 0 }, ...words), copyButton(command));
}
