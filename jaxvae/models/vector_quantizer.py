"""Codebooks as bottlenecks: features are replaced by the nearest of so many codes.

van den Oord, Vinyals and Kavukcuoglu 2017 (arXiv:1711.00937): with codes that are moving averages
of the features that choose them (appendix A.1), or parameters.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae import axis
from jaxvae.models.bottlenecks import FeatureMap
from jaxvae.models.layers import Dense, InitRule
from jaxvae.models.nearest import nearest
from jaxvae.models.output import Code
from jaxvae.noise import Noise

SMOOTHING = 1e-5  # of the counts, so that no code is divided by 0


def counts_of(index: jax.Array, codes: int) -> jax.Array:
    """How often each code is chosen in the whole batch, (codes,)."""
    return axis.total(jnp.bincount(index.reshape(-1), length=codes).astype(float))


def sums_by_code(z: jax.Array, index: jax.Array, codes: int) -> tuple[jax.Array, jax.Array]:
    """The sum of the features (n, code_dim) that chose each code, (codes, code_dim), and how many.

    One by one on CPUs; elsewhere, where such sums would be in an order by chance, as a product.
    """
    return jax.lax.platform_dependent(
        *(z, index),
        cpu=lambda z, index: one_by_one(z, index, codes),
        default=lambda z, index: as_product(z, index, codes),
    )


def one_by_one(z: jax.Array, index: jax.Array, codes: int) -> tuple[jax.Array, jax.Array]:
    """`sums_by_code`, one feature after another."""
    ones = jnp.ones(len(z), z.dtype)
    return jax.ops.segment_sum(z, index, codes), jax.ops.segment_sum(ones, index, codes)


def as_product(z: jax.Array, index: jax.Array, codes: int) -> tuple[jax.Array, jax.Array]:
    """`sums_by_code`, by a matrix of who chose what."""
    chosen = (jnp.arange(codes)[:, None] == index[None]).astype(z.dtype)
    return chosen @ z, jnp.sum(chosen, axis=1)


def perplexity(counts: jax.Array) -> jax.Array:
    """exp of the entropy of the codes' use, (): how many codes are in use, as if equally."""
    usage = counts / jnp.sum(counts)
    return jnp.exp(-jnp.sum(usage * jnp.log(jnp.where(usage > 0, usage, 1.0))))


def straight_through(z: jax.Array, quantised: jax.Array) -> jax.Array:
    """What is quantised, through which gradients pass as if it were z."""
    return z + jax.lax.stop_gradient(quantised - z)


def squared_error(z: jax.Array, e: jax.Array) -> jax.Array:
    """|z - e|^2 of each example, (batch,)."""
    return jnp.sum(jnp.square(z - e).reshape(len(z), -1), axis=-1)


class Averages(NamedTuple):
    """Codes, (codes, code_dim), and the moving averages that they are the quotient of: sums of the
    features that chose each, and raw counts, (codes,)."""

    codes: Any
    sums: Any
    counts: Any

    def moved(self, z: jax.Array, index: jax.Array, decay: float) -> "Averages":
        """Towards the whole batch's features, (..., code_dim), which chose `index`."""
        z, size = jax.lax.stop_gradient(z.reshape(-1, z.shape[-1])), len(self.codes)
        of_batch = axis.total(sums_by_code(z, index.reshape(-1), size))
        sums = decay * self.sums + (1 - decay) * of_batch[0]
        counts = decay * self.counts + (1 - decay) * of_batch[1]
        total = jnp.sum(counts)
        smoothed = (counts + SMOOTHING) / (total + size * SMOOTHING) * total
        return Averages(sums / smoothed[:, None], sums, counts)

    def restarted(self, features: jax.Array, threshold: float) -> "Averages":
        """Codes that fewer than `threshold` features choose become these features, as many as there
        are codes, as if so many had chosen them."""
        dead = self.counts < threshold
        fresh = Averages(features, threshold * features, jnp.full_like(self.counts, threshold))
        new = [
            jnp.where(dead.reshape(-1, *[1] * (a.ndim - 1)), b, a)
            for a, b in zip(self, fresh, strict=True)
        ]
        return Averages(*new)


