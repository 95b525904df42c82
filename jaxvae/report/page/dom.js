/* Elements, numbers as text, and the theme. All text is set as text: no name is ever read as HTML. */
'use strict';

/** An element with properties, and children that are elements or text. `aria-*` and `data-*` are
 * attributes; a property that is a function, such as `onclick`, is a listener. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A section with a heading, added to the page. */
function section(id, title, ...children) {
  const heading = el('h2', { id: `${id}-title` }, title);
  const added = el('section', { id, 'aria-labelledby': `${id}-title` }, heading, ...children);
  document.getElementById('main').append(added);
  return added;
}

/** What to do with the page, which paper does not say. */
function onScreen(text) { return el('span', { className: 'on-screen' }, text); }

/** A small square of a colour. */
function swatch(ink) {
  const square = el('span', { className: 'swatch' });
  square.style.background = ink;
  return square;
}

/** A button of a legend: pressed is shown. */
function legendButton(name, ink, onclick) {
  return el('button', { type: 'button', className: 'class', 'aria-pressed': 'true', onclick }, swatch(ink), name);
}

function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** A table that can be scrolled sideways, from the keyboard too. */
function wide(name, table) {
  return el('div', { className: 'wide', tabIndex: 0, role: 'region', 'aria-label': name }, table);
}

/** Four significant digits, with a real minus sign. */
function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6)
    ? value.toExponential(Math.max(0, digits - 2)).replace(/\.?0+e/, 'e')
    : String(Number(value.toPrecision(digits)));
  return text.replace('-', '\u2212');
}

function subscript(index) {
  return [...String(index)].map((digit) => String.fromCharCode(0x2080 + Number(digit))).join('');
}

/** A colour of the style sheet, such as '--ink'. */
function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A colour that may be one of the style sheet, such as 'var(--ink)', for a canvas. */
function resolved(ink) {
  return ink.startsWith('var(') ? color(ink.slice(4, -1)) : ink;
}

const repaints = [];

/** Call `paint` now, and whenever colours change: of the theme, and for printing on white. */
function painted(paint) {
  repaints.push(paint);
  paint();
}

function repaint() {
  for (const paint of repaints) paint();
}

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
addEventListener('beforeprint', () => {
  document.documentElement.classList.add('on-paper');
  repaint();
});
addEventListener('afterprint', () => {
  document.documentElement.classList.remove('on-paper');
  repaint();
});
