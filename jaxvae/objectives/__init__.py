"""Pure functions of arrays: likelihoods, divergences and the ELBO, per example, in nats."""

from jaxvae.objectives.divergences import (
    gaussian_kl,
    gaussian_kl_per_latent,
    gaussian_log_density,
)
from jaxvae.objectives.elbo import elbo_terms, reconstruction
from jaxvae.objectives.likelihoods import (
    bernoulli_nll,
    gaussian_nll,
    half_squared_error,
    laplace_nll,
)

__all__ = [
    "bernoulli_nll",
    "elbo_terms",
    "gaussian_kl",
    "gaussian_kl_per_latent",
    "gaussian_log_density",
    "gaussian_nll",
    "half_squared_error",
    "laplace_nll",
    "reconstruction",
]
