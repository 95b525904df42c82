/* An image of one's own, drawn or from a file: encoded, put on the map, reconstructed. */
'use strict';

const SHEET = 280;

class Own {
  static open(model, explorer) {
    if (!model.encodes || contents.kind !== 'image') return null;
    const own = new Own();
    Object.assign(own, { model, explorer, drawn: false });
    const [height, width, channels] = contents.shape;
    own.sheet = el('canvas', {
      width: SHEET, height: Math.round((SHEET * height) / width), className: 'sheet', role: 'img',
      'aria-label': 'Draw here with a mouse, a pen or a finger. From the keyboard, choose a file or take a test example.',
    });
    own.seen = el('canvas', { className: 'picture medium', role: 'img', 'aria-label': 'What the encoder sees' });
    own.recon = el('canvas', { className: 'picture medium', role: 'img', 'aria-label': 'Reconstruction' });
    own.said = el('output', { 'aria-live': 'polite' });
    own.file = el('input', { type: 'file', accept: 'image/*', id: 'own-file', onchange: () => own.read(own.file.files[0]) });
    own.centred = el('input', { type: 'checkbox', id: 'own-centre', checked: channels === 1, onchange: () => own.encode() });
    own.inverted = el('input', { type: 'checkbox', id: 'own-invert', onchange: () => own.encode() });
    const button = (text, action) => el('button', { type: 'button', onclick: action }, text);
    const size = `${width}x${height} pixels${channels === 1 ? ', grey' : ''}`;
    const area = section('own', 'Your own image',
      el('p', {}, `Draw, or drop an image file. It is made ${size}, encoded and reconstructed here: nothing leaves this page.`),
      el('div', { className: 'own' },
        el('figure', {}, own.sheet, el('figcaption', {}, 'Draw here')),
        el('figure', {}, own.seen, el('figcaption', {}, 'What the encoder sees')),
        el('figure', {}, own.recon, el('figcaption', {}, 'Reconstruction'))),
      el('div', { className: 'bar' }, button('Clear', () => own.clear()),
        button('Take a test example', () => own.takeAny()),
        el('label', { className: 'check', for: 'own-centre' }, own.centred, ' centre it'),
        el('label', { className: 'check', for: 'own-invert' }, own.inverted, ' invert'),
        el('label', { className: 'check', for: 'own-file' }, 'Image file ', own.file)),
      own.said);
    own.listen(area);
    own.clear();
    return own;
  }

  get context() { return this.sheet.getContext('2d', { willReadFrequently: true }); }

  listen(area) {
    let last = null;
    const place = (event) => {
      const box = this.sheet.getBoundingClientRect();
      const scale = this.sheet.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    };
    this.sheet.addEventListener('pointerdown', (event) => {
      this.sheet.setPointerCapture(event.pointerId);
      last = place(event);
      this.stroke(last, last);
    });
    this.sheet.addEventListener('pointermove', (event) => {
      if (!last) return;
      const at = place(event);
      this.stroke(last, at);
      last = at;
    });
    for (const end of ['pointerup', 'pointercancel']) this.sheet.addEventListener(end, () => { last = null; });
    area.addEventListener('dragover', (event) => {
      event.preventDefault();
      area.classList.add('over');
    });
    area.addEventListener('dragleave', () => area.classList.remove('over'));
    area.addEventListener('drop', (event) => {
      event.preventDefault();
      area.classList.remove('over');
      this.read(event.dataTransfer.files[0]);
    });
  }

  stroke(from, to) {
    const context = this.context;
    context.strokeStyle = 'white';
    context.lineWidth = SHEET / 13;
    context.lineCap = context.lineJoin = 'round';
    line(context, ...from, ...to);
    this.encode();
  }

  clear() {
    const context = this.context;
    context.fillStyle = 'black';
    context.fillRect(0, 0, this.sheet.width, this.sheet.height);
    this.explorer.own = null;
    this.explorer.mark();
    this.said.textContent = '';
    for (const canvas of [this.seen, this.recon]) draw(canvas, new Float32Array(this.model.size));
  }

