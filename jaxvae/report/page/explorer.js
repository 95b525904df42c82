/* The latent space, alive: the map, the code that is decoded, a slider per latent, a walk. */
'use strict';

const WALK = 11;
const TILES = 22;

class Explorer {
  /** model: a `Model` that decodes, or not. */
  static async open(model) {
    const explorer = new Explorer();
    const latents = contents.latents;
    const moves = model.decodes && !contents.codebooks.length;
    Object.assign(explorer, { model, latents, moves, label: -1, walk: [], own: null });
    explorer.codes = await unpack(latents.codes);
    explorer.labels = await unpack(latents.label);
    explorer.errors = await unpack(latents.error);
    explorer.carried = await unpack(latents.carried);
    explorer.length = latents.codes.shape[1];
    explorer.z = Float32Array.from(explorer.codeOf(0));
    if (model.labels) explorer.label = Math.max(0, explorer.labels[0]);
    explorer.order = [...latents.std.keys()].sort((a, b) => explorer.weight(b) - explorer.weight(a));
    explorer.build();
    explorer.choosePlane();
    explorer.decode();
    return explorer;
  }

  codeOf(i) { return row(this.codes, this.latents.codes, i); }

  /** What latents are ordered by: KL, or where there is none the spread of the codes. */
  weight(latent) { return (this.latents.kl ?? this.latents.std)[latent]; }

  // The page's elements

  build() {
    const count = this.latents.codes.shape[0].toLocaleString('en');
    const of = this.latents.of.toLocaleString('en');
    const which = count === of ? `All ${of}` : `${count} of the ${of}`;
    const how = this.moves
      ? ' Drag anywhere to decode that place; click two points to walk between them.'
      : contents.codebooks.length ? ' Between codes there is nothing to decode.' : '';
    const layers = this.latents.layers.length ? `, that of ${this.latents.layers[0]}, of the layers ${this.latents.layers.join(' and ')}` : '';
    const sums = contents.codebooks.length > 1 && !contents.rounded ? ', at each position the sum of one code of each codebook' : '';
    const circles = contents.prior === 'standard normal' && this.length > 1 && this.latents.std.length
      ? ` Dashed circles${this.length > 2 ? ', where both axes are latents' : ''}: 1, 2 and 3 standard deviations of the prior.` : '';
    const hold = `Shift and drag to move the map; zoom by the buttons, two fingers, or Ctrl and the wheel.${circles}`;
    this.canvasHost = el('div', { className: 'map' });
    this.tip = el('div', { className: 'tip', hidden: true });
    this.picture = el('canvas', { className: 'picture large', role: 'img' });
    this.said = el('output', { className: 'code', 'aria-live': 'polite' });
    this.strip = el('div', { className: 'strip', id: 'walk' });
    this.sliders = [];
    const side = el('div', { className: 'side' });
    if (this.moves) side.append(decodedPanel(this));
    if (this.moves && this.model.decoder && this.latents.std.length) side.append(sliderPanel(this));
    section('latents', 'Latent space',
      el('p', {}, `${which} test examples by their code${contents.latents.kl ? ', the mean of q(z|x)' : `${sums}${layers}`}.`,
        onScreen(` Point at one to see it.${how}`)),
      this.model.grid ? el('p', { className: 'note' },
        `The page does not hold the decoder: what is shown comes from a grid of ${this.model.grid.side} by `
        + `${this.model.grid.side} examples that were decoded beforehand, the nearest to each place.`) : null,
      el('div', { className: 'explorer' },
        el('div', { className: 'map-side' },
          mapToolbar(this), el('div', { className: 'map-frame' }, this.canvasHost, this.tip),
          mapLegend(this), el('p', { className: 'hint' }, hold)),
        side),
      this.strip);
    this.map = new LatentMap(this.canvasHost, {
      hover: (i, at) => this.hover(i, at),
      leave: () => { this.tip.hidden = true; },
      drag: (x, y) => this.moveTo(x, y),
      pick: (i, x, y) => this.pick(i, x, y),
      key: (dx, dy) => { const [x, y] = this.project(this.z); this.moveTo(x + dx, y + dy); },
      view: () => this.paintTiles(),
    });
  }

  toggle(index, button) {
    const hides = !this.map.hidden.has(index);
    if (hides) this.map.hidden.add(index); else this.map.hidden.delete(index);
    button.setAttribute('aria-pressed', String(!hides));
    this.map.repaint();
  }

  toggleAll(legend) {
    const hides = this.map.hidden.size === 0;
    this.map.hidden = new Set(hides ? contents.classes.keys() : []);
    for (const button of legend.querySelectorAll('[aria-pressed]')) button.setAttribute('aria-pressed', String(!hides));
    this.map.repaint();
  }

