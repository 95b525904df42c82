/* Pictures of examples: images as they are, signals and rows of a table as lines. */
'use strict';

const PER_VALUE = { image: 'per pixel', signal: 'per value, in standard deviations', row: 'per value, in standard deviations' };

/** A canvas that shows an example; `draw(canvas, values)` changes it. `form` has its kind and shape. */
function picture(values, label, className = 'picture', form = contents) {
  const canvas = el('canvas', { className, role: 'img', 'aria-label': label });
  draw(canvas, values, null, form);
  return canvas;
}

/** Draw an example: bytes, or floats that are pixels in [0, 1] or values as the model sees them.
 * `behind` are values drawn grey behind those of a signal or a row. */
function draw(canvas, values, behind = null, form = contents) {
  if (form.kind === 'image') drawImage(canvas, values, form.shape);
  else drawLines(canvas, values, behind, form);
}

function drawImage(canvas, values, [height, width, channels]) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  const scale = values instanceof Uint8Array ? 1 : 255;
  for (let i = 0, from = 0; i < image.data.length; i += 4, from += channels) {
    for (let c = 0; c < 3; c++) image.data[i + c] = scale * values[from + (channels < 3 ? 0 : c)];
    image.data[i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

const LINES = { width: 240, height: 160, pad: 8 };

function drawLines(canvas, values, behind, form) {
  const { width, height, pad } = LINES;
  const fine = canvas.classList.contains('large') ? 2 : 1;
  if (canvas.width !== fine * width) Object.assign(canvas, { width: fine * width, height: fine * height });
  const context = canvas.getContext('2d');
  context.setTransform(fine, 0, 0, fine, 0, 0);
  const channels = form.kind === 'signal' ? form.shape[1] : 1;
  const finite = [...values, ...(behind ?? [])].filter(Number.isFinite);
  const low = Math.min(-1, ...finite);
  const high = Math.max(1, ...finite);
  const y = (value) => height - pad - ((value - low) / (high - low)) * (height - 2 * pad);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = color('--line');
  context.beginPath();
  context.moveTo(0, y(0));
  context.lineTo(width, y(0));
  context.stroke();
  const colors = contents.palette;
  for (const [curve, ink] of [[behind, color('--muted')], [values, null]]) {
    if (!curve) continue;
    const length = curve.length / channels;
    for (let c = 0; c < channels; c++) {
      context.strokeStyle = ink ?? colors[c % colors.length];
      context.lineWidth = ink ? 1 : 1.6;
      context.beginPath();
      let pen = false;
      for (let i = 0; i < length; i++) {
        const value = curve[i * channels + c];
        const x = pad + (i / Math.max(1, length - 1)) * (width - 2 * pad);
        if (!Number.isFinite(value)) pen = false;
        else if (pen) context.lineTo(x, y(value));
        else { context.moveTo(x, y(value)); pen = true; }
      }
      context.stroke();
    }
  }
}

/** The colour of a class, as in the figures. */
function classColor(index) {
  return index < 0 ? contents.palette[3] : contents.class_colors[index];
}

function className(index) {
  if (index < 0 || !contents.classes.length) return '';
  return contents.classes[index] ?? String(index);
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}
