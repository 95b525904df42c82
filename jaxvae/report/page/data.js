/* What the page says (`contents`), and its arrays, which are deflated and in base64. */
'use strict';

const contents = JSON.parse(document.getElementById('contents').textContent);

let halves = null;

/** The 65,536 numbers of float16, by their bits. */
function halfTable() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) halves[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) halves[bits] = fraction ? NaN : sign * Infinity;
    else halves[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return halves;
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64); // browsers since 2025, and faster
  const letters = atob(base64);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** The array of a reference, flat: of float16 a Float32Array. */
async function unpack(reference) {
  const letters = document.getElementById(`blob-${reference.blob}`).textContent;
  const inflated = new Blob([bytesOf(letters)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const buffer = await new Response(inflated).arrayBuffer();
  switch (reference.dtype) {
    case 'uint8': return new Uint8Array(buffer);
    case 'int16': return new Int16Array(buffer);
    case 'float32': return new Float32Array(buffer);
    case 'float16': {
      const table = halfTable();
      const bits = new Uint16Array(buffer);
      const values = new Float32Array(bits.length);
      for (let i = 0; i < bits.length; i++) values[i] = table[bits[i]];
      return values;
    }
  }
  throw new Error(`an array of ${reference.dtype}`);
}

/** Row i of a flat array whose reference has the shape (n, ...). */
function row(array, reference, i) {
  const size = reference.shape.slice(1).reduce((a, b) => a * b, 1);
  return array.subarray(i * size, (i + 1) * size);
}
