"""Reconstruction terms: -log p(x|z) per example, in nats per image.

`x` is (batch, ...), and what the decoder says of it has the same shape, or leading axes of samples
before it; every function sums over all axes of an example and returns (..., batch). Where
`observed`, shaped like `x`, is given, only values that are observed count.
"""

import math

import jax
import jax.numpy as jnp

Observed = jax.Array | None


def _rows(values: jax.Array, x: jax.Array) -> jax.Array:
    """(..., batch, values): one long axis, which a CPU's vector instructions fill."""
    return values.reshape(*values.shape[: values.ndim - x.ndim + 1], -1)


def _beside(x: jax.Array, rows: jax.Array) -> jax.Array:
    """The rows of (batch, ...), with an axis of length 1 for each axis of samples of `rows`."""
    return x.reshape(*[1] * (rows.ndim - 2), len(x), -1)


def _summed(terms: jax.Array, observed: Observed) -> jax.Array:
    """Over the values of an example, (..., batch, values) to (..., batch)."""
    if observed is not None:
        terms = jnp.where(_beside(observed, terms), terms, 0.0)
    return jnp.sum(terms, axis=-1)


def bernoulli_nll(logits: jax.Array, x: jax.Array, observed: Observed = None) -> jax.Array:
    """Binary cross-entropy -x log p - (1 - x) log(1 - p) with p = sigmoid(logits), x in [0, 1].

    Written as softplus(l) - l x with softplus(l) = l/2 + |l|/2 + log1p(exp(-|l|)), which is finite
    for every finite logit, and whose gradient is p - x everywhere. (With the usual max(l, 0) in
    place of the halves it is wrong at l = 0 under automatic differentiation; `jax.nn.softplus`
    takes three times as long on a CPU.) For grey x it is a pseudo-likelihood whose minimum is the
    entropy of x, not 0. Kingma and Welling 2014, eq. (11).
    """
    logits = _rows(logits, x)
    size = jnp.abs(logits)
    softplus = 0.5 * logits + 0.5 * size + jnp.log1p(jnp.exp(-size))
    return _summed(softplus - logits * _beside(x, logits), observed)


def bernoulli_nll_of_samples(
    logits: jax.Array, x: jax.Array, observed: Observed = None
) -> jax.Array:
    """`bernoulli_nll` without gradients, for many samples: a logarithm for up to 16 values.

    sum_d log(1 + exp(-|l_d|)) is the logarithm of a product of factors in (1, 2], which for so few
    of them cannot overflow. One reduction multiplies these and adds up max(l, 0) - l x.
    """
    logits = _rows(logits, x)
    factor, linear = 1.0 + jnp.exp(-jnp.abs(logits)), jnp.maximum(logits, 0.0)
    linear -= logits * _beside(x, logits)
    if observed is not None:
        seen = _beside(observed, logits)
        factor, linear = jnp.where(seen, factor, 1.0), jnp.where(seen, linear, 0.0)
    length = logits.shape[-1]
    # What is left of each group is a row that vector instructions fill.
    group = next((g for g in range(16, 1, -1) if length % (16 * g) == 0), 1)
    grouped = (*logits.shape[:-1], group, length // group)
    product, total = jax.lax.reduce(
        (factor.reshape(grouped), linear.reshape(grouped)),
        (jnp.ones((), factor.dtype), jnp.zeros((), linear.dtype)),
        lambda one, other: (one[0] * other[0], one[1] + other[1]),
        (logits.ndim - 1,),
    )
    return jnp.sum(total + jnp.log(product), axis=-1)


def gaussian_nll(
    x: jax.Array, mean: jax.Array, logvar: jax.Array | float, observed: Observed = None
) -> jax.Array:
    """-log N(x; mean, exp(logvar)), constants included; `logvar` is a scalar or shaped like `mean`.

    Kingma and Welling 2014, eq. (12).
    """
    logvar = jnp.asarray(logvar, x.dtype)
    if logvar.ndim:  # one for all is not repeated: its exponential is one number
        logvar = _rows(jnp.broadcast_to(logvar, mean.shape), x)
    mean = _rows(mean, x)
    squared = jnp.square(_beside(x, mean) - mean) * jnp.exp(-logvar)
    return _summed(0.5 * (squared + logvar + math.log(2 * math.pi)), observed)


def laplace_nll(
    x: jax.Array, mean: jax.Array, scale: jax.Array | float, observed: Observed = None
) -> jax.Array:
    """-log Laplace(x; mean, scale) = |x - mean| / scale + log(2 scale), summed over values."""
    mean = _rows(mean, x)
    return _summed(jnp.abs(_beside(x, mean) - mean) / scale + log(2 * scale), observed)


def log_cosh_error(
    x: jax.Array, mean: jax.Array, scale: jax.Array | float, observed: Observed = None
) -> jax.Array:
    """scale sum log cosh((x - mean) / scale): t^2 / (2 scale) of small errors t, |t| of large ones.

    A density's -log without its constant, which depends on the scale alone. log cosh u = |u| +
    log1p(exp(-2 |u|)) - log 2, which is finite for every u. Chen, Wang and Li 2019, "Log hyperbolic
    cosine loss improves variational auto-encoder" (https://openreview.net/forum?id=rkglvsC9Ym),
    with a = 1 / scale.
    """
    mean = _rows(mean, x)
    size = jnp.abs(_beside(x, mean) - mean) / scale
    log_cosh = size + jnp.log1p(jnp.exp(-2 * size)) - math.log(2)
    return _summed(scale * log_cosh, observed)


def half_squared_error(x: jax.Array, mean: jax.Array, observed: Observed = None) -> jax.Array:
    """|x - mean|^2 / 2: `gaussian_nll` with unit variance, without its constant D/2 log(2 pi)."""
    mean = _rows(mean, x)
    return _summed(0.5 * jnp.square(_beside(x, mean) - mean), observed)


def log(value: jax.Array | float) -> jax.Array | float:
    """Of a number in the precision of Python, of a traced one (a population's) in that of JAX."""
    return math.log(value) if isinstance(value, (int, float)) else jnp.log(value)
