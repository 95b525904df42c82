"""Reconstruction terms: -log p(x|z) per example, in nats per image.

Every function sums over height, width and channels and returns shape (batch,). Images have shape
(batch, height, width, channels).
"""

import math

import jax
import jax.numpy as jnp


def _sum_pixels(per_pixel: jax.Array) -> jax.Array:
    return jnp.sum(per_pixel.reshape(per_pixel.shape[0], -1), axis=1)


def bernoulli_nll(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Binary cross-entropy -x log p - (1 - x) log(1 - p) with p = sigmoid(logits), x in [0, 1].

    Written as softplus(l) - l x, which is finite for every finite logit, and whose gradient is
    p - x everywhere. (The usual max(l, 0) - l x + log1p(exp(-|l|)) has the wrong one at l = 0 under
    automatic differentiation.) For grey x it is a pseudo-likelihood whose minimum is the entropy of
    x, not 0. Kingma and Welling 2014, eq. (11).
    """
    return _sum_pixels(jax.nn.softplus(logits) - logits * x)


def gaussian_nll(x: jax.Array, mean: jax.Array, logvar: jax.Array | float) -> jax.Array:
    """-log N(x; mean, exp(logvar)), constants included; `logvar` is a scalar or shaped like x.

    Kingma and Welling 2014, eq. (12).
    """
    logvar = jnp.broadcast_to(jnp.asarray(logvar, x.dtype), x.shape)
    squared = jnp.square(x - mean) * jnp.exp(-logvar)
    return _sum_pixels(0.5 * (squared + logvar + math.log(2 * math.pi)))


def laplace_nll(x: jax.Array, mean: jax.Array, scale: float) -> jax.Array:
    """-log Laplace(x; mean, scale) = |x - mean| / scale + log(2 scale), summed over pixels."""
    return _sum_pixels(jnp.abs(x - mean) / scale + math.log(2 * scale))


def half_squared_error(x: jax.Array, mean: jax.Array) -> jax.Array:
    """|x - mean|^2 / 2: `gaussian_nll` with unit variance, without its constant D/2 log(2 pi)."""
    return _sum_pixels(0.5 * jnp.square(x - mean))
