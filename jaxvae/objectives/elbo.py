"""The evidence lower bound and its weighted form."""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxvae.objectives.divergences import gaussian_kl
from jaxvae.objectives.likelihoods import (
    bernoulli_nll,
    gaussian_nll,
    half_squared_error,
    laplace_nll,
)

if TYPE_CHECKING:
    from jaxvae.models import Output


def reconstruction(output: "Output", x: jax.Array, likelihood: str, sigma: float) -> jax.Array:
    """-log p(x|z) per example, shape (batch,), under the likelihood named as in `Objective`."""
    match likelihood:
        case "bernoulli":
            return bernoulli_nll(output.decoded, x)
        case "gaussian":
            return gaussian_nll(x, output.decoded, 2 * math.log(sigma))
        case "gaussian_learned":
            assert output.x_logvar is not None  # Experiment builds the model with it
            return gaussian_nll(x, output.decoded, output.x_logvar)
        case "laplace":
            return laplace_nll(x, output.decoded, sigma)
        case "mse" | "half_mse":
            return half_squared_error(x, output.decoded)
    raise ValueError(f"likelihood = {likelihood!r}: not known")


def elbo_terms(
    output: "Output", x: jax.Array, beta: jax.Array, likelihood: str, sigma: float = 1.0
) -> dict[str, jax.Array]:
    """-ELBO = recon + beta kl per example, in nats per image; each entry has shape (batch,).

    recon = -log p(x|z) at one sample z ~ q(z|x), kl = KL(q(z|x) || p(z)), 0 for a model without a
    posterior. Kingma and Welling 2014, eq. (3) and (10); beta: Higgins et al. 2017, eq. (4).

    Args:
        output: what the model returned for x.
        x: clean images, (batch, height, width, channels).
        beta: weight of the KL, a scalar.
        likelihood: as in `jaxvae.Objective`.
        sigma: standard deviation (gaussian) or scale (laplace).
    """
    recon = reconstruction(output, x, likelihood, sigma)
    if output.mean is None or output.logvar is None:
        kl = jnp.zeros_like(recon)
    else:
        kl = gaussian_kl(output.mean, output.logvar)
    return {"loss": recon + beta * kl, "recon": recon, "kl": kl}
