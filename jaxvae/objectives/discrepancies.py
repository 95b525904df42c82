"""How far codes are from draws of a prior: maximum mean discrepancies, sliced distances, moments.

Codes x and draws y are (batch, latents); values are ().
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from jaxvae.checks import require

Kernel = Callable[[jax.Array], jax.Array]
"""Of squared distances, elementwise."""

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
COUNTED = 256
"""Rows that are put in order by counting, at most: from 512 on a sort is faster."""


def squared_distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """|x_i - y_j|^2, (n, m), by one product of matrices, so that no (n, m, latents) is needed."""
    of_x, of_y = jnp.sum(jnp.square(x), axis=1), jnp.sum(jnp.square(y), axis=1)
    return of_x[:, None] + of_y[None] - 2 * x @ y.T


def rbf(bandwidth: jax.Array | float) -> Kernel:
    """exp(-d^2 / (2 bandwidth^2))."""
    return lambda squared: jnp.exp(-0.5 * squared / bandwidth**2)


def inverse_multiquadratic(latents: int) -> Kernel:
    """sum over scales s of C / (C + d^2), C = 2 latents s: of N(0, I), d^2 is 2 latents on average.

    Tolstikhin et al. 2018, section 4 (arXiv:1711.01558), with the scales of the authors' code.
    """

    def kernel(squared: jax.Array) -> jax.Array:
        widths = [2.0 * latents * scale for scale in SCALES]
        return jnp.sum(jnp.stack([width / (width + squared) for width in widths]), axis=0)

    return kernel


def mmd(x: jax.Array, y: jax.Array, kernel: Kernel, unbiased: bool = False) -> jax.Array:
    """The squared maximum mean discrepancy, E k(x, x') + E k(y, y') - 2 E k(x, y).

    Gretton et al. 2012, section 2.2 (https://jmlr.org/papers/v13/gretton12a.html): by means over
    all pairs, or, where it is `unbiased`, over those of different examples within x and within y;
    it may then be negative.

    Raises:
        UsageError: `unbiased`, of one example, which has no pairs.
    """

    def within(z: jax.Array) -> jax.Array:
        pairs, n = kernel(squared_distances(z, z)), len(z)
        if not unbiased:
            return jnp.mean(pairs)
        require(n >= 2, "batch", n, "at least 2 for a discrepancy without bias")
        return (jnp.sum(pairs) - jnp.trace(pairs)) / (n * (n - 1))

    return within(x) + within(y) - 2 * jnp.mean(kernel(squared_distances(x, y)))


def sliced_wasserstein(x: jax.Array, y: jax.Array, directions: jax.Array) -> jax.Array:
    """The mean over directions, (n, latents), of the squared 2-Wasserstein distance along each.

    In one dimension it is that of the sorted values. Directions of any length are normalised.
    Kolouri et al. 2018, eq. 14 (arXiv:1804.01947).
    """
    unit = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    along_x, along_y = (in_order(z @ unit.T) for z in (x, y))
    return jnp.mean(jnp.square(along_x - along_y))


def in_order(x: jax.Array) -> jax.Array:
    """Each column of (n, columns), sorted; on CPUs those of a batch's size by counting.

    XLA's sort has one thread there and goes number by number.
    """
    sort = partial(jnp.sort, axis=0)
    if len(x) > COUNTED:
        return sort(x)
    return jax.lax.platform_dependent(x, cpu=by_counting, default=sort)


def by_counting(x: jax.Array) -> jax.Array:
    """`in_order`, by each number's place: how many are less, or equal and before it."""
    row, column = jnp.arange(len(x)), jnp.arange(x.shape[1])
    own, other = x[:, None], x[None]
    before = (row[None] < row[:, None])[..., None]
    place = jnp.sum((other < own) | ((other == own) & before), axis=1)
    # Of a NaN the place means nothing: it is added to a number there, and not lost.
    return jnp.zeros_like(x).at[place, column].add(x)


def covariance_penalties(covariance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """sum_{i != j} C_ij^2 and sum_i (C_ii - 1)^2: how far a covariance is from I.

    Kumar, Sattigeri and Balakrishnan 2018, eq. 6 and 7 (arXiv:1711.00848).
    """
    variances = jnp.diag(covariance)
    off_diagonal = jnp.sum(jnp.square(covariance - jnp.diag(variances)))
    return off_diagonal, jnp.sum(jnp.square(variances - 1))
