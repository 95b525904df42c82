"""A critic of the codes, with an optimizer of its own, that presses on the aggregated posterior."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import axis
from jaxvae.config import Objective, Optimizer
from jaxvae.models.critics import Critic
from jaxvae.variants.aggregated import prior_draws
from jaxvae.variants.kl import require_finite

Terms = dict[str, jax.Array]
BETAS = {"b1": 0.5, "b2": 0.9}


def permute_latents(key: jax.Array, z: jax.Array) -> jax.Array:
    """Each latent, a column of (batch, latents), in a random order of its own."""
    return jax.random.permutation(key, z, axis=0, independent=True)


@dataclass(frozen=True)
class FactorVAE(Objective):
    """The total correlation of the codes, estimated by a critic, is pressed down.

    loss = recon + kl + gamma (D0(z) - D1(z)), mean over the batch, where the critic D tells codes
    (class 0) from codes of which each latent is permuted across the batch by itself (class 1). It
    is trained on "critic", the mean of both cross-entropies. Kim and Mnih 2018, eq. 2 and algorithm
    1 (arXiv:1802.05983), with one batch for both.
    """

    gamma: float = 10.0
    """Weight of the total correlation."""
    widths: tuple[int, ...] = (256, 256, 256)
    """Of the critic's hidden layers."""
    critic: Optimizer = field(default_factory=lambda: Optimizer(learning_rate=1e-4, options=BETAS))
    """Trains the critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "gamma")

    def init(self, key: jax.Array, output: Any) -> dict[str, Any]:
        critic = Critic(self.widths).init(key, output.z)["params"]
        return super().init(key, output) | {"critic": critic}

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        def critic(params: Any, z: jax.Array) -> jax.Array:
            logits: Any = Critic(self.widths).apply({"params": params}, z)
            return jax.nn.log_softmax(logits)

        held, terms = jax.lax.stop_gradient, super().terms(output, batch, params)
        z = axis.gather(output.z)
        log_d = critic(held(params["critic"]), z)  # so that the loss trains the model alone
        terms["tc"] = jnp.mean(log_d[:, 0] - log_d[:, 1])
        terms["loss"] = terms["loss"] + self.gamma * terms["tc"]
        if batch.noise is not None:
            permuted = permute_latents(batch.noise.shared("permute"), z)
            joint, product = (critic(params["critic"], held(codes)) for codes in (z, permuted))
            terms["critic"] = -0.5 * (jnp.mean(joint[:, 0]) + jnp.mean(product[:, 1]))
        return terms

    def minimised(self, terms: Terms) -> jax.Array:
        return terms["loss"] + terms["critic"]


@dataclass(frozen=True)
class Adversarial(Objective):
    """loss = recon - weight log D(z), where the critic D tells draws of N(0, I) from codes.

    It is trained on "critic" = -log D(z') - log(1 - D(z)), means over the batch. Makhzani et al.
    2016 (arXiv:1511.05644); Tolstikhin et al. 2018, algorithm 1 (arXiv:1711.01558): AAE, WAE-GAN.
    """

    weight: float = 10.0
    """lambda of the second paper."""
    widths: tuple[int, ...] = (256, 256)
    """Of the critic's hidden layers."""
    critic: Optimizer = field(default_factory=lambda: Optimizer(learning_rate=5e-4, options=BETAS))
    """Trains the critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_finite(self, "weight")

    def init(self, key: jax.Array, output: Any) -> dict[str, Any]:
        critic = Critic(self.widths, classes=1).init(key, output.z)["params"]
        return super().init(key, output) | {"critic": critic}

    def terms(self, output: Any, batch: Any, params: Any) -> Terms:
        def log_d(params: Any, z: jax.Array, sign: int = 1) -> jax.Array:
            """The mean of log D(z), or with sign -1 of log(1 - D(z))."""
            logits: Any = Critic(self.widths, classes=1).apply({"params": params}, z)
            return jnp.mean(jax.nn.log_sigmoid(sign * logits))

        held, terms = jax.lax.stop_gradient, super().terms(output, batch, params)
        z, prior = axis.gather(output.z), prior_draws(batch, output.z)
        terms["adversarial"] = -log_d(held(params["critic"]), z)
        terms["loss"] = terms["loss"] + self.weight * terms["adversarial"]
        critic = params["critic"]
        terms["critic"] = -log_d(critic, prior) - log_d(critic, held(z), sign=-1)
        return terms

    def minimised(self, terms: Terms) -> jax.Array:
        return terms["loss"] + terms["critic"]
