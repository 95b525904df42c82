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

/** Four significant digits, with a real minus sign. */
function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6)
    ? value.toExponential(Math.max(0, digits - 2))
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
