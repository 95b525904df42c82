/* The arithmetic of a network: a list of layers over flat Float32Arrays, channels last.
 *
 * Inner loops run along the last axis of a kernel, which lies contiguous; inputs that are 0, as
 * many are behind a ReLU, are skipped. Each layer writes into an array of its own, which is reused:
 * copy what is to be kept. */
'use strict';

/** Layers of `contents.network` with arrays in the place of references [dtype, offset, length]. */
function bindLayers(layers, pools) {
  return layers.map((layer) => {
    const bound = { ...layer };
    for (const [name, value] of Object.entries(layer)) {
      if (Array.isArray(value) && typeof value[0] === 'string') {
        const [dtype, offset, length] = value;
        bound[name] = pools[dtype].subarray(offset, offset + length);
      }
    }
    if (layer.kind === 'dense') bound.out = new Float32Array(bound.bias.length);
    if (layer.after) bound.out = new Float32Array(layer.after.reduce((a, b) => a * b, 1));
    return bound;
  });
}

/** The layers applied to one example; `label` is for layers that append the class. */
function runLayers(layers, x, label) {
  let values = new Float32Array(x); // a copy: some layers change theirs in place
  const kept = []; // the next layer writes elsewhere: it is a convolution
  for (const layer of layers) {
    if (layer.kind === 'keep') kept.push(values);
    else if (layer.kind === 'add') {
      const before = kept.pop();
      for (let i = 0; i < values.length; i++) values[i] += before[i];
    } else values = COMPUTE[layer.kind](layer, values, label);
  }
  return values;
}

const COMPUTE = {
  dense({ kernel, bias, out }, x) {
    const width = bias.length;
    out.set(bias);
    for (let i = 0, at = 0; i < x.length; i++, at += width) {
      const value = x[i];
      if (value === 0) continue;
      for (let o = 0; o < width; o++) out[o] += value * kernel[at + o];
    }
    return out;
  },

  /* out[i] = sum over taps t of x[s i + t - p] @ kernel[t], per axis. */
  conv({ kernel, bias, out, before, after, taps, stride, padding }, x) {
    const [height, width, channels] = before;
    const [rows, columns, features] = after;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const to = (i * columns + j) * features;
        out.set(bias, to);
        for (let t = 0; t < taps[0]; t++) {
          const y = stride[0] * i + t - padding[0];
          if (y < 0 || y >= height) continue;
          for (let u = 0; u < taps[1]; u++) {
            const z = stride[1] * j + u - padding[1];
            if (z < 0 || z >= width) continue;
            const from = (y * width + z) * channels;
            addProduct(out, to, x, from, kernel, (t * taps[1] + u) * channels * features, channels, features);
          }
        }
      }
    }
    return out;
  },

  /* out[s i + t - p] += x[i] @ kernel[t], per axis. */
  conv_transpose({ kernel, bias, out, before, after, taps, stride, padding }, x) {
    const [height, width, channels] = before;
    const [rows, columns, features] = after;
    for (let to = 0; to < out.length; to += features) out.set(bias, to);
    for (let i = 0; i < height; i++) {
      for (let j = 0; j < width; j++) {
        const from = (i * width + j) * channels;
        for (let t = 0; t < taps[0]; t++) {
          const y = stride[0] * i + t - padding[0];
          if (y < 0 || y >= rows) continue;
          for (let u = 0; u < taps[1]; u++) {
            const z = stride[1] * j + u - padding[1];
            if (z < 0 || z >= columns) continue;
            const to = (y * columns + z) * features;
            addProduct(out, to, x, from, kernel, (t * taps[1] + u) * channels * features, channels, features);
          }
        }
      }
    }
    return out;
  },

  affine({ scale, shift }, x) {
    const channels = scale.length;
    for (let i = 0; i < x.length; i += channels) {
      for (let c = 0; c < channels; c++) x[i + c] = x[i + c] * scale[c] + shift[c];
    }
    return x;
  },

  activation({ name, slope }, x) {
    const f = name === 'leaky_relu' ? (v) => (v > 0 ? v : slope * v) : ACTIVATIONS[name];
    for (let i = 0; i < x.length; i++) x[i] = f(x[i]);
    return x;
  },

  label({ classes }, x, label) {
    const longer = new Float32Array(x.length + classes);
    longer.set(x);
    if (label >= 0) longer[x.length + label] = 1;
    return longer;
  },

  nearest: (layer, x) => sumOfCodes(layer, nearestCodes(layer, x)),
};

/** Of each position and each book the code next to what the books before it leave. The code e next
 * to it maximises left.e - |e|^2 / 2. */
function nearestCodes({ codes, count, length }, x) {
  const books = codes.length / (count * length);
  const left = Float32Array.from(x);
  const chosen = new Int32Array((books * x.length) / length);
  for (let at = 0, i = 0; at < x.length; at += length) {
    for (let book = 0; book < books; book++, i++) {
      let best = 0;
      let most = -Infinity;
      for (let code = 0; code < count; code++) {
        const from = (book * count + code) * length;
        let closeness = 0;
        for (let k = 0; k < length; k++) closeness += codes[from + k] * (left[at + k] - codes[from + k] / 2);
        if (closeness > most) [best, most] = [from, closeness];
      }
      chosen[i] = best / length - book * count;
      for (let k = 0; k < length; k++) left[at + k] -= codes[best + k];
    }
  }
  return chosen;
}

/** At each position the sum of its codes, one of each book. */
function sumOfCodes({ codes, count, length }, chosen) {
  const books = codes.length / (count * length);
  const sum = new Float32Array((chosen.length / books) * length);
  chosen.forEach((code, i) => {
    const from = ((i % books) * count + code) * length;
    const to = Math.floor(i / books) * length;
    for (let k = 0; k < length; k++) sum[to + k] += codes[from + k];
  });
  return sum;
}

/** out[to..] += x[from..] (channels) @ kernel[at..] (channels, features). */
function addProduct(out, to, x, from, kernel, at, channels, features) {
  for (let c = 0; c < channels; c++, at += features) {
    const value = x[from + c];
    if (value === 0) continue;
    for (let f = 0; f < features; f++) out[to + f] += value * kernel[at + f];
  }
}

const sigmoid = (v) => 1 / (1 + Math.exp(-v));

/* Abramowitz and Stegun 7.1.26: within 1.5e-7. */
function erf(v) {
  const t = 1 / (1 + 0.3275911 * Math.abs(v));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(v) * (1 - series * Math.exp(-v * v));
}

const ACTIVATIONS = {
  relu: (v) => (v > 0 ? v : 0),
  elu: (v) => (v > 0 ? v : Math.expm1(v)),
  gelu: (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
  silu: (v) => v * sigmoid(v),
  tanh: Math.tanh,
  sigmoid,
};
