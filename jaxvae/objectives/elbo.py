"""The evidence lower bound and its weighted form."""

import jax
import jax.numpy as jnp

from jaxvae.objectives.likelihoods import (
    Observed,
    bernoulli_nll,
    gaussian_nll,
    half_squared_error,
    laplace_nll,
    log,
    log_cosh_error,
)


def reconstruction(
    likelihood: str,
    decoded: jax.Array,
    x: jax.Array,
    observed: Observed = None,
    sigma: jax.Array | float = 1.0,
    logvar: jax.Array | None = None,
) -> jax.Array:
    """-log p(x|z) per example, (..., batch), under the likelihood named as in `Objective`.

    Args:
        likelihood: its name.
        decoded: what the decoder says, shaped like x, or with leading axes of samples.
        x: clean examples, (batch, ...).
        observed: which values count; None: all.
        sigma: standard deviation (gaussian) or scale (laplace, log_cosh).
        logvar: the learned log-variance of gaussian_learned, a scalar.
    """
    match likelihood:
        case "bernoulli":
            return bernoulli_nll(decoded, x, observed)
        case "gaussian":
            return gaussian_nll(x, decoded, 2 * log(sigma), observed)
        case "gaussian_learned":
            assert logvar is not None  # it is a parameter of such an objective
            return gaussian_nll(x, decoded, logvar, observed)
        case "laplace":
            return laplace_nll(x, decoded, sigma, observed)
        case "log_cosh":
            return log_cosh_error(x, decoded, sigma, observed)
        case "mse" | "half_mse":
            return half_squared_error(x, decoded, observed)
    raise ValueError(f"likelihood = {likelihood!r}: not known")


def elbo_terms(
    recon: jax.Array, kl: jax.Array | None, beta: jax.Array | float
) -> dict[str, jax.Array]:
    """-ELBO = recon + beta kl per example, in nats; each entry is shaped like `recon`.

    Kingma and Welling 2014 (arXiv:1312.6114), eq. (3) and (10); beta: Higgins et al. 2017, eq. (4).

    Args:
        recon: -log p(x|z) at one sample z ~ q(z|x).
        kl: KL(q(z|x) || p(z)), or one sample of it; None for a model without a posterior: 0.
        beta: weight of the KL, a scalar.
    """
    kl = jnp.zeros_like(recon) if kl is None else kl
    return {"loss": recon + beta * kl, "recon": recon, "kl": kl}
