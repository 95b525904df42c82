"""A weight, a target or a schedule of the KL, and a variance that follows from the errors."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import axis
from jaxvae.checks import UsageError, require
from jaxvae.config import Likelihood, Objective, with_fields
from jaxvae.objectives import gaussian_nll, half_squared_error

Terms = dict[str, jax.Array]


def risen(step: jax.Array, steps: int) -> jax.Array:
    """From 0 to 1 over so many steps, then 1."""
    return jnp.minimum(1.0, jnp.asarray(step, float) / steps)


def require_finite(objective: Objective, *names: str) -> None:
    """Raise a UsageError where one of these fields is negative, infinite or not a number."""
    for name in names:
        value = getattr(objective, name)
        require(0 <= value < math.inf, f"objective.{name}", value, "at least 0 and finite")


@dataclass(frozen=True)
class Cyclical(Objective):
    """beta rises linearly from 0, stays, and begins again: Fu et al. 2019 (arXiv:1903.10145).

    Evaluation uses the full beta.
    """

    cycle_steps: int = 500
    """Steps of a cycle."""
    rising: float = 0.5
    """The part of a cycle in which beta rises."""

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "at least 2: a cycle begins with 0"
        require(self.cycle_steps >= 2, "objective.cycle_steps", self.cycle_steps, allowed)
        require(0 < self.rising <= 1, "objective.rising", self.rising, "in (0, 1]")
        require(
            self.warmup_steps == 0, "objective.warmup_steps", self.warmup_steps, "0 with cycles"
        )

    def at(self, step: jax.Array) -> Objective:
        part_of_cycle = jnp.asarray(step % self.cycle_steps, float) / self.cycle_steps
        return with_fields(
            self, {"beta": self.beta * jnp.minimum(1.0, part_of_cycle / self.rising)}
        )


@dataclass(frozen=True)
class Capacity(Objective):
    """loss = recon + gamma |KL - C(t)|, where C rises linearly from 0 to `capacity`.

    KL is the mean over the batch: Burgess et al. 2018, eq. 8 (arXiv:1804.03599), as
    disentanglement_lib has it; or that of each example, as pythae has it, which is another loss.
    """

    beta: float = 0.0
    """Weight of the KL besides; the paper has none."""
    gamma: float = 30.0
    """Weight of the distance from the capacity."""
    capacity: float = 10.0
    """C at the end, in nats."""
    capacity_steps: int = 1000
    """Steps over which C rises."""
    per_example: bool = False
    """|KL - C| of each example, not of the batch's mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "gamma", "capacity")
        require(
            self.capacity_steps >= 1, "objective.capacity_steps", self.capacity_steps, "at least 1"
        )

    def at(self, step: jax.Array) -> Objective:
        capacity = self.capacity * risen(step, self.capacity_steps)
        return with_fields(super().at(step), {"capacity": capacity})

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms = super().terms(output, batch, params)
        kl = terms["kl"] if self.per_example else jnp.mean(axis.gather(terms["kl"]))
        distance = jnp.abs(kl - self.capacity)
        loss = terms["loss"] + self.gamma * distance
        return terms | {"loss": loss, "from_capacity": distance}


@dataclass(frozen=True)
class FreeBits(Objective):
    """loss = recon + beta sum_j max(free_nats, KL_j), KL_j of latent j being the batch's mean.

    Kingma et al. 2016, eq. 15 (arXiv:1606.04934). Of a latent below it nothing is pressed down. As
    max(a, b) = b + max(a - b, 0), the loss of an example is its own with its whole KL, and what the
    batch's latents lack.
    """

    free_nats: float = 0.5
    """What each latent may hold at no cost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "free_nats")

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        if "kl_per_latent" not in output.aux:
            raise UsageError("free bits need a Gaussian posterior and the prior N(0, I)")
        per_latent = jnp.mean(axis.gather(output.aux["kl_per_latent"]), axis=0)
        lacking = jnp.sum(jnp.maximum(self.free_nats - per_latent, 0.0))
        pressed = output._replace(kl=output.kl + lacking)
        terms = super().terms(pressed, batch, params)
        return terms | {"kl": output.kl, "lacking": lacking}


@dataclass(frozen=True)
class OptimalSigma(Objective):
    """A Gaussian likelihood whose variance is, in each batch, its maximum likelihood estimate.

    sigma^2 is the mean squared error over the batch and its pixels: Rybkin, Daniilidis and Levine
    2021, section 3.2 (arXiv:2006.13202). Being a minimum, it has no gradient.
    """

    likelihood: Likelihood = "gaussian"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.likelihood == "gaussian", "objective.likelihood", self.likelihood, "gaussian")
        require(self.sigma == 1, "objective.sigma", self.sigma, "1: it follows from the errors")

    def variance(self, output: Any, batch: Any) -> jax.Array:
        """The mean squared error, (), of the values that are observed."""
        squared = 2 * jnp.mean(half_squared_error(batch.target, output.decoded, batch.observed))
        number = batch.target[0].size
        if batch.observed is not None:
            number = jnp.mean(jnp.sum(batch.observed.reshape(len(batch.target), -1), axis=1))
        squared, number = axis.mean((squared, jnp.asarray(number, squared.dtype)))
        return jax.lax.stop_gradient(squared / number)

    def recon(self, output: Any, batch: Any, params: Any) -> jax.Array:
        logvar = jnp.log(self.variance(output, batch))
        return gaussian_nll(batch.target, output.decoded, logvar, batch.observed)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        sigma = jnp.sqrt(self.variance(output, batch))
        return super().terms(output, batch, params) | {"sigma": sigma}
