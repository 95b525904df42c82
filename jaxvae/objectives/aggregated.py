"""The aggregated posterior q(z) = E_x q(z|x) of Gaussian posteriors, and what the KL consists of.

E_x KL(q(z|x) || p(z)) = MI + TC + dwKL, with MI = KL(q(z, n) || q(z) p(n)) the mutual information
of code and example, TC = KL(q(z) || prod_j q(z_j)) the total correlation and dwKL the sum over
latents of KL(q(z_j) || p(z_j)): Hoffman and Johnson 2016; Chen et al. 2018, eq. 2
(arXiv:1802.04942). p(z) = N(0, I). Codes are (batch, latents); all values are in nats.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae.checks import require
from jaxvae.objectives.divergences import gaussian_log_density

Estimator = Literal["mws", "mss", "plain"]


class Aggregated(NamedTuple):
    """log q(z), (batch,), and log q(z_j) of each latent, (batch, latents)."""

    joint: jax.Array
    marginals: jax.Array


class Decomposition(NamedTuple):
    """Of each example, (batch,): an estimate from its one code, whose means are MI, TC and dwKL."""

    mutual_information: jax.Array
    total_correlation: jax.Array
    dimension_wise_kl: jax.Array


def densities(z: jax.Array, mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """log N(z_j; mean_j, exp(logvar_j)) of codes under n posteriors, (batch, n, latents)."""
    return gaussian_log_density(z[:, None, :, None], mean[..., None], logvar[..., None])


def log_mixture_weights(estimator: Estimator, batch: int, number: int) -> jax.Array:
    """How posteriors of a batch of `number` examples stand for all, (batch, batch): log w[i, b].

    mws: minibatch-weighted sampling, 1/(batch number) each. plain: 1/batch. mss: minibatch-
    stratified sampling, with 1/number for the example itself, (number - M) / (number M) for one
    other and 1/M for the rest, M = batch - 1, so that weights add up to 1. Chen et al. 2018,
    appendix C (arXiv:1802.04942); published code gives the first two columns what the diagonal and
    one other are due.

    Raises:
        UsageError: mss of a batch of one.
    """
    uniform = jnp.full((batch, batch), -math.log(batch))
    if estimator == "plain":
        return uniform
    if estimator == "mws":
        return uniform - math.log(number)
    require(batch >= 2, "batch", batch, "at least 2 for mss")
    rest = batch - 1
    own = jnp.eye(batch, dtype=bool)
    one_other = jnp.roll(own, 1, axis=1)
    others = jnp.where(one_other, (number - rest) / (number * rest), 1.0 / rest)
    return jnp.log(jnp.where(own, 1.0 / number, others))


def aggregated(
    z: jax.Array, mean: jax.Array, logvar: jax.Array, log_w: jax.Array | float
) -> Aggregated:
    """log q(z) of codes under a mixture of n posteriors; their log weights: (batch, n), or one.

    Latent by latent, and once more for the gradient: an array (batch, n) fits a cache where one of
    (batch, n, latents) does not.
    """
    log_w = jnp.broadcast_to(log_w, (len(z), len(mean)))

    @jax.checkpoint
    def add(joint: jax.Array, latent: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        each = densities(*(x[:, None] for x in latent))[..., 0]
        return joint + each, jax.nn.logsumexp(log_w + each, axis=1)

    joint, marginals = jax.lax.scan(add, jnp.zeros_like(log_w), (z.T, mean.T, logvar.T))
    return Aggregated(jax.nn.logsumexp(log_w + joint, axis=1), marginals.T)


def aggregated_in_parts(z: jax.Array, mean: jax.Array, logvar: jax.Array, part: int) -> Aggregated:
    """`aggregated` with weights 1/n, for so many posteriors that they are taken `part` at a time.

    Posteriors beyond the last whole part count as the others do.
    """
    n = len(mean)

    def add(so_far: Aggregated, index: jax.Array) -> tuple[Aggregated, None]:
        inside = index < n
        log_w = jnp.where(inside, -math.log(n), -jnp.inf)
        index = jnp.minimum(index, n - 1)
        more = aggregated(z, mean[index], logvar[index], log_w[None])
        return jax.tree.map(jnp.logaddexp, so_far, more), None

    nothing = Aggregated(jnp.full(len(z), -jnp.inf), jnp.full(z.shape, -jnp.inf))
    index = jnp.arange(-(-n // part) * part).reshape(-1, part)
    return jax.lax.scan(add, nothing, index)[0]


def decomposition(z: jax.Array, mean: jax.Array, logvar: jax.Array, q: Aggregated) -> Decomposition:
    """log-ratios at codes z ~ N(mean, exp(logvar)), (batch, latents) each; their sum is
    log q(z|x) - log p(z), a sample of the KL."""
    marginals = q.marginals.sum(axis=-1)
    return Decomposition(
        gaussian_log_density(z, mean, logvar) - q.joint,
        q.joint - marginals,
        marginals - gaussian_log_density(z),
    )
