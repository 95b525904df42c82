/* The model of the run: what of it the page can compute. */
'use strict';

class Model {
  /** network, grid, shape and kind are those of `contents`. */
  static async load() {
    const model = new Model();
    const network = contents.network;
    const pools = {};
    for (const [dtype, reference] of Object.entries(network.weights)) pools[dtype] = await unpack(reference);
    const bind = (layers) => (layers ? bindLayers(layers, pools) : null);
    model.isImage = contents.kind === 'image';
    model.size = contents.shape.reduce((a, b) => a * b, 1);
    model.output = network.output;
    model.input = network.input;
    model.labels = network.labels;
    model.decoder = bind(network.decoder);
    model.encoder = bind(network.encoder);
    model.heads = Object.fromEntries(Object.entries(network.heads).map(([name, head]) => [name, bind(head)]));
    if (contents.grid) model.grid = { ...contents.grid, values: await unpack(contents.grid.images) };
    if (contents.drawn) model.drawn = await unpack(contents.drawn);
    return model;
  }

  get decodes() { return this.decoder !== null || this.grid !== undefined; }

  get encodes() { return this.encoder !== null; }

  /** Whether the page can draw from the prior: it is a known one, and codes that it has are here,
   * or it holds draws of it. */
  get draws() {
    if (this.decoder === null && contents.prior !== 'standard normal') return false;
    if (contents.prior === 'codes') return this.quantiser !== undefined && contents.codebooks.length > 0;
    return contents.prior !== null || this.drawn !== undefined;
  }

  /** A code drawn from the prior. */
  fromPrior() {
    const length = contents.latents.codes.shape[1];
    const below = (count) => Math.floor(count * Math.random());
    if (this.drawn) { // from anywhere on in turn: no sample is there twice
      this.next = ((this.next ?? below(contents.drawn.shape[0])) + 1) % contents.drawn.shape[0];
      return row(this.drawn, contents.drawn, this.next);
    }
    if (contents.prior === 'codes') {
      const books = contents.codebooks.map(({ counts }) => counts.length);
      const places = (length / this.quantiser.length) * books.length;
      return sumOfCodes(this.quantiser, Int32Array.from({ length: places }, (_, i) => below(books[i % books.length])));
    }
    if (contents.prior === 'categories') {
      const { from, size } = contents.latents.categories;
      const z = Float32Array.from({ length }, (_, i) => (i < from ? normal() : 0));
      for (let at = from; at < length; at += size) z[at + below(size)] = 1;
      return z;
    }
    return Float32Array.from({ length }, normal);
  }

  /** An example from a code: pixels in [0, 1], or values as the model sees them. */
  decode(z, label) {
    if (this.decoder === null) return this.fromGrid(z);
    const raw = runLayers(this.decoder, z, label);
    const values = new Float32Array(raw.length);
    const [low, high] = this.input.range;
    const f = { logits: sigmoid, ...ACTIVATIONS }[this.output] ?? ((v) => v);
    for (let i = 0; i < raw.length; i++) {
      const mean = f(raw[i]);
      values[i] = this.isImage ? Math.min(1, Math.max(0, (mean - low) / (high - low))) : mean;
    }
    return values;
  }

  /** The example of the grid next to a code, in the plane of the map. */
  fromGrid(z) {
    const { side, low, high, values, images } = this.grid;
    const { mean, directions } = contents.latents.plane;
    const place = directions.map((direction, axis) => {
      const at = direction.reduce((sum, d, i) => sum + d * (z[i] - mean[i]), 0);
      const step = Math.round(((at - low[axis]) / (high[axis] - low[axis])) * (side - 1));
      return Math.min(side - 1, Math.max(0, step));
    });
    return row(values, images, place[1] * side + place[0]);
  }

  /** Mean and logvar of q(z|x), or the code alone; `pixels` are in [0, 1]. */
  encode(pixels, label) {
    const features = Float32Array.from(runLayers(this.encoder, this.seen(pixels), label));
    const of = (name) => (this.heads[name] ? Float32Array.from(runLayers(this.heads[name], features, label)) : null);
    return { mean: of('mean') ?? of('code'), logvar: of('logvar') };
  }

  /** Where the code is a sum of codes: the layer that chooses them, the last one of the head. */
  get quantiser() { return this.heads.code?.find(({ kind }) => kind === 'nearest'); }

  /** The codes that are chosen for an example, as `nearestCodes` has them. */
  chosen(pixels) {
    const features = runLayers(this.encoder, this.seen(pixels), -1);
    return nearestCodes(this.quantiser, runLayers(this.heads.code.slice(0, -1), features, -1));
  }

  /** Pixels in [0, 1] as the model sees them. A random binarization is replaced by a threshold. */
  seen(pixels) {
    if (!this.isImage) return pixels;
    const { range: [low, high], quantize, binarize } = this.input;
    const levels = quantize ? Math.round(255 / quantize) : 1;
    return Float32Array.from(pixels, (pixel) => {
      let value = pixel;
      if (quantize) value = Math.round((255 * pixel) / quantize) / levels;
      else if (binarize !== 'none') value = pixel > 0.5 ? 1 : 0;
      return value * (high - low) + low;
    });
  }
}

/** A draw from N(0, 1), by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

/** Pixels in [0, 1], whatever they are stored as; other values as they are. */
function unit(values) {
  return values instanceof Uint8Array ? Float32Array.from(values, (value) => value / 255) : values;
}

function meanSquaredError(a, b) {
  let sum = 0;
  let count = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isNaN(a[i])) continue;
    sum += (a[i] - b[i]) ** 2;
    count += 1;
  }
  return sum / Math.max(count, 1);
}
