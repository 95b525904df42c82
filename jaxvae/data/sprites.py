"""Sprites: images that are a function of five factors, which are therefore known of each.

The factors are those of dSprites, with as many values: shape, scale, orientation and the position
of the centre (https://github.com/google-deepmind/dsprites-dataset). Its upright squares of the
smallest scale are these too; ellipse and heart have formulas of their own, thus other pixels.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxvae.checks import UsageError, require
from jaxvae.data.rendered import COUNTS, SIZES
from jaxvae.data.splits import Source, Split

SHAPES = ("square", "ellipse", "heart")
FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
"""Each factor, and how many values it has: 0, 1, ..."""

# Coordinates are whole numbers, so that every device draws the same pixels: the centres of dSprites
# are 15.5 + 32 k/31 pixels, thus odd multiples of 1/62.
_FULL = 64
_UNIT = 62  # of a pixel
_TURN = 4096  # of a cosine
_ANGLES = np.linspace(0, 2 * np.pi, FACTORS["orientation"])  # as in dSprites, both ends are there
_COSINES = np.rint(_TURN * np.cos(_ANGLES)).astype(np.int32)
_SINES = np.rint(_TURN * np.sin(_ANGLES)).astype(np.int32)
_HALF = 0.962  # of a square's side, in pixels, per tenth of scale: 4.81 where the scale is 0.5
_PART = 1000  # images that are drawn at once


def render(factors: jax.Array, size: int = _FULL) -> jax.Array:
    """The image of some factors: (5,) -> uint8 (size, size, 1), 0 or 255; a pure function.

    Factors are integers in the order of `FACTORS`: shape (of `SHAPES`); scale 0.5, 0.6, ..., 1.0;
    orientation in 40 steps from 0 to 2 pi, both included; x from left to right and y downwards, in
    32 steps over half of the image. At orientation 0 a square of scale s has those pixels whose
    centre lies within 9.62 s of its own along both axes. The ellipse's axes are as 3 to 2; the
    heart is a square on its corner with two half discs. Images of another size are the means over
    blocks of those of 64x64, rounded, thus grey at the edges.

    Args:
        factors: see above; `jax.vmap` takes more.
        size: 64, or a divisor of it.
    """
    shape, scale, orientation, x, y = factors
    pixels = _UNIT * jnp.arange(_FULL)
    dx, dy = pixels[None, :] - _centre(x), pixels[:, None] - _centre(y)
    cos, sin = jnp.asarray(_COSINES)[orientation], jnp.asarray(_SINES)[orientation]
    u, v = dx * cos + dy * sin, dy * cos - dx * sin
    radius = round(_HALF * _UNIT * _TURN) * (scale + 5)
    square = (abs(u) < radius) & (abs(v) < radius)

    u, v, radius = u >> 11, v >> 11, radius >> 11  # so that products fit into 32 bits
    ellipse = 4 * u**2 + 9 * v**2 < 6 * radius**2
    p, q = u - v, u + v  # along the sides of a square on its corner
    body = (abs(p) < radius) & (abs(q) < radius)
    lobes = ((p - radius) ** 2 + q**2 < radius**2) | ((q + radius) ** 2 + p**2 < radius**2)
    on = jnp.stack([square, ellipse, body | lobes])[shape]

    side = _FULL // size
    blocks = on.reshape(size, side, size, side).sum(axis=(1, 3))
    return ((255 * blocks + side**2 // 2) // side**2).astype(jnp.uint8)[..., None]


def _centre(position: jax.Array) -> jax.Array:
    """15.5 + 32 k/31 pixels, in units."""
    return 961 + 64 * position


def images_of(factors: ArrayLike, size: int = _FULL) -> np.ndarray:
    """The images of factors (n, 5), uint8 (n, size, size, 1), rendered on the device.

    Raises:
        UsageError: no such factors, or `size` is no divisor of 64.
    """
    factors = np.asarray(factors)
    require(size >= 1 and _FULL % size == 0, "size", size, f"a divisor of {_FULL}")
    if factors.ndim != 2 or factors.shape[1] != len(FACTORS) or factors.dtype.kind not in "iu":
        raise UsageError(
            f"factors of shape {factors.shape} and {factors.dtype}: must be integers of shape"
            f" (n, {len(FACTORS)}): {', '.join(FACTORS)}"
        )
    for (name, values), column in zip(FACTORS.items(), factors.T, strict=True):
        outside = column[(column < 0) | (column >= values)].tolist()
        require(not outside, f"factor {name}", (outside or [0])[0], f"in 0..{values - 1}")
    return np.array(_render_all(factors.astype(np.int32), size))


@functools.partial(jax.jit, static_argnums=1)
def _render_all(factors: jax.Array, size: int) -> jax.Array:
    return jax.lax.map(lambda one: render(one, size), factors, batch_size=_PART)


def load(name: str) -> Source:
    """The set `sprites`, of 64x64 pixels, or `sprites/32`: the same images at half the size.

    The labels are the shapes; `factors` of a split are those of `FACTORS`, by name.
    """
    values, total = tuple(FACTORS.values()), sum(COUNTS.values())
    drawn = np.random.default_rng(0).choice(math.prod(values), total, replace=False)
    factors = np.stack(np.unravel_index(drawn, values), axis=1).astype(np.int32)
    columns = dict(zip(FACTORS, factors.T, strict=True))
    whole = Split(images_of(factors, SIZES[name]), factors[:, 0], factors=columns)
    train = COUNTS["train"]
    return Source(
        name=name,
        train=whole.take(np.arange(train)),
        test=whole.take(np.arange(train, total)),
        classes=SHAPES,
        description="squares, ellipses and hearts, rendered from their factors",
    )
