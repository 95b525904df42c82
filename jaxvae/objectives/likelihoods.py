"""Reconstruction terms: -log p(x|z) per example, in nats per image.

Every function sums over height, width and channels and returns shape (batch,). Images have shape
(batch, height, width, channels).
"""

import math

import jax
import jax.numpy as jnp


def _rows(images: jax.Array) -> jax.Array:
    """(batch, pixels): one long axis, which a CPU's vector instructions fill."""
    return images.reshape(images.shape[0], -1)


def bernoulli_nll(logits: jax.Array, x: jax.Array) -> jax.Array:
    """Binary cross-entropy -x log p - (1 - x) log(1 - p) with p = sigmoid(logits), x in [0, 1].

    Written as softplus(l) - l x with softplus(l) = l/2 + |l|/2 + log1p(exp(-|l|)), which is finite
    for every finite logit, and whose gradient is p - x everywhere. (With the usual max(l, 0) in
    place of the halves it is wrong at l = 0 under automatic differentiation; `jax.nn.softplus`
    takes three times as long on a CPU.) For grey x it is a pseudo-likelihood whose minimum is the
    entropy of x, not 0. Kingma and Welling 2014, eq. (11).
    """
    logits, x = _rows(logits), _rows(x)
    size = jnp.abs(logits)
    softplus = 0.5 * logits + 0.5 * size + jnp.log1p(jnp.exp(-size))
    return jnp.sum(softplus - logits * x, axis=1)


def gaussian_nll(x: jax.Array, mean: jax.Array, logvar: jax.Array | float) -> jax.Array:
    """-log N(x; mean, exp(logvar)), constants included; `logvar` is a scalar or shaped like x.

    Kingma and Welling 2014, eq. (12).
    """
    logvar = jnp.broadcast_to(jnp.asarray(logvar, x.dtype), x.shape)
    x, mean, logvar = _rows(x), _rows(mean), _rows(logvar)
    squared = jnp.square(x - mean) * jnp.exp(-logvar)
    return jnp.sum(0.5 * (squared + logvar + math.log(2 * math.pi)), axis=1)


def laplace_nll(x: jax.Array, mean: jax.Array, scale: float) -> jax.Array:
    """-log Laplace(x; mean, scale) = |x - mean| / scale + log(2 scale), summed over pixels."""
    return jnp.sum(jnp.abs(_rows(x) - _rows(mean)) / scale + math.log(2 * scale), axis=1)


def half_squared_error(x: jax.Array, mean: jax.Array) -> jax.Array:
    """|x - mean|^2 / 2: `gaussian_nll` with unit variance, without its constant D/2 log(2 pi)."""
    return jnp.sum(0.5 * jnp.square(_rows(x) - _rows(mean)), axis=1)