def averages_of(module: nn.Module, shape: tuple[int, ...]) -> Averages:
    """The variables of the collection `codebook`: codes N(0, I), each as if chosen once, by itself.

    shape: (codes, code_dim), or with an axis of levels before it.
    """
    codes = module.variable(
        "codebook", "codes", lambda: jax.random.normal(module.make_rng("params"), shape)
    )
    sums = module.variable("codebook", "sums", lambda: codes.value)
    return Averages(codes, sums, module.variable("codebook", "counts", jnp.ones, shape[:-1]))


def values_of(averages: Averages) -> Averages:
    """What those variables hold."""
    return Averages(*(variable.value for variable in averages))


def store(averages: Averages, moved: Averages) -> None:
    """Have those variables hold this."""
    for variable, value in zip(averages, moved, strict=True):
        variable.value = value


class VectorQuantizer(FeatureMap):
    """Features (batch, ..., channels) to codes (batch, ..., code_dim), one at each position.

    The collection `codebook` has the codes and their averages, which move after use, by the whole
    batch, on however many devices it is. Where `restart` is above 0, codes whose average count is
    below it become features of the batch, drawn by the noise "restart". Where `decay` is None, the
    codes are parameters, and `aux["codebook"]` is what moves them (eq. 3).
    """

    codes: int
    code_dim: int
    decay: float | None = 0.99
    restart: float = 0.0
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        shape = (self.codes, self.code_dim)
        self.projection = Dense(self.code_dim, self.init_rule)
        if self.decay is None:
            self.learned = self.param("codes", jax.nn.initializers.normal(1.0), shape)
        else:
            self.averages = averages_of(self, shape)

    @property
    def book(self) -> jax.Array:
        """The codes, (codes, code_dim)."""
        return self.learned if self.decay is None else self.averages.codes.value

    def __call__(self, h: jax.Array, noise: Noise | None, train: bool) -> Code:
        held, z, book = jax.lax.stop_gradient, self.features(h), self.book
        index = nearest(z, book)
        e = book[index]
        aux = {
            "commitment": squared_error(z, held(e)),
            "perplexity": perplexity(counts_of(index, self.codes)),
            "indices": index,
        }
        if self.decay is None:
            aux["codebook"] = squared_error(held(z), e)
        elif train and not self.is_initializing():
            moved = values_of(self.averages).moved(z, index, self.decay)
            if self.restart > 0 and noise is not None:
                features = held(axis.gather(z).reshape(-1, self.code_dim))
                key, number = noise.shared("restart"), len(features)
                rows = jax.random.randint(key, (self.codes,), 0, number)
                moved = moved.restarted(features[rows], self.restart)
            store(self.averages, moved)
        return Code(straight_through(z, e), aux=aux)

    def features(self, h: jax.Array) -> jax.Array:
        """What is quantised."""
        return self.projection(h)

    def embed(self, h: jax.Array) -> jax.Array:
        """The codes that are chosen."""
        return self.book[nearest(self.features(h), self.book)]

    def uniform(self, noise: Noise, positions: tuple[int, ...]) -> jax.Array:
        """Codes at so many positions, each as likely as the others."""
        return self.book[uniform_indices(noise, positions, self.codes)]


def uniform_indices(noise: Noise, positions: tuple[int, ...], codes: int) -> jax.Array:
    """Of codes that are all as likely, (batch, *positions)."""
    return jnp.floor(codes * noise.uniform("sample", positions)).astype(int)


def codebook_of(z: jax.Array, codes: int, key: jax.Array) -> dict[str, jax.Array]:
    """The collection `codebook` whose codes are some of the features z, (..., code_dim)."""
    chosen = jax.random.permutation(key, z.reshape(-1, z.shape[-1]))[:codes]
    return {"codes": chosen, "sums": chosen, "counts": jnp.ones(codes, chosen.dtype)}
