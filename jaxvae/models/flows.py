"""Flows: invertible maps that bend a simple density, and bottlenecks made of them."""

import jax
import jax.numpy as jnp

from jaxvae.models.bottlenecks import Gaussian
from jaxvae.models.output import Code
from jaxvae.noise import Noise
from jaxvae.objectives.divergences import gaussian_log_density


def planar(z: jax.Array, u: jax.Array, w: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """f(z) = z + u tanh(w.z + b), and log |det df/dz| = log |1 + u.w (1 - tanh^2)|.

    It can be inverted where w.u >= -1. Rezende and Mohamed 2015, eq. 10 to 12 (arXiv:1505.05770).
    Shapes (..., latents), (latents,), (latents,), () to (..., latents), (...,).
    """
    h = jnp.tanh(z @ w + b)
    return z + jnp.tensordot(h, u, axes=0), jnp.log(jnp.abs(1 + (w @ u) * (1 - jnp.square(h))))


def invertible(u: jax.Array, w: jax.Array) -> jax.Array:
    """The u of a planar layer with w.u = -1 + softplus(w.u) > -1; appendix A of the same."""
    wu = w @ u
    return u + (jax.nn.softplus(wu) - 1 - wu) * w / (w @ w)


class PlanarFlow(Gaussian):
    """z_0 ~ N(mean, exp(logvar)), bent by planar layers that are the same for every example."""

    layers: int = 4

    def setup(self) -> None:
        super().setup()
        shape, small = (self.layers, self.latent_dim), jax.nn.initializers.normal(0.1)
        self.u, self.w = self.param("u", small, shape), self.param("w", small, shape)
        self.b = self.param("b", jax.nn.initializers.zeros, (self.layers,))

    def bend(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """z_T, and the sum of the layers' log determinants."""
        log_det = jnp.zeros(z.shape[:-1])
        for u, w, b in zip(self.u, self.w, self.b, strict=True):
            z, of_layer = planar(z, invertible(u, w), w, b)
            log_det = log_det + of_layer
        return z, log_det

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        first, mean, logvar = self.draw(h, noise)
        z, log_det = self.bend(first)
        log_q = gaussian_log_density(first, mean, logvar) - log_det
        log_ratio = log_q - gaussian_log_density(z)
        return Code(z, log_ratio, log_ratio, {"mean": mean, "logvar": logvar})

    def embed(self, h: jax.Array) -> jax.Array:
        """Where the mean is bent to."""
        return self.bend(super().embed(h))[0]
