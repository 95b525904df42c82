"""Bounds on log p(x) from several samples of q(z|x), and gradients of them with less variance.

With beta = 1 the weights are log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x) at each sample; no
analytic KL enters them. `recon` and `kl` are the means over the samples.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae.checks import UsageError, require
from jaxvae.config import Objective
from jaxvae.objectives import bounds, gaussian_log_density

Terms = dict[str, jax.Array]


@dataclass(frozen=True)
class SeveralSamples(Objective):
    """loss = -1/K sum_k log w_k: the VAE's loss, averaged over K draws.

    The control of Burda, Grosse and Salakhutdinov 2016, eq. 7 (arXiv:1509.00519).
    """

    samples: int = 5
    """K: draws of the code for each example."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.samples >= 1, "objective.samples", self.samples, "at least 1")

    @property
    def draws(self) -> int:
        """Codes that are drawn for each example."""
        return self.samples

    def outcome(self, model: Any, batch: Any, params: Any) -> Any:
        return model.draws(batch, self.draws)

    def bound(self, log_w: jax.Array) -> jax.Array:
        """On log p(x), (batch,), by the log weights of the samples."""
        return bounds.mean_elbo(log_w)

    def of_samples(self, output: Any, batch: Any, params: Any) -> Terms:
        """The terms of each sample by itself, (samples, batch): their loss is -log w."""
        if output.log_ratio is None:
            raise UsageError("bounds of samples need a posterior, whose density at codes is known")
        return super().terms(output._replace(kl=output.log_ratio), batch, params)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        of_samples = self.of_samples(output, batch, params)
        loss = -self.bound(-of_samples["loss"])
        return {"loss": loss, "recon": of_samples["recon"].mean(0), "kl": of_samples["kl"].mean(0)}


@dataclass(frozen=True)
class IWAE(SeveralSamples):
    """loss = -log 1/K sum_k w_k: Burda et al. 2016, eq. 8."""

    def bound(self, log_w: jax.Array) -> jax.Array:
        return bounds.importance_weighted(log_w)


@dataclass(frozen=True)
class MIWAE(SeveralSamples):
    """The mean of M IWAE losses of K samples each: Rainforth et al. 2018 (arXiv:1802.04537)."""

    samples: int = 4
    """K: draws in each bound."""
    repeats: int = 2
    """M: bounds for each example, so that M K codes are drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.repeats >= 1, "objective.repeats", self.repeats, "at least 1")

    @property
    def draws(self) -> int:
        """M K."""
        return self.repeats * self.samples

    def bound(self, log_w: jax.Array) -> jax.Array:
        return bounds.several_importance_weighted(log_w, self.repeats)


@dataclass(frozen=True)
class CIWAE(IWAE):
    """elbo_weight times the mean ELBO and the rest of the IWAE's bound: Rainforth et al. 2018."""

    elbo_weight: float = 0.05
    """beta of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.elbo_weight <= 1, "objective.elbo_weight", self.elbo_weight, "in [0, 1]")

    def bound(self, log_w: jax.Array) -> jax.Array:
        weight = self.elbo_weight
        return weight * bounds.mean_elbo(log_w) + (1 - weight) * super().bound(log_w)


@dataclass(frozen=True)
class Renyi(SeveralSamples):
    """The Renyi bound of order alpha: Li and Turner 2016, eq. 9 (arXiv:1602.02311)."""

    alpha: float = 0.5
    """0: the IWAE; towards 1: the mean ELBO; below 0: above the IWAE, and no bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        allowed = "finite, and not 1, where it is k_sample_vae's"
        finite = math.isfinite(self.alpha)
        require(finite and self.alpha != 1, "objective.alpha", self.alpha, allowed)

    def bound(self, log_w: jax.Array) -> jax.Array:
        return bounds.renyi(log_w, self.alpha)


def both_ways(model: Any, batch: Any, number: int) -> Any:
    """Draws that only the decoder is trained by; `aux["inference"]` are the same ones, which train
    all but the decoder.

    What both compute is computed once: they are given the same numbers, since of two loops that
    draw a compiler does not see that they draw the same.
    """
    others = [name for name in model.params if name != "decoder"]

    def one(model: Any, draw: jax.Array) -> tuple[Any, Any]:
        drawn = batch.another(draw).drawn_once()
        return model.holding(*others)(drawn), model.holding("decoder")(drawn)

    generative, inference = model.each(one, jnp.arange(number))
    return generative._replace(aux=generative.aux | {"inference": inference})


@dataclass(frozen=True)
class PIWAE(MIWAE):
    """The decoder follows the IWAE of M K samples, the encoder the MIWAE: Rainforth et al. 2018.

    The loss is the decoder's, the tighter one; `encoder_loss` is the other.
    """

    def outcome(self, model: Any, batch: Any, params: Any) -> Any:
        return both_ways(model, batch, self.draws)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        # Parameters of a likelihood are trained by the decoder's loss alone.
        held = jax.lax.stop_gradient(params)
        inference = super().terms(output.aux["inference"], batch, held)
        of_samples = self.of_samples(output, batch, params)
        loss = -bounds.importance_weighted(-of_samples["loss"])
        return inference | {"loss": loss, "encoder_loss": inference["loss"]}

    def minimised(self, terms: Terms) -> jax.Array:
        return terms["loss"] + terms["encoder_loss"]


def with_held_posterior(output: Any) -> Any:
    """The same samples, of which log q(z|x) has a gradient by z alone, not by mean and logvar."""
    mean, logvar = jax.lax.stop_gradient(output.gaussian)
    log_q = gaussian_log_density(output.z, mean, logvar)
    return output._replace(log_ratio=log_q - gaussian_log_density(output.z))


@dataclass(frozen=True)
class STL(IWAE):
    """Sticking the landing: the IWAE's loss without the gradient that reaches the posterior's
    parameters through its density. Roeder, Wu and Duvenaud 2017 (arXiv:1703.09194).

    At the true posterior it is exactly 0. With K > 1 it is biased: see `DReG`.
    """

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        return super().terms(with_held_posterior(output), batch, params)


@dataclass(frozen=True)
class DReG(IWAE):
    """The IWAE's loss with the doubly reparameterised gradient for the encoder, which has no bias.

    sum_k v_k^2 dlog w_k/dz_k dz_k/dphi, v the normalised weights: Tucker et al. 2019, eq. 8
    (arXiv:1810.04152). With a beta, which weighs log q in the weights, their derivation gives
    (1 - beta) v_k + beta v_k^2. The decoder's gradient is the IWAE's, sum_k v_k dlog w_k/dtheta.
    """

    def outcome(self, model: Any, batch: Any, params: Any) -> Any:
        return both_ways(model, batch, self.draws)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        held = jax.lax.stop_gradient
        inference = with_held_posterior(output.aux["inference"])
        terms = super().terms(output, batch, params)
        log_w = -self.of_samples(inference, batch, held(params))["loss"]
        v = held(jax.nn.softmax(log_w, axis=0))
        beta = self.beta_eff(math.prod(batch.target.shape[1:]), output.num_latents)
        followed = -jnp.sum(((1 - beta) * v + beta * jnp.square(v)) * log_w, axis=0)
        return terms | {"loss": terms["loss"] + (followed - held(followed))}
