/* The course of training, a panel for each term, and charts in general; uPlot draws, and joins the
 * panels' cursors. */
'use strict';

/** `epochs` are what may lie between two marks of an axis. */
const CURVES = { height: 220, spike: 3, epochs: [0, 1, 2, 3, 4, 5].flatMap((power) => [1, 2, 5].map((m) => m * 10 ** power)) };

/** Their section, added to the page; null where there is none. */
function showCurves() {
  const { epoch, panels, best, constant, machine } = contents.curves;
  if (!epoch.length) return null;
  const holder = el('div', { className: 'curves' });
  const marked = best === null ? '' : ` The dashed line is the best epoch by validation loss, ${best}.`;
  const scheduled = contents.scheduled
    ? ' The objective changes while it trains: a training loss is of what it was then, a validation loss of what it ends as.' : '';
  const part = section('curves', 'Training', el('p', {},
    `Losses in ${contents.unit}.${marked}${scheduled}`, onScreen(' Point at a curve to read it; drag to zoom, double click to go back.')), holder);
  for (const panel of panels) holder.append(curve(panel, epoch, best));
  const still = constant.map(({ name, value }) => `${name.toLowerCase()} ${number(value, 5)}`).join(', ');
  if (still) part.append(el('p', { className: 'hint' }, `The same in every epoch: ${still}.`));
  if (machine.length) {
    const more = el('div', { className: 'curves' });
    part.append(el('details', {}, el('summary', {}, `${machine.length} more: how fast it trained`), more));
    for (const panel of machine) more.append(curve(panel, epoch, best));
  }
  return part;
}

/** A chart of uPlot in `host`, as wide as `figure`: drawn anew when colours or what is shown change.
 * `options()` is what uPlot is given. */
function chart(figure, host, options, data) {
  let plot = null;
  painted(() => {
    plot?.destroy();
    const width = Math.max(200, figure.clientWidth || 340);
    plot = new uPlot({ width, height: CURVES.height, legend: { show: false }, ...options() }, data, host);
  });
  new ResizeObserver(() => {
    const width = figure.clientWidth;
    if (Math.abs(plot.width - width) > 2) plot.setSize({ width, height: plot.height });
  }).observe(figure);
}

/** An axis of a chart, in the colours of the page. */
function axis(values, more = {}) {
  return {
    stroke: color('--muted'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false },
    font: '11px system-ui', values: (u, ticks) => ticks.map(values), ...more,
  };
}

/** The colour of a series, as CSS: its own, or that of what it is of. */
function inkOf(series, i) {
  return series[i].ink ?? (series.length === 1 ? 'var(--accent)' : ['var(--train)', 'var(--validation)'][i]);
}

/** A panel: a series has a `name`, `values` by epoch, and perhaps an `ink`, a `width` and a `dash` of
 * its own; those that are `hidden` are not drawn, those that are `quiet` not read. With `chosen` the epoch `chosen.epoch()` is marked,
 * anew by `mark()` of the figure, and a click calls `chosen.choose(epoch)`. */
function curve({ title, series }, epoch, best, chosen = null) {
  const loud = series.filter(({ quiet }) => !quiet);
  const host = el('div', { role: 'img', 'aria-label': `${title} by epoch. ${summary(loud)}` });
  const readout = el('div', { className: 'readout' });
  const figure = el('figure', { className: 'curve' }, el('figcaption', {}, title), host, readout);
  let cut = false;
  let plot = null;
  const choosing = (u) => {
    plot = u;
    if (chosen) u.over.onclick = () => u.cursor.idx !== null && chosen.choose(epoch[u.cursor.idx]);
  };
  const marks = (u) => {
    markEpoch(u, best, '--muted', [5, 5]);
    if (chosen) markEpoch(u, chosen.epoch(), '--accent', []);
  };
  const read = (index) => {
    const shown = loud.filter(({ hidden }) => !hidden);
    const whole = epoch.findLastIndex((_, i) => shown.every(({ values }) => values[i] !== null));
    const own = chosen ? epoch.indexOf(chosen.epoch()) : -1;
    const last = whole < 0 ? epoch.length - 1 : whole; // that all have
    const at = index ?? (own < 0 ? last : own);
    const values = loud.map((one) => (one.hidden ? null : one.values[at]));
    const what = loud.length < series.length ? 'some' : 'early';
    readout.replaceChildren(`epoch ${epoch[at]}: `, ...loud.flatMap(({ name }, i) => (values[i] === null ? [] : [el('span', { className: 'read' },
      swatch(inkOf(loud, i)), `${loud.length > 1 ? `${name} ` : ''}${number(values[i], 5)}`), ' '])),
    cut ? el('span', { className: 'hint' }, `(${what} values are above the panel)`) : '');
  };
  chart(figure, host, () => {
    const [low, high, isCut] = robustRange(series.filter(({ hidden }) => !hidden));
    cut = isCut;
    read(null);
    return {
      cursor: { sync: { key: 'epochs' }, y: false },
      scales: { x: { time: false }, y: { range: [low, high] } },
      axes: [axis(String, { size: 32, incrs: CURVES.epochs }), axis((t) => number(t, 6), { size: 56 })],
      series: [{}, ...series.map(({ name, hidden, quiet, values, width, dash }, i) => ({
        label: name, show: !hidden, stroke: resolved(inkOf(series, i)), width: width ?? 2, dash,
        points: { show: !quiet && values.filter((v) => v !== null).length < 25, size: 5, fill: resolved(inkOf(series, i)) },
      }))],
      hooks: { setCursor: [(u) => read(u.cursor.idx)], draw: [marks], ready: [choosing] },
    };
  }, [epoch, ...series.map(({ values }) => values)]);
  figure.mark = () => {
    plot?.redraw(false, false); // null: it is drawn soon
    read(null);
  };
  return figure;
}

/** From the least value to the largest, but for what stands out above the rest, such as epoch 1;
 * where each series ends that is not quiet is always within. */
function robustRange(series) {
  if (!series.length) return [0, 1, false];
  const all = series.flatMap(({ values }) => values.filter((v) => v !== null)).sort((a, b) => a - b);
  const ends = series.filter(({ quiet }) => !quiet).map(({ values }) => values.findLast((v) => v !== null) ?? all[0]);
  const at = (share) => all[Math.min(all.length - 1, Math.floor(share * all.length))];
  const [low, bulk, top] = [all[0], Math.max(at(0.9), ...ends), all[all.length - 1]];
  const cut = all.length >= 12 && top - low > CURVES.spike * (bulk - low) && bulk > low;
  const high = cut ? bulk + 0.15 * (bulk - low) : top;
  const pad = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - pad, high + pad, cut];
}

/** A line at an epoch, where there is one and it is in sight. */
function markEpoch(u, epoch, ink, dashes) {
  if (epoch === null) return;
  const x = u.valToPos(epoch, 'x', true);
  const { left, width, top, height } = u.bbox;
  if (x < left || x > left + width) return;
  u.ctx.save();
  u.ctx.strokeStyle = color(ink);
  u.ctx.setLineDash(dashes);
  line(u.ctx, x, top, x, top + height);
  u.ctx.restore();
}

function summary(series) {
  return series.map(({ name, values }) => `${name}: ${number(values[0])} at first, ${number(values[values.length - 1])} at last.`).join(' ');
}
