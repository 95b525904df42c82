"""Divergences between the posterior and the prior, in nats."""

import math

import jax
import jax.numpy as jnp


def gaussian_kl_per_latent(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(0, 1)) of each latent, shaped like `mean`.

    Kingma and Welling 2014 (arXiv:1312.6114), appendix B: 1/2 (mean^2 + exp(logvar) - 1 - logvar),
    here with expm1, which keeps its digits where the posterior is close to the prior.
    """
    return 0.5 * _twice_kl(mean, logvar)


def _twice_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    return jnp.square(mean) + jnp.expm1(logvar) - logvar


def gaussian_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(0, I)), summed over latents: (batch, latent_dim) to (batch,)."""
    # Half of one sum, not a sum of halves: XLA would add those in another order.
    return 0.5 * jnp.sum(_twice_kl(mean, logvar), axis=-1)


def gaussian_log_density(
    z: jax.Array, mean: jax.Array | float = 0.0, logvar: jax.Array | float = 0.0
) -> jax.Array:
    """log N(z; mean, exp(logvar)), summed over the last axis; by default of N(0, I).

    Shapes are broadcast: codes (batch, 1, latents) with the means (k, latents) of a mixture give
    (batch, k).
    """
    mean, logvar = jnp.asarray(mean, z.dtype), jnp.asarray(logvar, z.dtype)
    precision = jnp.exp(-logvar)  # before the shapes are those of all pairs
    z, mean, logvar, precision = jnp.broadcast_arrays(z, mean, logvar, precision)
    squared = jnp.square(z - mean) * precision
    return -0.5 * jnp.sum(squared + logvar + math.log(2 * math.pi), axis=-1)
