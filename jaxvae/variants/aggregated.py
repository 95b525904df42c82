"""What presses on the aggregated posterior q(z) = E_x q(z|x): terms across the batch.

They are added to the loss of every example, in nats, whatever the reductions of the objective.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxvae import axis, noise
from jaxvae.build import networks
from jaxvae.checks import require
from jaxvae.config import Family, Likelihood, Model, Objective
from jaxvae.info import Info
from jaxvae.models import AE
from jaxvae.objectives import discrepancies
from jaxvae.objectives.aggregated import Estimator, aggregated, decomposition, log_mixture_weights
from jaxvae.variants.kl import require_finite

Terms = dict[str, jax.Array]


def posteriors(output: Any) -> tuple[jax.Array, jax.Array]:
    """Mean and logvar of the whole batch; a UsageError where the posterior is no Gaussian."""
    mean, logvar = output.gaussian
    return axis.gather(mean), axis.gather(logvar)


def prior_draws(batch: Any, z: jax.Array) -> jax.Array:
    """z ~ N(0, I), as many as the batch has codes; where nothing else is drawn, the same always."""
    if batch.noise is None:
        return jax.random.normal(noise.root(0), axis.gather(z).shape, z.dtype)
    return axis.gather(batch.noise.normal("prior", z.shape[1:]))


@dataclass(frozen=True)
class BetaTC(Objective):
    """loss = recon + mi_weight MI + tc_weight TC + dw_weight dwKL, which with ones is the VAE's.

    The KL as mutual information, total correlation and dimension-wise KL: Chen et al. 2018, eq. 4
    (arXiv:1802.04942). What weighs 1 is in the analytic KL, so that only the rest is estimated.
    """

    mi_weight: float = 1.0
    """alpha of the paper."""
    tc_weight: float = 6.0
    """beta of the paper."""
    dw_weight: float = 1.0
    """gamma of the paper."""
    estimator: Estimator = "mws"
    """How log q(z) is estimated from a batch: minibatch-weighted or minibatch-stratified sampling,
    or the plain mean over the batch (its gradient is that of mws)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "mi_weight", "tc_weight", "dw_weight")

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms = super().terms(output, batch, params)
        z, (mean, logvar) = axis.gather(output.z), posteriors(output)
        log_w = log_mixture_weights(self.estimator, len(z), batch.info.num_examples)
        estimates = decomposition(z, mean, logvar, aggregated(z, mean, logvar, log_w))
        mi, tc, dw_kl = (jnp.mean(estimate) for estimate in estimates)
        pressed = (self.mi_weight - 1) * mi + (self.tc_weight - 1) * tc
        loss = terms["loss"] + pressed + (self.dw_weight - 1) * dw_kl
        return terms | {"loss": loss, "mi": mi, "tc": tc, "dw_kl": dw_kl}


