"""Categorical codes, drawn by the Gumbel-max trick, or in training by its relaxation.

Jang, Gu and Poole 2017 (arXiv:1611.01144); Maddison, Mnih and Teh 2017 (arXiv:1611.00712).
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae.models.bottlenecks import Gaussian, flat
from jaxvae.models.layers import Dense, InitRule
from jaxvae.models.output import Code
from jaxvae.noise import Noise


def categorical_kl(logits: jax.Array) -> jax.Array:
    """KL(categorical || uniform) over the last axis, in nats: log K minus the entropy."""
    log_q = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_q) * log_q, axis=-1) + math.log(logits.shape[-1])


def log_ratio(y: jax.Array, logits: jax.Array) -> jax.Array:
    """log q(y|x) - log p(y) of one-hot vectors (batch, variables, categories), p uniform, (batch,).

    Of soft ones it is none, since their density is another.
    """
    variables, categories = logits.shape[1:]
    log_q = jnp.sum(y * jax.nn.log_softmax(logits), axis=(1, 2))
    return log_q + variables * math.log(categories)


def most_likely(logits: jax.Array) -> jax.Array:
    """The one-hot vector of the largest."""
    return jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)


def gumbel_softmax(
    logits: jax.Array, noise: Noise | None, temperature: jax.Array | float | None
) -> jax.Array:
    """softmax((logits + g) / temperature) with Gumbel noise g, Jang et al., eq. 2.

    Without a temperature what it tends to as that goes to 0: a one-hot vector, a draw of the
    categorical; without noise the most likely one.
    """
    if noise is None:
        return most_likely(logits)
    keys = noise.keys("gumbel")
    gumbel = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:], logits.dtype))(keys)
    if temperature is None:
        return most_likely(logits + gumbel)
    return jax.nn.softmax((logits + gumbel) / temperature)


class Categorical(nn.Module):
    """`number` variables of so many categories each; the code has their one-hot vectors in a row.

    In training they are soft, at the temperature that it is called with.
    """

    number: int
    categories: int
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        self.logits = Dense(self.number * self.categories, self.init_rule)

    def of_variables(self, h: jax.Array) -> jax.Array:
        """Logits, (batch, variables, categories)."""
        return self.logits(flat(h)).reshape(-1, self.number, self.categories)

    def __call__(
        self,
        h: jax.Array,
        noise: Noise | None,
        train: bool,
        temperature: jax.Array | float | None = None,
    ) -> Code:
        logits = self.of_variables(h)
        temperature = temperature if train else None
        y = gumbel_softmax(logits, noise, temperature)
        kl = jnp.sum(categorical_kl(logits), axis=-1)
        return Code(flat(y), kl, log_ratio(y, logits) if temperature is None else None)

    def embed(self, h: jax.Array) -> jax.Array:
        """The most likely categories."""
        return flat(most_likely(self.of_variables(h)))

    def prior(self, noise: Noise) -> jax.Array:
        """Categories that are all as likely."""
        logits = jnp.zeros((len(noise.index), self.number, self.categories))
        return flat(gumbel_softmax(logits, noise, None))


class ContinuousAndCategorical(nn.Module):
    """A Gaussian code and one categorical variable, side by side: (batch, latent_dim + categories).

    Dupont 2018, section 3.1 (arXiv:1804.00104).
    """

    latent_dim: int
    categories: int
    init_rule: InitRule = "flax"

    def setup(self) -> None:
        self.continuous = Gaussian(self.latent_dim, self.init_rule)
        self.discrete = Categorical(1, self.categories, self.init_rule)
        nn.share_scope(self, self.continuous)
        nn.share_scope(self, self.discrete)

    def __call__(
        self,
        h: jax.Array,
        noise: Noise | None,
        train: bool,
        temperature: jax.Array | float | None = None,
    ) -> Code:
        c, d = self.continuous(h, noise, train), self.discrete(h, noise, train, temperature)
        ratios = [part.log_ratio for part in (c, d) if part.log_ratio is not None]
        ratio = ratios[0] + ratios[1] if len(ratios) == 2 else None  # soft categories have none
        # No kl_per_latent, by which a code that is all Gaussian is known.
        aux = {name: c.aux[name] for name in ("mean", "logvar")}
        aux |= {"kl_continuous": c.kl, "kl_discrete": d.kl}
        kl = aux["kl_continuous"] + aux["kl_discrete"]
        return Code(jnp.concatenate([c.z, d.z], axis=-1), kl, ratio, aux)

    def embed(self, h: jax.Array) -> jax.Array:
        """The posterior mean, and the most likely category."""
        return jnp.concatenate([self.continuous.embed(h), self.discrete.embed(h)], axis=-1)

    def prior(self, noise: Noise) -> jax.Array:
        """z ~ N(0, I), and any category."""
        return jnp.concatenate([self.continuous.prior(noise), self.discrete.prior(noise)], axis=-1)
