"""From stored `uint8` images to what the model sees, inside the compiled step.

resize -> pad -> quantise or binarise -> scale to `range` (the target) -> corrupt (the input).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.config import Data

Shape = tuple[int, int, int]


class Batch(NamedTuple):
    """input: what the encoder sees; target: what it is compared with; both (batch, h, w, c)."""

    input: jax.Array
    target: jax.Array


class NoiseKeys(NamedTuple):
    """One key per example, (batch,) each: for corruption, and for binarization."""

    corrupt: jax.Array
    binarize: jax.Array


def image_shape(data: Data, stored: Shape) -> Shape:
    """(height, width, channels) after resizing and padding, from that of the stored images."""
    height, width = data.resize or stored[:2]
    return (height + 2 * data.pad, width + 2 * data.pad, stored[2])


def noise_keys(data: Data, key: jax.Array, step: jax.Array | int, index: jax.Array) -> NoiseKeys:
    """The keys of a batch: `key` is the run's root (or a stream of it), `index` the examples'.

    Static binarization has neither the run's seed nor the step in its keys: it is one fixed draw.
    """
    if data.binarize == "static":
        binarize = noise.example_keys(noise.stream(noise.root(data.seed), "binarize"), 0, index)
    else:
        binarize = noise.example_keys(noise.stream(key, "binarize"), step, index)
    return NoiseKeys(noise.example_keys(noise.stream(key, "corrupt"), step, index), binarize)


def preprocess(data: Data, images: jax.Array, keys: NoiseKeys) -> Batch:
    """Input and target from `uint8` images of shape (batch, height, width, channels)."""
    x = images.astype(float)
    if data.resize is not None and data.resize != images.shape[1:3]:
        shape = (images.shape[0], *data.resize, images.shape[3])
        x = jnp.clip(jax.image.resize(x, shape, "bilinear", antialias=True), 0, 255)
    if data.pad:
        x = jnp.pad(x, ((0, 0), (data.pad, data.pad), (data.pad, data.pad), (0, 0)))

    levels = 255.0  # x is now in 0..levels
    if data.quantize is not None:
        x, levels = _rounded(x, data.quantize), float(round(255 / data.quantize))
    elif data.binarize == "threshold":
        x, levels = (_parts(x) > PARTS * 255 // 2).astype(x.dtype), 1.0
    elif data.binarize != "none":
        draw = noise.uniform(keys.binarize, x.shape[1:])
        # A product is rounded alike on every device, a quotient is not.
        x, levels = (draw * 255 < x).astype(x.dtype), 1.0

    low, high = data.range
    target = x * ((high - low) / levels) + low  # a factor of exactly 1 for integers
    return Batch(_corrupt(data, target, keys.corrupt), target)


# Where pixels are rounded, rounding must not decide: a resized white area is 255 but for the last
# bit, and GPUs divide with an error in it. So they are counted in parts of this many to a level.
PARTS = 1024


def _parts(x: jax.Array) -> jax.Array:
    return jnp.round(x * PARTS).astype(jnp.int32)


def _rounded(x: jax.Array, divisor: int) -> jax.Array:
    """round(x / divisor), halves to the even number, in whole numbers."""
    parts, whole = _parts(x), PARTS * divisor
    n = jax.lax.div(parts, jnp.full_like(parts, whole))
    twice = 2 * (parts - n * whole)
    up = (twice > whole) | ((twice == whole) & (n % 2 == 1))
    return (n + up.astype(n.dtype)).astype(x.dtype)


def _corrupt(data: Data, x: jax.Array, keys: jax.Array) -> jax.Array:
    """Noise on the input, kept within `data.range`."""
    low, high = data.range
    match data.corruption:
        case "gaussian":
            eps = noise.normal(keys, x.shape[1:])
            return jnp.clip(x + data.corruption_level * (high - low) * eps, low, high)
        case "masking":
            hit = noise.uniform(keys, x.shape[1:]) < data.corruption_level
            return jnp.where(hit, low, x)
        case "salt_pepper":
            draw = noise.uniform(keys, x.shape[1:])
            salt, pepper = draw < data.corruption_level / 2, draw > 1 - data.corruption_level / 2
            return jnp.where(salt, high, jnp.where(pepper, low, x))
    return x


def to_unit(data: Data, x: Any) -> Any:
    """Pixel values, an array of any kind, from `data.range` back to [0, 1]."""
    low, high = data.range
    return (x - low) / (high - low)
