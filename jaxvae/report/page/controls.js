/* The controls beside and below the map: functions that make them for an `Explorer`. */
'use strict';

const FIRST_SLIDERS = 10;

function mapToolbar(explorer) {
  const button = (text, label, action) => el('button', { type: 'button', 'aria-label': label, onclick: action }, text);
  const bar = el('div', { className: 'bar', role: 'toolbar', 'aria-label': 'Map' },
    button('+', 'Zoom in', () => explorer.map.zoom(MAP.step)),
    button('\u2212', 'Zoom out', () => explorer.map.zoom(1 / MAP.step)),
    button('All', 'Show the whole map', () => explorer.map.whole()));
  if (explorer.length > 2) bar.append(...axisChoices(explorer));
  if (explorer.moves && explorer.model.isImage && explorer.length > 1) {
    explorer.tileBox = el('input', { type: 'checkbox', id: 'tiles', onchange: () => explorer.paintTiles() });
    bar.append(el('label', { className: 'check', for: 'tiles' }, explorer.tileBox, ' decoded plane'));
  }
  return bar;
}

/** Two selectors: principal components, or any two latents. */
function axisChoices(explorer) {
  if (!explorer.latents.std.length) return [];
  const options = (kind) => [
    el('option', { value: 'pc' }, `PC ${kind + 1}`),
    ...explorer.order.map((latent) => el('option', { value: latent }, `z${subscript(latent + 1)}`)),
  ];
  explorer.axes = [0, 1].map((axis) => el('select', {
    'aria-label': axis ? 'Vertical axis' : 'Horizontal axis',
    onchange: () => {
      const other = explorer.axes[1 - axis];
      const pc = explorer.axes[axis].value === 'pc';
      // Principal components come together: only then are the axes at right angles.
      if (pc) other.value = 'pc';
      else if (other.value === 'pc' || other.value === explorer.axes[axis].value) {
        other.value = String(explorer.order.find((latent) => String(latent) !== explorer.axes[axis].value));
      }
      explorer.choosePlane();
    },
  }, ...options(axis)));
  return [el('span', { className: 'axes' }, explorer.axes[0], ' × ', explorer.axes[1])];
}

function mapLegend(explorer) {
  const legend = el('div', { className: 'legend', role: 'group', 'aria-label': 'Classes on the map' });
  contents.classes.forEach((name, index) => {
    legend.append(legendButton(name, classColor(index), (event) => explorer.toggle(index, event.currentTarget)));
  });
  if (contents.classes.length > 1) {
    legend.append(el('button', { type: 'button', className: 'class', onclick: () => explorer.toggleAll(legend) }, 'all / none'));
  }
  return legend;
}

function decodedPanel(explorer) {
  const button = (text, action) => el('button', { type: 'button', onclick: action }, text);
  const buttons = el('div', { className: 'bar' },
    explorer.model.draws
      ? button('Draw from the prior', () => explorer.show(explorer.model.fromPrior()))
      : button('Any test example', () => explorer.showPoint(Math.floor(Math.random() * explorer.latents.codes.shape[0]))),
    contents.prior === 'standard normal' ? button('Origin', () => explorer.show(new Float32Array(explorer.length))) : null,
    button('Walk from here', () => explorer.setEnd(0, explorer.z)),
    button('Walk to here', () => explorer.setEnd(1, explorer.z)));
  const panel = el('div', { className: 'decoded' },
    el('div', {}, el('h3', {}, 'Decoded'), explorer.picture), el('div', {}, explorer.said, buttons));
  if (explorer.model.labels) {
    explorer.classes = el('select', { id: 'class', onchange: () => explorer.setClass(Number(explorer.classes.value)) },
      ...contents.classes.map((name, index) => el('option', { value: index }, name)));
    explorer.classes.value = String(explorer.label);
    buttons.before(el('label', { for: 'class', className: 'check' }, 'decoded as class ', explorer.classes));
  }
  if (contents.columns.length) panel.append(valuesOf(explorer));
  return panel;
}

/** The values of a decoded row by the names of their columns, in the table's own units. */
function valuesOf(explorer) {
  explorer.cells = contents.columns.map(() => el('td', { className: 'number' }));
  const rows = contents.columns.map((name, i) => el('tr', {}, el('th', { scope: 'row' }, name), explorer.cells[i]));
  return el('details', {}, el('summary', {}, 'Its values'), el('table', {}, el('tbody', {}, ...rows)));
}

function sliderPanel(explorer) {
  const { kl, std, used } = explorer.latents;
  const reach = contents.prior === 'standard normal' ? 3 : -Infinity; // in standard deviations of the prior
  const most = Math.max(...explorer.order.map((latent) => explorer.weight(latent)), 1e-9);
  const rows = explorer.order.map((latent) => {
    const name = `z${subscript(latent + 1)}`;
    const low = Math.min(explorer.latents.low[latent], -reach);
    const high = Math.max(explorer.latents.high[latent], reach);
    const input = el('input', {
      type: 'range', min: low, max: high, step: (high - low) / 400, id: `z${latent}`,
      oninput: () => { explorer.z[latent] = Number(input.value); explorer.show(explorer.z); },
    });
    const value = el('span', { className: 'value' });
    const weight = kl ? `${number(kl[latent], 3)} nats` : `sd ${number(std[latent], 3)}`;
    const bar = el('span', { className: 'kl', title: kl ? `KL ${weight}` : weight }, el('span', {}), el('small', {}, weight));
    bar.firstChild.style.width = `${(100 * explorer.weight(latent)) / most}%`;
    explorer.sliders.push({ latent, input, value });
    const unused = used[latent] ? '' : ' unused';
    return el('div', { className: `latent${unused}` },
      el('label', { for: `z${latent}` }, name), input, value, bar);
  });
  const unused = used.filter((is) => !is).length;
  const sorted = kl ? 'by their KL to the prior, a mean over the test codes' : 'by the standard deviation of the test codes';
  const grey = unused ? ` ${unused} of ${used.length} are not used (grey): the variance of their means is at most 0.01.` : '';
  const panel = el('div', { className: 'sliders' }, el('h3', {}, 'Latents'),
    el('p', { className: 'hint' }, `Ordered ${sorted}.${grey}${categories(explorer)}`), ...rows.slice(0, FIRST_SLIDERS));
  if (rows.length > FIRST_SLIDERS) {
    panel.append(el('details', {}, el('summary', {}, `${rows.length - FIRST_SLIDERS} more`), ...rows.slice(FIRST_SLIDERS)));
  }
  return panel;
}

/** Which numbers of a code are no latents of their own, but a category. */
function categories({ length, latents }) {
  if (!latents.categories) return '';
  const { from, size } = latents.categories;
  const z = (i) => `z${subscript(i + 1)}`;
  const which = length - from > size
    ? `Each ${size} numbers in a row, ${z(from)} to ${z(from + size - 1)} the first, are a category`
    : `${z(from)} to ${z(length - 1)} are a category`;
  return ` ${which}: in a code one of them is 1, the others 0.`;
}
