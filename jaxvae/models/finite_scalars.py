"""Finite scalar quantisation: each channel is rounded to one of a few values; no codebook.

Mentzer et al. 2023, section 3 and listing 1 (arXiv:2309.15505).
"""

import math

import jax
import jax.numpy as jnp

from jaxvae.models.bottlenecks import FeatureMap
from jaxvae.models.layers import Dense, InitRule
from jaxvae.models.output import Code
from jaxvae.models.vector_quantizer import counts_of, perplexity, straight_through, uniform_indices
from jaxvae.noise import Noise

BEYOND = 1e-3  # how far beyond half the outermost values lie, so that they are reached


class FiniteScalars(FeatureMap):
    """Features (batch, ..., channels) to codes (batch, ..., number of levels) in [-1, 1].

    Channel i takes levels[i] values, so that there are prod(levels) codes. Beside the listing, tanh
    is shifted by arctanh, not by tan, and reaches a little further, not less far: features of 0 are
    codes of 0 then, and 2 values are possible.
    """

    levels: tuple[int, ...]
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        self.projection = Dense(len(self.levels), self.init_rule)

    def of_channels(self, numbers: list[int], z: jax.Array) -> jax.Array:
        """A number of each channel, shaped like z."""
        return jnp.broadcast_to(jnp.asarray(numbers, z.dtype), z.shape)

    def bounds(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """half and offset, shaped like z: half tanh(.) - offset is what is rounded."""
        half = self.of_channels([level - 1 for level in self.levels], z) * (1 + BEYOND) / 2
        even = self.of_channels([1 - level % 2 for level in self.levels], z)
        return half, 0.5 * even  # an even number of values does not lie around 0

    def whole(self, z: jax.Array) -> jax.Array:
        """Whole numbers from -floor(L/2) on, L of them, through which gradients pass."""
        half, offset = self.bounds(z)
        bounded = half * jnp.tanh(z + jnp.arctanh(offset / half)) - offset
        return straight_through(bounded, jnp.round(bounded))

    def from_zero(self, whole: jax.Array) -> jax.Array:
        """What is added to them so that the first is 0."""
        return self.of_channels([level // 2 for level in self.levels], whole)

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        whole = self.whole(self.features(h))
        digits = jnp.round(whole + self.from_zero(whole)).astype(int)
        index, place = jnp.zeros(whole.shape[:-1], int), 1
        for channel, level in enumerate(self.levels):
            index, place = index + place * digits[..., channel], place * level
        used = perplexity(counts_of(index, place))
        z = whole / self.from_zero(whole)
        return Code(z, aux={"perplexity": used, "indices": index})

    def features(self, h: jax.Array) -> jax.Array:
        """What is rounded."""
        return self.projection(h)

    def embed(self, h: jax.Array) -> jax.Array:
        """The codes that are chosen."""
        whole = self.whole(self.features(h))
        return whole / self.from_zero(whole)

    def uniform(self, noise: Noise, positions: tuple[int, ...]) -> jax.Array:
        """Codes at so many positions, each as likely as the others."""
        index = uniform_indices(noise, positions, math.prod(self.levels))
        digits = []
        for level in self.levels:
            digits.append(index % level - level // 2)
            index = index // level
        whole = jnp.stack(digits, axis=-1).astype(float)
        return whole / self.from_zero(whole)