@dataclass(frozen=True)
class DIP(Objective):
    """loss = recon + kl + off_diagonal sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2.

    I: C is the covariance of the posterior means over the batch. II: that of the codes, with the
    mean posterior variances on its diagonal. Kumar et al. 2018, eq. 6 and 7 (arXiv:1711.00848).
    """

    kind: Literal["I", "II"] = "II"
    """Of which covariance."""
    off_diagonal: float = 10.0
    """Weight of the covariances."""
    diagonal: float = 10.0
    """Weight of the variances' distance from 1; the paper has 10 times the other for I."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "off_diagonal", "diagonal")

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms = super().terms(output, batch, params)
        mean, logvar = posteriors(output)
        centred = mean - jnp.mean(mean, axis=0, keepdims=True)
        covariance = centred.T @ centred / len(mean)
        if self.kind == "II":
            covariance += jnp.diag(jnp.mean(jnp.exp(logvar), axis=0))
        off_diagonal, diagonal = discrepancies.covariance_penalties(covariance)
        loss = terms["loss"] + self.off_diagonal * off_diagonal + self.diagonal * diagonal
        return terms | {"loss": loss, "off_diagonal": off_diagonal, "diagonal": diagonal}


@dataclass(frozen=True)
class InfoVAE(Objective):
    """loss = recon + (1 - alpha) kl + (alpha + lambda - 1) MMD(q(z), p(z)).

    Zhao et al. 2017, eq. 6 (arXiv:1706.02262). The MMD is that of the codes and of as many draws of
    N(0, I), with a Gaussian kernel of bandwidth sqrt(latents). alpha = 1 is the MMD-VAE.
    """

    alpha: float = 0.5
    """Weight of the mutual information, which lessens that of the KL."""
    mmd_weight: float = 100.0
    """lambda of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(math.isfinite(self.alpha), "objective.alpha", self.alpha, "finite")
        allowed = f"at least 1 - alpha = {1 - self.alpha:g}: below, the MMD is maximised; finite"
        summed = self.alpha + self.mmd_weight
        require(1 <= summed < math.inf, "objective.mmd_weight", self.mmd_weight, allowed)

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms, z = super().terms(output, batch, params), axis.gather(output.z)
        kernel = discrepancies.rbf(z.shape[1] ** 0.5)
        mmd = discrepancies.mmd(z, prior_draws(batch, output.z), kernel)
        loss = terms["loss"] - self.alpha * terms["kl"] + (self.alpha + self.mmd_weight - 1) * mmd
        return terms | {"loss": loss, "mmd": mmd}


class Matched(AE, kw_only=True):
    """An autoencoder without noise whose codes are made to look like draws of N(0, I)."""

    def prior(self, batch: Any) -> jax.Array:
        """z ~ N(0, I), (batch, latent_dim)."""
        return batch.noise.normal("sample", (self.latent_dim,))


@dataclass(frozen=True)
class MatchedModel(Model):
    """A deterministic encoder, with the prior N(0, I)."""

    family: Family = "AE"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.family == "AE", "model.family", self.family, "AE: its codes are not drawn")

    def build(self, info: Info) -> Matched:
        return Matched(**networks(self, info), latent_dim=self.latent_dim)


@dataclass(frozen=True)
class WAEMMD(Objective):
    """loss = |x - xhat|^2 + weight MMD(q(z), N(0, I)).

    Tolstikhin et al. 2018, algorithm 2 (arXiv:1711.01558). The kernel is a sum of inverse
    multiquadratics, the estimate unbiased: it may be below 0. Logged in nats, half of all this.
    """

    likelihood: Likelihood = "mse"
    weight: float = 10.0
    """lambda of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "weight")

    def discrepancy(self, z: jax.Array, batch: Any) -> Terms:
        """Between the batch's codes and draws of the prior, (), by its name."""
        kernel = discrepancies.inverse_multiquadratic(z.shape[1])
        codes, prior = axis.gather(z), prior_draws(batch, z)
        return {"mmd": discrepancies.mmd(codes, prior, kernel, unbiased=True)}

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        terms = super().terms(output, batch, params)
        found = self.discrepancy(output.z, batch)
        weight = self.weight / self._recon_factor(batch.target[0].size)  # |x - xhat|^2 is coded
        return terms | found | {"loss": terms["loss"] + weight * sum(found.values())}


@dataclass(frozen=True)
class SWAE(WAEMMD):
    """loss = |x - xhat|^2 + weight times a sliced Wasserstein distance of q(z) and N(0, I).

    Its square, by projections on random directions: Kolouri et al. 2018, eq. 15 (arXiv:1804.01947).
    """

    directions: int = 50
    """Directions, drawn in every step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.directions >= 1, "objective.directions", self.directions, "at least 1")

    def discrepancy(self, z: jax.Array, batch: Any) -> Terms:
        key = noise.root(1) if batch.noise is None else batch.noise.shared("directions")
        directions = jax.random.normal(key, (self.directions, z.shape[1]), z.dtype)
        prior = prior_draws(batch, z)
        return {"sliced": discrepancies.sliced_wasserstein(axis.gather(z), prior, directions)}
