"""A codebook as bottleneck: features are replaced by the nearest of so many codes.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937), the codebook by moving averages.
"""

import jax
import jax.numpy as jnp

from jaxvae import axis
from jaxvae.models.bottlenecks import FeatureMap
from jaxvae.models.layers import Dense, InitRule
from jaxvae.models.output import Code
from jaxvae.noise import Noise

SMOOTHING = 1e-5  # of the counts, so that no code is divided by 0


class VectorQuantizer(FeatureMap):
    """Features (batch, ..., channels) to codes (batch, ..., code_dim), one at each position.

    The collection `codebook` has the codes, (codes, code_dim), and the moving averages that they
    are the quotient of: sums of the features that chose each, and raw counts. They move after use,
    by the whole batch, on however many devices it is.
    """

    codes: int
    code_dim: int
    decay: float = 0.99
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        shape = (self.codes, self.code_dim)
        self.projection = Dense(self.code_dim, self.init_rule)
        self.book = self.variable("codebook", "codes", self._random, shape)
        self.sums = self.variable("codebook", "sums", lambda: self.book.value)
        self.counts = self.variable("codebook", "counts", jnp.ones, self.codes)

    def _random(self, shape: tuple[int, int]) -> jax.Array:
        return jax.random.normal(self.make_rng("params"), shape)

    def nearest(self, z: jax.Array) -> jax.Array:
        """The index of the code next to each of (..., code_dim)."""
        rows = z.reshape(-1, self.code_dim)
        distance = jnp.sum(jnp.square(rows[:, None] - self.book.value[None]), axis=-1)
        return jnp.argmin(distance, axis=-1).reshape(z.shape[:-1])

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        z = self.projection(h)
        index = self.nearest(z)
        e = self.book.value[index]
        chosen = jax.nn.one_hot(index.reshape(-1), self.codes, dtype=z.dtype)
        counts = axis.total(jnp.sum(chosen, axis=0))
        if train and not self.is_initializing():
            self._move(counts, axis.total(chosen.T @ z.reshape(-1, self.code_dim)))
        usage = counts / jnp.sum(counts)
        entropy = -jnp.sum(usage * jnp.log(jnp.where(usage > 0, usage, 1.0)))
        distance = jnp.square(z - jax.lax.stop_gradient(e))
        aux = {
            "commitment": jnp.sum(distance.reshape(len(z), -1), axis=-1),
            "perplexity": jnp.exp(entropy),
            "indices": index,
        }
        return Code(z + jax.lax.stop_gradient(e - z), aux=aux)

    def _move(self, counts: jax.Array, sums: jax.Array) -> None:
        """The averages towards a batch's, without a gradient, and the codes with them."""
        counts, sums = jax.lax.stop_gradient((counts, sums))
        self.counts.value = self.decay * self.counts.value + (1 - self.decay) * counts
        self.sums.value = self.decay * self.sums.value + (1 - self.decay) * sums
        total = jnp.sum(self.counts.value)
        smoothed = (self.counts.value + SMOOTHING) / (total + self.codes * SMOOTHING) * total
        self.book.value = self.sums.value / smoothed[:, None]

    def features(self, h: jax.Array) -> jax.Array:
        """What is quantised."""
        return self.projection(h)

    def embed(self, h: jax.Array) -> jax.Array:
        """The codes that are chosen."""
        return self.book.value[self.nearest(self.projection(h))]

    def uniform(self, noise: Noise, positions: tuple[int, ...]) -> jax.Array:
        """Codes at so many positions, each as likely as the others."""
        index = jnp.floor(self.codes * noise.uniform("sample", positions)).astype(int)
        return self.book.value[index]


def codebook_of(z: jax.Array, codes: int, key: jax.Array) -> dict[str, jax.Array]:
    """The collection `codebook` whose codes are some of the features z, (..., code_dim)."""
    chosen = jax.random.permutation(key, z.reshape(-1, z.shape[-1]))[:codes]
    return {"codes": chosen, "sums": chosen, "counts": jnp.ones(codes, chosen.dtype)}
