"""Networks that judge codes: they belong to an objective, not to a model."""

import jax
from flax import linen as nn

from jaxvae.models.layers import Dense, InitRule


class Critic(nn.Module):
    """Codes (batch, latent_dim) to logits (batch, classes), by hidden layers with LeakyReLU 0.2."""

    widths: tuple[int, ...]
    classes: int = 2
    init_rule: InitRule = "flax"

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        for width in self.widths:
            z = nn.leaky_relu(Dense(width, self.init_rule)(z), 0.2)
        return Dense(self.classes, self.init_rule)(z)