  setClass(label) {
    this.label = label;
    this.decode();
    this.paintWalk();
    this.paintTiles();
  }

  // The plane of the map

  choosePlane() {
    const axis = (i) => Float32Array.from({ length: this.length }, (_, j) => (j === i ? 1 : 0));
    const chosen = this.axes?.map((select) => select.value) ?? (this.length === 2 ? ['0', '1'] : ['pc', 'pc']);
    if (this.length === 1) {
      this.plane = { u: axis(0), v: axis(-1), origin: axis(-1), names: [`z${subscript(1)}`, ''] };
    } else if (chosen[0] === 'pc') {
      const { mean, directions, share } = this.latents.plane;
      const names = share.map((part, i) => `principal component ${i + 1} (${Math.round(100 * part)} % of the variance)`);
      this.plane = { u: directions[0], v: directions[1], origin: mean, names };
    } else {
      const [i, j] = chosen.map(Number);
      this.plane = { u: axis(i), v: axis(j), origin: axis(-1), names: [i, j].map((k) => `z${subscript(k + 1)}`) };
    }
    this.circles = contents.prior === 'standard normal' && chosen[0] !== 'pc' && this.length > 1 ? [1, 2, 3] : [];
    const n = this.latents.codes.shape[0];
    const points = { x: new Float32Array(n), y: new Float32Array(n), label: this.labels };
    for (let i = 0; i < n; i++) {
      [points.x[i], points.y[i]] = this.project(this.codes, i * this.length);
      // One latent leaves a direction free: classes lie in rows.
      if (this.length === 1) points.y[i] = -0.25 * (this.labels[i] + (i % 97) / 140);
    }
    const grey = contents.palette[0];
    const colors = [contents.classes.length ? contents.palette[3] : grey, ...contents.classes.map((_, i) => classColor(i))];
    if (!contents.classes.length) points.label = new Int16Array(n).fill(-1);
    this.map.colors = colors;
    this.map.show(points, this.plane.names, this.circles);
    this.mark();
  }

  /** Where a code lies in the plane: z, or what begins at a place in it. */
  project(z, from = 0) {
    const { u, v, origin } = this.plane;
    let [x, y] = [0, 0];
    for (let i = 0; i < this.length; i++) {
      const d = z[from + i] - origin[i];
      x += d * u[i];
      y += d * v[i];
    }
    return [x, y];
  }

  /** The code moved within the plane to a place; what is at right angles to it stays. */
  movedTo(z, x, y) {
    const [fromX, fromY] = this.project(z);
    const { u, v } = this.plane;
    return Float32Array.from(z, (value, i) => value + (x - fromX) * u[i] + (y - fromY) * v[i]);
  }

  // What is shown

  moveTo(x, y) { if (this.moves) this.show(this.movedTo(this.z, x, y)); }

  show(z) {
    this.z = Float32Array.from(z);
    if (this.waiting) return;
    this.waiting = true; // one decoding per frame, however many moves there are
    requestAnimationFrame(() => {
      this.waiting = false;
      this.decode();
      this.mark();
      this.paintTiles();
    });
  }

  decode() {
    if (!this.moves) return;
    const began = performance.now();
    const example = this.model.decode(this.z, this.label);
    draw(this.picture, example);
    this.milliseconds = performance.now() - began;
    const listed = [...this.z.slice(0, 4)].map((value) => value.toFixed(2).replace('-', '\u2212')).join(', ');
    const text = `z = (${listed}${this.length > 4 ? ', …' : ''})`;
    this.said.textContent = text;
    this.picture.setAttribute('aria-label', `Decoded from ${text}`);
    this.cells?.forEach((cell, i) => { cell.textContent = number(example[i] * (contents.scale[i] ?? 1) + (contents.center[i] ?? 0), 3); });
    for (const { latent, input, value } of this.sliders) {
      input.value = this.z[latent];
      value.textContent = this.z[latent].toFixed(2).replace('-', '\u2212');
    }
  }

  mark() {
    const { marks } = this.map;
    marks.code = this.moves ? this.onMap(this.z) : null;
    marks.walk = this.walk.map((z) => this.onMap(z));
    marks.own = this.own ? this.onMap(this.own.mean) : null;
    marks.cloud = this.own ? this.own.cloud.map((z) => this.onMap(z)) : [];
    this.map.paintMarks();
  }

  onMap(z) { return this.length === 1 ? [z[0], 0.2] : this.project(z); }

  showPoint(i) {
    this.setClassOf(i);
    this.show(this.codeOf(i));
  }

