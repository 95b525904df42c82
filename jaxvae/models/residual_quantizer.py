"""Several codebooks, each of what the ones before it leave.

Zeghidour et al. 2021, algorithm 1 (arXiv:2107.03312); Lee et al. 2022 (arXiv:2203.01941).
"""

import jax
import jax.numpy as jnp

from jaxvae.models.bottlenecks import FeatureMap
from jaxvae.models.layers import Dense, InitRule
from jaxvae.models.nearest import nearest
from jaxvae.models.output import Code
from jaxvae.models.vector_quantizer import (
    Averages,
    averages_of,
    counts_of,
    perplexity,
    squared_error,
    store,
    straight_through,
    uniform_indices,
    values_of,
)
from jaxvae.noise import Noise


class ResidualQuantizer(FeatureMap):
    """Features z to sums of codes, e_1 + e_2 + ..., each the nearest to what is left of z.

    The collection `codebook` has what that of `VectorQuantizer` has, with a first axis of levels.
    """

    codes: int
    code_dim: int
    levels: int
    decay: float = 0.99
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        shape = (self.levels, self.codes, self.code_dim)
        self.projection = Dense(self.code_dim, self.init_rule)
        self.averages = averages_of(self, shape)

    def chosen(self, z: jax.Array) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
        """Of each level what is left before it, the index and the code that are next to it."""
        found, left = [], z
        for book in self.averages.codes.value:
            index = nearest(left, book)
            e = jax.lax.stop_gradient(book[index])
            found.append((left, index, e))
            left = left - e
        return found

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        z = self.features(h)
        found = self.chosen(z)
        commitment = jnp.stack([squared_error(left, e) for left, _, e in found])
        used = [perplexity(counts_of(index, self.codes)) for _, index, _ in found]
        if train and not self.is_initializing():
            books = map(Averages, *values_of(self.averages))
            moved = [
                book.moved(left, index, self.decay)
                for book, (left, index, _) in zip(books, found, strict=True)
            ]
            store(self.averages, Averages(*map(jnp.stack, zip(*moved, strict=True))))
        aux = {
            "commitment": jnp.sum(commitment, axis=0),
            "perplexity": jnp.mean(jnp.stack(used)),
            "indices": jnp.stack([index for _, index, _ in found], axis=-1),
        }
        return Code(
            straight_through(z, jnp.sum(jnp.stack([e for *_, e in found]), axis=0)), aux=aux
        )

    def features(self, h: jax.Array) -> jax.Array:
        """What is quantised."""
        return self.projection(h)

    def embed(self, h: jax.Array) -> jax.Array:
        """The sums of the codes that are chosen."""
        return jnp.sum(jnp.stack([e for *_, e in self.chosen(self.features(h))]), axis=0)

    def uniform(self, noise: Noise, positions: tuple[int, ...]) -> jax.Array:
        """Sums of codes at so many positions, those of each level as likely as its others."""
        index = uniform_indices(noise, (*positions, self.levels), self.codes)
        books = self.averages.codes.value
        return jnp.sum(jax.vmap(lambda book, i: book[i], (0, -1))(books, index), axis=0)
