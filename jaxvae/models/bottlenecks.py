"""Bottlenecks: from an encoder's features to a code, each with what it knows of q and p.

Each is a module that is called with features (batch, ...), the batch's noise (None: means) and
whether this is training, and returns a `Code`; `embed` is the deterministic code, and `prior` draws
codes where there is a prior. Any of them fits any encoder.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.checks import UsageError
from jaxvae.models.layers import Activation, Dense, InitRule, keep_preactivation
from jaxvae.models.output import Arrays, Code
from jaxvae.noise import Noise
from jaxvae.objectives.divergences import (
    gaussian_kl,
    gaussian_kl_per_latent,
    gaussian_log_density,
)


def flat(h: jax.Array) -> jax.Array:
    """Features as rows, (batch, features)."""
    return h.reshape(h.shape[0], -1)


def reparameterize(mean: jax.Array, logvar: jax.Array, eps: jax.Array) -> jax.Array:
    """z = mean + exp(logvar / 2) eps, a sample of N(mean, exp(logvar)) if eps is one of N(0, I).

    Kingma and Welling 2014 (arXiv:1312.6114), section 2.4. All shapes (batch, latent_dim).
    """
    return mean + jnp.exp(0.5 * logvar) * eps


class FeatureMap(nn.Module):
    """The features themselves."""

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        return Code(h)

    def embed(self, h: jax.Array) -> Arrays:
        return h

    def prior(self, noise: Noise) -> jax.Array:
        raise UsageError("this model has no prior: nothing says how its codes are distributed")


class Vector(FeatureMap):
    """A vector code, z = activation(W h + b), or without activation."""

    latent_dim: int
    activation: Activation | None = None
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        self.code = Dense(self.latent_dim, self.init_rule)

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        return Code(self.embed(h))

    def embed(self, h: jax.Array) -> jax.Array:
        z = self.code(flat(h))
        keep_preactivation(self, "code_preactivation", z)
        return z if self.activation is None else self.activation(z)


class Gaussian(nn.Module):
    """q(z|x) = N(mean, exp(logvar)), both linear in the features; p(z) = N(0, I)."""

    latent_dim: int
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        self.mean = Dense(self.latent_dim, self.init_rule)
        self.logvar = Dense(self.latent_dim, self.init_rule)

    def posterior(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and logvar, (batch, latent_dim) each."""
        h = flat(h)
        return self.mean(h), self.logvar(h)

    def draw(
        self, h: jax.Array, noise: Noise | None, name: str = "eps"
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """A sample of the posterior by the noise of that name, or its mean; mean and logvar."""
        mean, logvar = self.posterior(h)
        if noise is None:
            return mean, mean, logvar
        return reparameterize(mean, logvar, noise.normal(name, mean.shape[1:])), mean, logvar

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        z, mean, logvar = self.draw(h, noise)
        log_ratio = gaussian_log_density(z, mean, logvar) - gaussian_log_density(z)
        aux = {
            "mean": mean,
            "logvar": logvar,
            "kl_per_latent": gaussian_kl_per_latent(mean, logvar),
        }
        return Code(z, gaussian_kl(mean, logvar), log_ratio, aux)

    def embed(self, h: jax.Array) -> jax.Array:
        """The posterior mean."""
        return self.mean(flat(h))

    def prior(self, noise: Noise) -> jax.Array:
        """z ~ N(0, I), (batch, latent_dim)."""
        return noise.normal("sample", (self.latent_dim,))
