"""The variants as PyTorch would write them: model, what is random, optimisers.

Nothing here reads an experiment file; that both say the same is what the comparison shows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import torch
from torch import Tensor, nn

from jaxvae.noise import Noise
from torch_parity.report import BATCH, STEPS_PER_EPOCH
from torch_parity.variants import aggregated, discrete, given, kl, models, samples
from torch_parity.variants.vqvae import VQVAE, SquaredErrorVQVAE

Given = Callable[[Any, Noise, jax.Array], dict[str, jax.Array]]
Optimizers = Callable[[Any], list[torch.optim.Optimizer]]


def adam(model: nn.Module, rate: float = 1e-3) -> list[torch.optim.Optimizer]:
    """One for all parameters."""
    return [torch.optim.Adam(model.parameters(), lr=rate)]


def two_adams(rate: float) -> Optimizers:
    """One for the autoencoder, another with this rate for the critic."""

    def optimizers(model: Any) -> list[torch.optim.Optimizer]:
        return [
            torch.optim.Adam(model.autoencoder_parameters(), lr=1e-3),
            torch.optim.Adam(model.critic_parameters(), lr=rate, betas=(0.5, 0.9)),
        ]

    return optimizers


def spread(features: Tensor, number: int) -> Tensor:
    """So many of the different ones among features (..., D), evenly."""
    different = features.flatten(0, -2).unique(dim=0)
    return different[torch.linspace(0, len(different) - 1, number).long()]


@torch.no_grad()
def standardise(model: Any, x: Tensor) -> None:
    """Features of these images with mean 0 and standard deviation 2: PyTorch's first weights make
    them so small that all are rounded alike, and that a decoder may have no unit that is active."""
    last, features = model.encoder.conv_2, model.encoder(x)
    mean, std = features.mean((0, 2, 3)), features.std((0, 2, 3))
    last.weight.mul_(2 / std[:, None, None, None])
    last.bias.copy_((last.bias - mean) * 2 / std)


@torch.no_grad()
def features_as_codes(model: Any, x: Tensor) -> None:
    """Codes that are different features of these images, so that many are used; uneven counts."""
    standardise(model, x)
    model.codes.copy_(spread(model.encoder(x).movedim(1, -1), len(model.codes)))
    if hasattr(model, "counts"):
        model.counts.copy_(torch.linspace(0.5, 2.0, len(model.codes)))
        model.sums.copy_(model.codes * model.counts[:, None])


@torch.no_grad()
def residuals_as_codes(model: discrete.ResidualVQVAE, x: Tensor) -> None:
    """The same for each level, by what the levels before it leave."""
    standardise(model, x)
    left = model.encoder(x).movedim(1, -1)
    for book, counts in zip(model.codes, model.counts, strict=True):
        book.copy_(spread(left, len(book)))
        counts.copy_(torch.linspace(0.5, 2.0, len(book)))
        left = left - book[discrete.nearest(left, book)]
    model.sums.copy_(model.codes * model.counts[..., None])


class Variant(NamedTuple):
    """A variant in PyTorch."""

    model: Callable[..., Any]
    """With the sizes of the experiment, or those that are given."""
    given: Given = given.eps
    """(model, noise, labels) to the arguments of `terms` besides x: what both sides are given."""
    optimizers: Optimizers = adam
    start: Callable[[Any, Tensor], None] = lambda model, x: None
    """Sets what follows from images."""
    update: Callable[[Any, Any], None] = lambda model, terms: None
    """Moves what is no parameter, after a batch."""
    inputs: Callable[[Tensor], Tensor] = lambda images: images.flatten(1)
    """From (B, 1, 28, 28) in [0, 1] to what the model sees."""


def images(x: Tensor) -> Tensor:
    """As a convolutional model sees them."""
    return x


_CONV: dict[str, Any] = {"inputs": images, "given": given.nothing}
_VQ: dict[str, Any] = _CONV | {"start": features_as_codes, "update": VQVAE.update}
_FACTOR, _AAE = two_adams(1e-4), two_adams(5e-4)
_OF_EXAMPLE = partial(kl.CapacityVAE, per_example=True)
_DIP_II = partial(aggregated.DIPVAE, kind="II", diagonal=10.0)
_TC = partial(aggregated.BetaTCVAE, number=BATCH * STEPS_PER_EPOCH)

KL = {
    "beta_vae": Variant(kl.BetaVAE),
    "warm_up_vae": Variant(kl.WarmUpVAE),
    "cyclical_vae": Variant(kl.CyclicalVAE),
    "capacity_vae": Variant(kl.CapacityVAE),
    "capacity_per_example_vae": Variant(_OF_EXAMPLE),
    "free_bits_vae": Variant(kl.FreeBitsVAE),
    "sigma_vae": Variant(kl.SigmaVAE),
    "optimal_sigma_vae": Variant(kl.OptimalSigmaVAE),
    "log_cosh_vae": Variant(kl.LogCoshVAE),
}
SAMPLES = {
    "k_sample_vae": Variant(samples.KSampleVAE, given.five_eps),
    "iwae": Variant(models.IWAE, given.five_eps),
    "miwae": Variant(samples.MIWAE, given.two_by_four_eps),
    "piwae": Variant(samples.PIWAE, given.two_by_four_eps),
    "ciwae": Variant(samples.CIWAE, given.five_eps),
    "stl_vae": Variant(samples.STL, given.five_eps),
    "dreg": Variant(samples.DReG, given.five_eps),
    "renyi_vae": Variant(samples.Renyi, given.five_eps),
}
AGGREGATED = {
    "beta_tc_vae": Variant(_TC),
    "factor_vae": Variant(models.FactorVAE, given.eps_and_permutation, _FACTOR),
    "dip_vae_i": Variant(aggregated.DIPVAE),
    "dip_vae_ii": Variant(_DIP_II),
    "info_vae": Variant(aggregated.InfoVAE, given.eps_and_prior),
    "wae_mmd": Variant(aggregated.WAEMMD, given.prior),
    "swae": Variant(aggregated.SWAE, given.prior_and_directions),
    "aae": Variant(aggregated.AAE, given.prior, _AAE),
}
DISCRETE = {
    "vq_vae": Variant(VQVAE, **_VQ),
    "vq_vae_restart": Variant(
        discrete.RestartVQVAE,
        **_VQ | {"given": given.rows, "update": discrete.RestartVQVAE.update},
    ),
    "vq_vae_gradient": Variant(
        discrete.GradientVQVAE,
        **_CONV,
        start=features_as_codes,
    ),
    "cifar_vq_vae": Variant(
        SquaredErrorVQVAE,
        **_VQ | {"optimizers": partial(adam, rate=2e-4)},
    ),
    "residual_vq_vae": Variant(
        discrete.ResidualVQVAE,
        **_VQ | {"start": residuals_as_codes, "update": discrete.ResidualVQVAE.update},
    ),
    "fsq_vae": Variant(discrete.FSQVAE, **_CONV, start=standardise),
    "gumbel_vae": Variant(discrete.GumbelVAE, given.gumbel),
    "joint_vae": Variant(discrete.JointVAE, given.eps_and_gumbel),
}
OTHERS = {
    "conditional_vae": Variant(models.ConditionalVAE, given.eps_and_label),
    "two_layer_vae": Variant(models.TwoLayerVAE, given.two_eps),
    "vamp_prior_vae": Variant(models.VampPriorVAE),
    "flow_vae": Variant(models.PlanarVAE),
}
FAMILIES = {
    "kl": KL,
    "samples": SAMPLES,
    "aggregated": AGGREGATED,
    "discrete": DISCRETE,
    "others": OTHERS,
}
VARIANTS = {name: variant for family in FAMILIES.values() for name, variant in family.items()}
NARROW: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cifar_vq_vae": (
        {"hidden_dims": (64, 64), "residual_dim": 64, "latent_dim": 64},
        {"channels": (64, 64), "width": 64, "code_dim": 64},
    )
}
"""Of what takes a minute at the widths of its file: the fields of its model, and the sizes of the
PyTorch model, that it is compared at."""
