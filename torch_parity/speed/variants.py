"""The variants as contestants in PyTorch: the models of `torch_parity.variants`, which draw here by
themselves and step as fast as PyTorch can.

Does not import JAX. What follows a schedule is left out, since `torch.compile` would compile each
of its values: warm_up_vae, cyclical_vae, capacity_vae, capacity_per_example_vae, gumbel_vae,
joint_vae. So are conditional_vae, since images are raced without labels, and those that differ by a
line or a loop from the VQ-VAE: vq_vae_restart, vq_vae_gradient, residual_vq_vae.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_parity.variants import aggregated, discrete, kl, models, samples
from torch_parity.variants.vqvae import VQVAE, SquaredErrorVQVAE

Draw = Callable[[Any, int], dict[str, Tensor]]


class ByProducts:
    """Nearest codes by |e|^2 - 2 z.e, a product of matrices: what tuned code of a VQ-VAE does."""

    def nearest(self, z_e: Tensor) -> Tensor:
        codes: Any = self.codes  # type: ignore[attr-defined]
        flat = z_e.detach().flatten(0, -2)
        distances = torch.addmm(codes.square().sum(-1), flat, codes.T, alpha=-2)
        return distances.argmin(-1).unflatten(0, z_e.shape[:-1])


class TunedVQVAE(ByProducts, VQVAE):
    """The VQ-VAE with that search."""


class TunedSquaredErrorVQVAE(ByProducts, SquaredErrorVQVAE):
    """The same of the one for colour images."""


def device_of(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def latents(net: Any) -> int:
    """Of an encoder with a Gaussian's heads, or with codes that are not drawn."""
    head = net.mean if hasattr(net, "mean") else net.code
    return int(head.out_features)


def eps(model: Any, batch: int, *draws: int) -> dict[str, Tensor]:
    """(*draws, B, L)."""
    return {"eps": torch.randn(*draws, batch, latents(model.encoder), device=device_of(model))}


def several(*draws: int) -> Draw:
    return lambda model, batch: eps(model, batch, *draws)


def prior(model: Any, batch: int) -> dict[str, Tensor]:
    return {"prior": torch.randn(batch, latents(model.encoder), device=device_of(model))}


def directions(model: Any, batch: int) -> dict[str, Tensor]:
    found = prior(model, batch)
    return found | {"directions": torch.randn(50, found["prior"].shape[1], device=device_of(model))}


def permutation(model: Any, batch: int) -> dict[str, Tensor]:
    """An order of the batch for each latent: that of random numbers."""
    found = eps(model, batch)
    return found | {"permutation": torch.rand_like(found["eps"]).argsort(0)}


def two_eps(model: Any, batch: int) -> dict[str, Tensor]:
    sizes = {"eps1": latents(model.encoder_1), "eps2": latents(model.encoder_2)}
    return {n: torch.randn(batch, size, device=device_of(model)) for n, size in sizes.items()}


def nothing(model: Any, batch: int) -> dict[str, Tensor]:
    return {}


class Entrant(NamedTuple):
    """A variant that is raced; the sizes are the experiment's."""

    model: Callable[[], Any]
    draw: Draw = eps
    rate: float = 1e-3
    critic_rate: float | None = None
    """Of the second optimizer, where there is a critic."""
    flat: bool = True
    """Whether images are vectors; else channels come first."""

    def inputs(self, stored: Tensor) -> Tensor:
        """From pixels 0..255 (B, channels, height, width) to what the model sees."""
        x = stored.float() / 255
        return x.flatten(1) if self.flat else x

    def parameters(self, model: Any) -> list[dict[str, Any]]:
        """Groups of parameters, and the settings of Adam for each."""
        if self.critic_rate is None:
            return [{"params": list(model.parameters()), "lr": self.rate}]
        critic = {"lr": self.critic_rate, "betas": (0.5, 0.9)}
        return [
            {"params": model.autoencoder_parameters(), "lr": self.rate},
            {"params": model.critic_parameters(), **critic},
        ]


ENTRANTS = {
    "beta_vae": Entrant(kl.BetaVAE),
    "free_bits_vae": Entrant(kl.FreeBitsVAE),
    "sigma_vae": Entrant(kl.SigmaVAE),
    "optimal_sigma_vae": Entrant(kl.OptimalSigmaVAE),
    "log_cosh_vae": Entrant(kl.LogCoshVAE),
    "k_sample_vae": Entrant(samples.KSampleVAE, several(5)),
    "iwae": Entrant(models.IWAE, several(5)),
    "iwae_50": Entrant(models.IWAE, several(50)),
    "miwae": Entrant(samples.MIWAE, several(2, 4)),
    "piwae": Entrant(samples.PIWAE, several(2, 4)),
    "ciwae": Entrant(samples.CIWAE, several(5)),
    "stl_vae": Entrant(samples.STL, several(5)),
    "dreg": Entrant(samples.DReG, several(5)),
    "renyi_vae": Entrant(samples.Renyi, several(5)),
    "beta_tc_vae": Entrant(aggregated.BetaTCVAE),
    "factor_vae": Entrant(models.FactorVAE, permutation, critic_rate=1e-4),
    "dip_vae_i": Entrant(aggregated.DIPVAE),
    "dip_vae_ii": Entrant(partial(aggregated.DIPVAE, kind="II", diagonal=10.0)),
    "info_vae": Entrant(
        aggregated.InfoVAE, lambda model, batch: eps(model, batch) | prior(model, batch)
    ),
    "wae_mmd": Entrant(aggregated.WAEMMD, prior),
    "swae": Entrant(aggregated.SWAE, directions),
    "aae": Entrant(aggregated.AAE, prior, critic_rate=5e-4),
    "vq_vae": Entrant(TunedVQVAE, nothing, flat=False),
    "cifar_vq_vae": Entrant(
        partial(TunedSquaredErrorVQVAE, image_channels=3), nothing, rate=2e-4, flat=False
    ),
    "fsq_vae": Entrant(discrete.FSQVAE, nothing, flat=False),
    "two_layer_vae": Entrant(models.TwoLayerVAE, two_eps),
    "vamp_prior_vae": Entrant(models.VampPriorVAE),
    "flow_vae": Entrant(models.PlanarVAE),
}
