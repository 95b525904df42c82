"""Codes of categories, soft while they are trained."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import axis
from jaxvae.build import networks
from jaxvae.checks import require
from jaxvae.config import Model, Objective, with_fields
from jaxvae.info import Info
from jaxvae.models import Autoencoder, Code, Output
from jaxvae.models.categorical import Categorical, ContinuousAndCategorical
from jaxvae.variants.kl import require_finite, risen

Terms = dict[str, jax.Array]


class Relaxed(Autoencoder, kw_only=True):
    """A categorical code, or a part of one, that is soft in training, at this temperature."""

    settings: "Gumbel"

    def make_bottleneck(self) -> Any:
        return self.settings.bottleneck()

    def __call__(self, batch: Any, train: bool = False, temperature: Any = 0.5) -> Output:
        h = self.features(batch, train)
        code: Code = self.bottleneck(h, batch.noise, train, temperature)
        return Output(self.decode(code.z, batch, train), *code)


@dataclass(frozen=True)
class Gumbel(Model):
    """`latent_dim` categorical variables: Jang, Gu and Poole 2017 (arXiv:1611.01144)."""

    categories: int = 10
    """Of each variable."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.family == "VAE", "model.family", self.family, "VAE: its codes are drawn")
        require(self.categories >= 2, "model.categories", self.categories, "at least 2")

    def build(self, info: Info) -> Relaxed:
        return Relaxed(**networks(self, info), settings=self)

    def bottleneck(self) -> Any:
        """Of a code that is categorical."""
        return Categorical(self.latent_dim, self.categories, self.init)


@dataclass(frozen=True)
class JointModel(Gumbel):
    """`latent_dim` Gaussian latents, one categorical variable: Dupont 2018 (arXiv:1804.00104)."""

    def bottleneck(self) -> Any:
        return ContinuousAndCategorical(self.latent_dim, self.categories, self.init)


@dataclass(frozen=True)
class Annealed(Objective):
    """The ELBO: of soft categories in training, at a temperature that falls, else of drawn ones.

    temperature(t) = max(temperature, exp(-annealing_rate t)): Jang et al. 2017, section 4.2. With
    the KL of the categories the loss is no bound while they are soft.
    """

    temperature: float = 0.5
    """Where it ends."""
    annealing_rate: float = 1e-3
    """How fast it falls, by step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        t = self.temperature
        require(0 < t < math.inf, "objective.temperature", t, "positive and finite")
        require_finite(self, "annealing_rate")

    def at(self, step: jax.Array) -> Objective:
        falling = jnp.exp(-self.annealing_rate * jnp.asarray(step, float))
        return with_fields(
            super().at(step), {"temperature": jnp.maximum(self.temperature, falling)}
        )

    def outcome(self, model: Any, batch: Any, params: Any) -> Any:
        return model(batch, temperature=self.temperature)


@dataclass(frozen=True)
class Joint(Objective):
    """loss = recon + gamma |KL_c - C_c(t)| + gamma |KL_d - C_d(t)|: Dupont 2018, eq. 7.

    KL_c and KL_d are the batch's means of the Gaussian latents and of the categorical variable;
    their capacities rise linearly, the second to log(categories) at most.
    """

    beta: float = 0.0
    """Weight of the KL besides; the paper has none."""
    gamma: float = 30.0
    """Weight of the distances from the capacities."""
    capacity: float = 5.0
    """Of the Gaussian latents at the end, in nats."""
    discrete_capacity: float = 2.0
    """Of the categorical variable at the end, in nats."""
    capacity_steps: int = 1000
    """Steps over which they rise."""
    temperature: float = 0.67
    """Of the categories in training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "gamma", "capacity", "discrete_capacity")
        steps, t = self.capacity_steps, self.temperature
        require(steps >= 1, "objective.capacity_steps", steps, "at least 1")
        require(0 < t < math.inf, "objective.temperature", t, "positive and finite")

    def at(self, step: jax.Array) -> Objective:
        names, part = ("capacity", "discrete_capacity"), risen(step, self.capacity_steps)
        return with_fields(super().at(step), {n: getattr(self, n) * part for n in names})

    def outcome(self, model: Any, batch: Any, params: Any) -> Any:
        return model(batch, temperature=self.temperature)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms = super().terms(output, batch, params)
        continuous, discrete = (output.aux[f"kl_{kind}"] for kind in ("continuous", "discrete"))
        categories = output.z.shape[-1] - output.aux["mean"].shape[-1]
        limit = jnp.minimum(self.discrete_capacity, math.log(categories))
        distance = jnp.abs(jnp.mean(axis.gather(continuous)) - self.capacity)
        distance += jnp.abs(jnp.mean(axis.gather(discrete)) - limit)
        logged = {"kl_continuous": continuous, "kl_discrete": discrete, "from_capacity": distance}
        return terms | logged | {"loss": terms["loss"] + self.gamma * distance}