  /** A conditional model decodes an example as what it is. */
  setClassOf(i) {
    if (!this.model.labels || this.labels[i] < 0) return;
    this.label = this.labels[i];
    this.classes.value = String(this.label);
  }

  /** The mean of an own image, and draws of its posterior. */
  showOwn({ mean, logvar }) {
    const cloud = !logvar ? [] : Array.from({ length: 200 }, () =>
      Float32Array.from(mean, (m, i) => m + Math.exp(logvar[i] / 2) * normal()));
    this.own = { mean, cloud };
    this.show(mean);
  }

  hover(i, [px, py]) {
    this.tip.hidden = i === null;
    if (i === null) return;
    const carried = i < this.latents.carried.shape[0];
    const canvas = this.tip.querySelector('canvas') ?? el('canvas', { className: 'picture' });
    if (carried) draw(canvas, row(this.carried, this.latents.carried, i));
    else if (this.model.decodes) draw(canvas, this.model.decode(this.codeOf(i), this.labels[i]));
    const name = className(this.labels[i]);
    const what = carried ? 'example' : 'decoded from its code';
    const shown = carried || this.model.decodes ? canvas : '';
    this.tip.replaceChildren(shown, el('div', {}, name ? el('b', {}, name) : '', name ? ', ' : '', what),
      el('div', {}, `error ${number(this.errors[i], 3)}`));
    const box = this.canvasHost.getBoundingClientRect();
    const left = px > box.width / 2 ? px - this.tip.offsetWidth - 14 : px + 14;
    const top = py > box.height / 2 ? py - this.tip.offsetHeight - 14 : py + 14;
    Object.assign(this.tip.style, { left: `${left}px`, top: `${top}px` });
  }

  pick(i, x, y) {
    if (i === null) {
      this.moveTo(x, y);
      return;
    }
    this.hover(i, this.map.toScreen(this.map.points.x[i], this.map.points.y[i]));
    if (!this.moves) return;
    this.showPoint(i);
    this.setEnd(this.walk.length === 1 ? 1 : 0, this.codeOf(i));
  }

  // The walk

  setEnd(which, z) {
    const copy = Float32Array.from(z);
    if (which === 0) this.walk = [copy];
    else this.walk = [this.walk[0] ?? Float32Array.from(this.codeOf(0)), copy];
    this.paintWalk();
    this.mark();
  }

  paintWalk() {
    this.strip.replaceChildren();
    if (this.walk.length === 1) {
      this.strip.append(el('p', { className: 'hint' }, 'A is set. Click another point, or “Walk to here”, for B.'));
    }
    if (this.walk.length < 2) return;
    const [a, b] = this.walk;
    const pictures = Array.from({ length: WALK }, (_, step) => {
      const t = step / (WALK - 1);
      const z = Float32Array.from(a, (value, i) => (1 - t) * value + t * b[i]);
      const label = `${Math.round(100 * t)} % of the way from A to B`;
      return el('figure', {}, picture(this.model.decode(z, this.label), label),
        el('figcaption', {}, step === 0 ? 'A' : step === WALK - 1 ? 'B' : ''));
    });
    this.strip.append(el('h3', {}, 'On the straight line from A to B'), el('div', { className: 'row' }, ...pictures));
  }

  // The decoded plane, behind the points

  paintTiles() {
    const { map } = this;
    if (!this.tileBox?.checked) {
      if (map.tiled) map.clearTiles(false);
      this.tiledView = null;
      return;
    }
    // What lies at right angles to the plane is the code's own, and decides what is seen in it.
    const beside = this.movedTo(this.z, 0, 0);
    const view = [...map.center, map.span, map.width, map.height, this.label, ...this.plane.names,
      ...Array.from(beside, (value) => value.toFixed(2))].join(' ');
    if (this.tiledView === view) return;
    this.tiledView = view;
    map.clearTiles(true);
    const size = map.span / TILES;
    const reach = Math.max(map.width, map.height) / map.scale / 2;
    const places = [];
    for (let x = -reach; x <= reach; x += size) {
      for (let y = -reach; y <= reach; y += size) places.push([x, y]);
    }
    places.sort((a, b) => Math.hypot(...b) - Math.hypot(...a)); // from the middle outwards
    const image = el('canvas');
    const more = () => {
      if (this.tiledView !== view) return;
      const until = performance.now() + 12;
      while (places.length && performance.now() < until) {
        const place = places.pop().map((d, axis) => map.center[axis] + d);
        draw(image, this.model.decode(this.movedTo(beside, ...place), this.label));
        map.drawTile(image, ...place, size);
      }
      if (places.length) requestAnimationFrame(more);
    };
    more();
  }
}
