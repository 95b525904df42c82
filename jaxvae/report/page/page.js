/* The page from top to bottom. */
'use strict';

/** What the page computes with, once it is there: `model`, `explorer`, `own`, `codes`. */
const report = {};

function showHeader() {
  const { best, unit, active } = contents;
  const tile = (value, label, note = '') => el('div', { className: 'tile' },
    el('b', {}, value), el('span', {}, label), note ? el('small', {}, note) : null);
  const tiles = [];
  if (best) {
    tiles.push(tile(number(best.val_loss, 5), 'validation loss', `${unit}, epoch\u00a0${best.epoch}`));
    if (best.val_kl) {
      tiles.push(tile(number(best.val_recon, 5), 'reconstruction', unit), tile(number(best.val_kl, 3), 'KL divergence', unit));
    }
    if (best.val_mse !== undefined && !best.val_kl) tiles.push(tile(number(best.val_mse, 3), 'mean squared error', contents.kind === 'image' ? 'per pixel' : 'per value'));
  }
  if (active?.of) tiles.push(tile(`${active.active} of ${active.of}`, contents.latents?.categories ? 'numbers of the code in use' : 'latents in use'));
  if (contents.num_parameters) tiles.push(tile(contents.num_parameters.toLocaleString('en'), 'parameters'));
  if (contents.seconds) tiles.push(tile(duration(contents.seconds), 'to train'));
  document.getElementById('header').append(
    el('h1', {}, contents.title, contents.member ? el('small', {}, ` ${contents.member}`) : null),
    el('p', {}, Object.fromEntries(contents.facts)['About it'] ?? ''),
    contents.expected ? el('p', { className: 'expected' }, el('b', {}, 'Expected: '), contents.expected,
      contents.settings.length ? ' This run has other settings, listed at the end.' : '') : '',
    el('div', { className: 'tiles' }, ...tiles));
  showNotes();
}

function showFacts() {
  const list = el('dl', {});
  for (const [label, text] of contents.facts) {
    if (label !== 'About it') list.append(el('dt', {}, label), el('dd', {}, text));
  }
  const settings = contents.settings;
  const from = contents.basis ? `the experiment ${contents.basis}` : 'the defaults';
  const table = el('table', {},
    el('caption', {}, settings.length ? `Settings that differ from ${from}` : `All settings are those of ${from}.`),
    settings.length ? el('thead', {}, el('tr', {}, ...['setting', 'this run', contents.basis || 'default'].map((name) => el('th', { scope: 'col' }, name)))) : '',
    el('tbody', {}, ...settings.map(({ name, value, usual }) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, value), el('td', {}, usual)))));
  const command = contents.command;
  const again = command
    ? commandBar(command)
    : el('p', { className: 'hint' }, 'It was trained on arrays in memory, or with a file of its own: no command alone repeats it.');
  section('about', 'The run', list, el('div', { className: 'wide' }, table), el('h3', {}, 'To train it again'), again);
}

function copyButton(text) {
  const button = el('button', { type: 'button' }, 'Copy');
  button.onclick = () => navigator.clipboard?.writeText(text).then(() => { button.textContent = 'Copied'; });
  return navigator.clipboard ? button : null;
}

async function showReport() {
  document.body.dataset.kind = contents.kind;
  showHeader();
  if (contents.network) {
    report.model = await Model.load();
    report.explorer = await Explorer.open(report.model);
    report.own = Own.open(report.model, report.explorer);
    await showReconstructions();
    await showSamples(report.model);
    report.codes = showCodebooks(report.model, report.explorer);
  }
  showMeasures();
  showCurves();
  showProgress();
  showFacts();
  report.milliseconds = performance.now();
}

openPage(showReport);
