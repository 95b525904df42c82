"""From stored examples to what the model sees, inside the compiled step.

Images: resize -> pad -> quantise or binarise -> scale to `range` (the target) -> corrupt (the
input). Other values are standardised; those that are not a number count as not observed.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.batch import Batch, Examples
from jaxvae.config import Data
from jaxvae.data.aspect import BACKGROUNDS, Size, corner, cropped, within
from jaxvae.info import Info
from jaxvae.noise import Noise


def preprocess(data: Data, examples: Examples, noise: Noise, info: Info) -> Batch:
    """The batch of these stored examples; `noise` draws its corruption and binarization too."""
    observed = None
    if examples.x.dtype in (np.uint8, np.uint16):
        assert info.maximum is not None
        target = _pixels(data, examples.x, noise, info.maximum)
        given = _corrupt(data, target, noise)
    else:
        target = jnp.asarray(examples.x).astype(float)
        if info.center:
            target = (target - _numbers(info.center, target)) / _numbers(info.scale, target)
        if info.missing:
            observed = ~jnp.isnan(target)
            target = jnp.where(observed, target, 0.0)
        given = target
    return Batch(given, target, examples.label, observed, noise, info)


def _numbers(values: tuple[float, ...], x: Any) -> Any:
    """Numbers of the last axis, shaped and typed for arithmetic with x."""
    return np.asarray(values, x.dtype).reshape([1] * (x.ndim - 1) + [-1])


def _pixels(data: Data, images: jax.Array, noise: Noise, maximum: int) -> jax.Array:
    """The target from stored images (batch, height, width, channels), in 0..`maximum`."""
    x = jnp.asarray(images).astype(float)
    if data.resize is not None and data.resize != images.shape[1:3]:
        x = _resized(x, data.resize, data, maximum)
    if data.pad:
        x = jnp.pad(x, ((0, 0), (data.pad, data.pad), (data.pad, data.pad), (0, 0)))

    levels = float(maximum)  # x is now in 0..levels
    if data.quantize is not None:
        x, levels = _rounded(x, data.quantize), float(round(255 / data.quantize))
    elif data.binarize == "threshold":
        x, levels = (_parts(x) > PARTS * maximum // 2).astype(x.dtype), 1.0
    elif data.binarize != "none":
        draw = _of_binarization(data, noise).uniform("binarize", x.shape[1:])
        # A product is rounded alike on every device, a quotient is not.
        x, levels = (draw * levels < x).astype(x.dtype), 1.0

    low, high = data.range
    return x * ((high - low) / levels) + low  # a factor of exactly 1 for integers


def _resized(x: jax.Array, size: Size, data: Data, maximum: int) -> jax.Array:
    """Images (batch, height, width, channels) at another size, as `data.aspect` says."""
    n, *old, channels = x.shape
    image = (old[0], old[1])
    if data.aspect == "crop":
        top, left, height, width = cropped(image, size)
        scale = np.array([size[0] / height, size[1] / width])
        x = jax.image.scale_and_translate(
            x,
            (n, *size, channels),
            (1, 2),
            jnp.asarray(scale, x.dtype),
            jnp.asarray([-top, -left] * scale, x.dtype),
            "linear",
            antialias=True,
        )
        return jnp.clip(x, 0, maximum)
    inner = within(image, size) if data.aspect == "pad" else size
    x = jax.image.resize(x, (n, *inner, channels), "bilinear", antialias=True)
    x = jnp.clip(x, 0, maximum)
    top, left = corner(inner, size)
    sides = ((top, size[0] - inner[0] - top), (left, size[1] - inner[1] - left))
    background = maximum * BACKGROUNDS[data.background] // 255
    return jnp.pad(x, ((0, 0), *sides, (0, 0)), constant_values=background)


def _of_binarization(data: Data, own: Noise) -> Noise:
    """Static binarization has neither the run's seed nor the step in it: it is one fixed draw."""
    if data.binarize == "static":
        return replace(own, key=noise.root(data.seed), step=0)
    return own


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


def _corrupt(data: Data, x: jax.Array, noise: Noise) -> jax.Array:
    """Noise on the input, kept within `data.range`."""
    low, high = data.range
    match data.corruption:
        case "gaussian":
            eps = noise.normal("corrupt", x.shape[1:])
            return jnp.clip(x + data.corruption_level * (high - low) * eps, low, high)
        case "masking":
            hit = noise.uniform("corrupt", x.shape[1:]) < data.corruption_level
            return jnp.where(hit, low, x)
        case "salt_pepper":
            draw = noise.uniform("corrupt", x.shape[1:])
            salt, pepper = draw < data.corruption_level / 2, draw > 1 - data.corruption_level / 2
            return jnp.where(salt, high, jnp.where(pepper, low, x))
    return x


def to_unit(data: Data, x: Any) -> Any:
    """Pixel values, an array of any kind, from `data.range` back to [0, 1]."""
    low, high = data.range
    return (x - low) / (high - low)


def to_given(info: Info, x: Any) -> Any:
    """Values that are no images, any array, back to the units in which they were given."""
    return x * _numbers(info.scale, x) + _numbers(info.center, x) if info.center else x
