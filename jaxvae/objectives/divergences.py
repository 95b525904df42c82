"""Divergences between the posterior and the prior, per example, in nats."""

import jax
import jax.numpy as jnp


def gaussian_kl(mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """KL(N(mean, exp(logvar)) || N(0, I)), summed over latents: (batch, latent_dim) to (batch,).

    Kingma and Welling 2014, appendix B: 1/2 sum(mean^2 + exp(logvar) - 1 - logvar), here with
    expm1, which keeps its digits where the posterior is close to the prior (collapsed latents).
    """
    return 0.5 * jnp.sum(jnp.square(mean) + jnp.expm1(logvar) - logvar, axis=-1)