  /** A file's picture: its middle, as large as fits. */
  async read(file) {
    if (!file) return;
    let image;
    try {
      image = await createImageBitmap(file);
    } catch {
      this.said.textContent = `${file.name}: not an image that this browser reads`;
      return;
    }
    const { width, height } = this.sheet;
    const scale = Math.max(width / image.width, height / image.height);
    const [w, h] = [image.width * scale, image.height * scale];
    this.context.imageSmoothingQuality = 'high';
    this.context.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
    this.centred.checked = false;
    this.encode();
  }

  takeAny() {
    const { explorer } = this;
    const i = Math.floor(Math.random() * explorer.latents.carried.shape[0]);
    const small = el('canvas');
    draw(small, row(explorer.carried, explorer.latents.carried, i));
    explorer.setClassOf(i);
    this.context.imageSmoothingEnabled = false;
    this.context.drawImage(small, 0, 0, this.sheet.width, this.sheet.height);
    this.context.imageSmoothingEnabled = true;
    this.centred.checked = false;
    this.inverted.checked = false;
    this.encode();
  }

  /** The sheet as pixels in [0, 1] of the model's size: means over the pixels that fall together. */
  pixels() {
    const [height, width, channels] = contents.shape;
    const { data } = this.context.getImageData(0, 0, this.sheet.width, this.sheet.height);
    const pad = this.model.input.pad;
    const [inner, across] = [height - 2 * pad, width - 2 * pad];
    const sums = new Float32Array(height * width * channels);
    const counts = new Float32Array(height * width);
    const grey = (at) => (0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2]) / 255;
    for (let y = 0; y < this.sheet.height; y++) {
      const i = pad + Math.floor((y * inner) / this.sheet.height);
      for (let x = 0; x < this.sheet.width; x++) {
        const j = pad + Math.floor((x * across) / this.sheet.width);
        const at = 4 * (y * this.sheet.width + x);
        counts[i * width + j] += 1;
        for (let c = 0; c < channels; c++) {
          sums[(i * width + j) * channels + c] += channels < 3 ? grey(at) : data[at + Math.min(c, 2)] / 255;
        }
      }
    }
    const inverted = this.inverted.checked;
    const mean = sums.map((sum, k) => sum / Math.max(1, counts[Math.floor(k / channels)]));
    const values = inverted ? mean.map((value) => 1 - value) : mean;
    return this.centred.checked ? centred(values) : values;
  }

  encode() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      const pixels = this.pixels();
      const found = this.model.encode(pixels, this.explorer.label);
      draw(this.seen, pixels);
      this.explorer.showOwn(found);
      this.reconstruct(found.mean, pixels);
    });
  }

  reconstruct(code, pixels) {
    if (!this.model.decodes) return;
    const recon = this.model.decode(code, this.explorer.label);
    draw(this.recon, recon);
    const median = contents.reconstructions.find(({ name }) => name === 'Any').error;
    const usual = [...median].sort((a, b) => a - b)[Math.floor(median.length / 2)];
    this.said.textContent = `mean squared error ${number(meanSquaredError(pixels, recon), 3)} per pixel (a test image: about ${number(usual, 2)})`;
  }
}

/** An image shifted so that what is bright lies in the middle, as in MNIST. */
function centred(values) {
  const [height, width, channels] = contents.shape;
  let [mass, x, y] = [0, 0, 0];
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      for (let c = 0; c < channels; c++) {
        const value = values[(i * width + j) * channels + c];
        mass += value;
        x += value * j;
        y += value * i;
      }
    }
  }
  if (mass === 0) return values;
  const right = Math.round((width - 1) / 2 - x / mass);
  const down = Math.round((height - 1) / 2 - y / mass);
  const shifted = new Float32Array(values.length);
  for (let i = 0; i < height; i++) {
    for (let j = 0; j < width; j++) {
      const [from, to] = [i - down, j - right];
      if (from < 0 || from >= height || to < 0 || to >= width) continue;
      for (let c = 0; c < channels; c++) {
        shifted[(i * width + j) * channels + c] = values[(from * width + to) * channels + c];
      }
    }
  }
  return shifted;
}
