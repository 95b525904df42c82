/* The course of training, a panel for each term; uPlot draws, and joins the panels' cursors. */
'use strict';

const CURVES = { height: 220, spike: 3 };

function showCurves() {
  const { epoch, panels, best, constant, machine } = contents.curves;
  if (!epoch.length) return;
  const holder = el('div', { className: 'curves' });
  const marked = best === null ? '' : ` The dashed line is the best epoch by validation loss, ${best}.`;
  const part = section('curves', 'Training', el('p', {},
    `Losses in ${contents.unit}. Point at a curve to read it; drag to zoom, double click to go back.${marked}`), holder);
  for (const panel of panels) holder.append(curve(panel, epoch, best));
  const still = constant.map(({ name, value }) => `${name} ${number(value, 5)}`).join(', ');
  if (still) part.append(el('p', { className: 'hint' }, `The same in every epoch: ${still}.`));
  if (machine.length) {
    const more = el('div', { className: 'curves' });
    part.append(el('details', {}, el('summary', {}, `${machine.length} more: how fast it trained`), more));
    for (const panel of machine) more.append(curve(panel, epoch, best));
  }
}

function curve({ title, series }, epoch, best) {
  const host = el('div', { role: 'img', 'aria-label': `${title} by epoch. ${summary(series)}` });
  const [low, high, cut] = robustRange(series);
  const readout = el('div', { className: 'readout' });
  const figure = el('figure', { className: 'curve' }, el('figcaption', {}, title), host, readout);
  let plot = null;
  const paint = () => {
    plot?.destroy();
    const inks = series.length === 1 ? [color('--accent')] : [color('--train'), color('--validation')];
    const axis = { stroke: color('--muted'), grid: { stroke: color('--line'), width: 1 }, ticks: { show: false }, font: '11px system-ui' };
    plot = new uPlot({
      width: Math.max(200, figure.clientWidth || 340),
      height: CURVES.height,
      legend: { show: false },
      cursor: { sync: { key: 'epochs' }, y: false },
      scales: { x: { time: false }, y: { range: (u, min, max) => (u.zoomed ? [min, max] : [low, high]) } },
      axes: [{ ...axis, values: (u, ticks) => ticks.map((t) => (Number.isInteger(t) ? t : '')) },
        { ...axis, size: 56, values: (u, ticks) => ticks.map((t) => number(t, 4)) }],
      series: [{}, ...series.map(({ name }, i) => ({
        label: name, stroke: inks[i], width: 2, points: { show: epoch.length < 25, size: 5, fill: inks[i] },
      }))],
      hooks: {
        setCursor: [(u) => read(u.cursor.idx)],
        draw: [(u) => markBest(u, best)],
        setSelect: [(u) => { u.zoomed = false; }],
      },
    }, [epoch, ...series.map(({ values }) => values)], host);
    plot.zoomed = false;
  };
  const read = (index) => {
    const at = index ?? epoch.length - 1;
    const swatches = series.length === 1 ? ['--accent'] : ['--train', '--validation'];
    readout.replaceChildren(`epoch ${epoch[at]}: `, ...series.flatMap(({ name, values }, i) => {
      const swatch = el('span', { className: 'swatch' });
      swatch.style.background = `var(${swatches[i]})`;
      return [swatch, `${series.length > 1 ? `${name} ` : ''}${number(values[at], 5)} `];
    }), cut ? el('span', { className: 'hint' }, '(early values are above the panel)') : '');
  };
  new ResizeObserver(() => {
    const width = figure.clientWidth;
    if (plot && Math.abs(plot.width - width) > 2) plot.setSize({ width, height: CURVES.height });
  }).observe(figure);
  painted(paint);
  read(null);
  return figure;
}

/** From the least value to the largest, but for what stands out above the rest, such as epoch 1. */
function robustRange(series) {
  const all = series.flatMap(({ values }) => values.filter((v) => v !== null)).sort((a, b) => a - b);
  const at = (share) => all[Math.min(all.length - 1, Math.floor(share * all.length))];
  const [low, bulk, top] = [all[0], at(0.9), all[all.length - 1]];
  const cut = all.length >= 12 && top - low > CURVES.spike * (bulk - low) && bulk > low;
  const high = cut ? bulk + 0.15 * (bulk - low) : top;
  const pad = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - pad, high + pad, cut];
}

function markBest(u, best) {
  if (best === null) return;
  const x = u.valToPos(best, 'x', true);
  const { left, width, top, height } = u.bbox;
  if (x < left || x > left + width) return;
  u.ctx.save();
  u.ctx.strokeStyle = color('--muted');
  u.ctx.setLineDash([5, 5]);
  line(u.ctx, x, top, x, top + height);
  u.ctx.restore();
}

function summary(series) {
  return series.map(({ name, values }) => `${name}: ${number(values[0])} at first, ${number(values[values.length - 1])} at last.`).join(' ');
}
