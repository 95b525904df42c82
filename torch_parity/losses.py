"""The total losses of well-known sources, written in PyTorch the way each of them reduces.

Every function takes `pixels`, the decoder's output in pixel space (probabilities for a binary
cross-entropy, means for a squared error), `mean` and `logvar` of shape (batch, latents), and the
images `x`, (batch, ...), with their pixels in the order of `pixels`; either may be flat. It returns
a scalar, c (R + beta_eff KL) + constant, with R the sum over an image's pixels of the cross-entropy
or of half the squared error and KL the sum over its latents, both averaged over the batch, in nats.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F


def _kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, I)), summed over axis 1, in the form most sources write."""
    return -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp(), dim=1)


def bce_and_kl_summed(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """BCE and KL, each summed over everything: pytorch/examples `vae/main.py`,
    Jackson-Kang/Pytorch-VAE-tutorial and GruheshKurra's VAE (beta 1).

    PyTorch clamps each logarithm of the BCE at -100.
    """
    bce = F.binary_cross_entropy(pixels.flatten(1), x.flatten(1), reduction="sum")
    return bce + _kl(mean, logvar).sum()


def ethanluoyc(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """-log N(x; pixels, 1) with its constant D/2 log(2 pi), and KL: sums, mean over the batch.

    ethanluoyc/pytorch-vae `vae.py`, whose head is log sigma: logvar = 2 log sigma.
    """
    p = Normal(pixels.flatten(1), torch.ones_like(pixels.flatten(1)))
    log_likelihood = p.log_prob(x.flatten(1)).sum(-1).mean()
    kl = kl_divergence(Normal(mean, torch.exp(0.5 * logvar)), Normal(0, 1.0)).sum(-1).mean()
    return -(log_likelihood - kl)


def pythae_vae(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """Half the squared error and KL: sums, mean over the batch. pythae `VAE`, "mse" (its default).

    Early versions of pythae had the whole squared error here.
    """
    squared = F.mse_loss(pixels.flatten(1), x.flatten(1), reduction="none")
    return (0.5 * squared.sum(dim=-1) + _kl(mean, logvar)).mean(dim=0)


def pythae_vae_bce(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """BCE on probabilities and KL: sums, mean over the batch. pythae `VAE`, "bce".

    PyTorch clamps each logarithm of the BCE at -100.
    """
    bce = F.binary_cross_entropy(pixels.flatten(1), x.flatten(1), reduction="none")
    return (bce.sum(dim=-1) + _kl(mean, logvar)).mean(dim=0)


def pythae_ae(pixels: Tensor, mean: Tensor | None, logvar: Tensor | None, x: Tensor) -> Tensor:
    """The whole squared error, summed, mean over the batch. pythae `AE`: no mean, no logvar."""
    squared = F.mse_loss(pixels.flatten(1), x.flatten(1), reduction="none")
    return squared.sum(dim=-1).mean(dim=0)


def _unclamped_bce(pixels: Tensor, x: Tensor) -> Tensor:
    """The BCE on logits of the Flax sources, in terms of probabilities, (batch, pixels): no clamp.

    Infinite or NaN where a probability is exactly 0 or 1; a logit of 37 already rounds to 1 in
    float64 (17 in float32), which the sources' own logits need not.
    """
    pixels, x = pixels.flatten(1), x.flatten(1)
    return -(x * torch.log(pixels) + (1 - x) * torch.log1p(-pixels))


def flax(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """BCE and KL: sums, mean over the batch. Flax `examples/vae`; Haiku's and Keras's likewise.

    The source has logits; `pixels` are their sigmoids.
    """
    return _unclamped_bce(pixels, x).sum(dim=1).mean() + _kl(mean, logvar).mean()


def flax_nnx_toy(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """BCE averaged over everything + 0.1 KL averaged over batch and latents.

    Flax `examples/nnx_toy_examples/05_vae.py`, with 28x28 pixels and 32 latents. The source has
    logits, of which `pixels` are the sigmoids, and a head of log std.
    """
    std = torch.exp(0.5 * logvar)
    kl = (0.5 * (-torch.log(std**2) - 1.0 + std**2 + mean**2).mean(dim=-1)).mean()
    return _unclamped_bce(pixels, x).mean() + 0.1 * kl


def lightning_bolts(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """Squared error averaged over everything + 0.1 KL averaged over batch and latents.

    lightning-bolts `basic_vae_module.py`, with 3x32x32 pixels (CIFAR) and 256 latents.
    """
    q = Normal(mean, torch.exp(logvar / 2))
    p = Normal(torch.zeros_like(mean), torch.ones_like(logvar))
    kl = 0.1 * kl_divergence(q, p).mean()
    return kl + F.mse_loss(pixels.flatten(1), x.flatten(1), reduction="mean")


def antixk_train(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """Squared error averaged over everything + 0.00025 x (KL summed over latents, mean over batch).

    AntixK/PyTorch-VAE `vanilla_vae.py` with `kld_weight` of `configs/vae.yaml`; 3x64x64 pixels.
    """
    return F.mse_loss(pixels.flatten(1), x.flatten(1)) + 0.00025 * torch.mean(
        _kl(mean, logvar), dim=0
    )


def antixk_validation(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """`antixk_train` with weight 1: what AntixK/PyTorch-VAE's `validation_step` reports."""
    return F.mse_loss(pixels.flatten(1), x.flatten(1)) + 1.0 * torch.mean(_kl(mean, logvar), dim=0)


def ssakhash(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """Squared error averaged over everything + KL averaged over batch and latents.

    ssakhash/Autoencoders-using-PyTorch `VAE.ipynb`, with 784 pixels and 20 latents. Its codes have
    shape (batch, 1, 20) and it sums over axis 1: the mean is over the latents too.
    """
    mean, logvar = mean[:, None], logvar[:, None]
    return F.mse_loss(pixels.flatten(1), x.flatten(1)) + torch.mean(_kl(mean, logvar))


def disentanglement_lib(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
    """The whole squared error and beta KL: sums, mean over the batch; here beta = 1.

    google-research/disentanglement_lib, `l2_loss` and `BetaVAE` (TensorFlow). The source's decoder
    gives logits; `pixels` are their sigmoids.
    """
    squared = torch.square(x.flatten(1) - pixels.flatten(1)).sum(dim=1)
    kl = 0.5 * torch.sum(torch.square(mean) + torch.exp(logvar) - logvar - 1, dim=1)
    return squared.mean() + kl.mean()


LOSSES: dict[str, Callable[[Tensor, Any, Any, Tensor], Tensor]] = {
    "pytorch_examples": bce_and_kl_summed,
    "jackson_kang": bce_and_kl_summed,
    "gruheshkurra": bce_and_kl_summed,
    "ethanluoyc": ethanluoyc,
    "pythae_vae": pythae_vae,
    "pythae_vae_bce": pythae_vae_bce,
    "pythae_ae": pythae_ae,
    "flax": flax,
    "flax_nnx_toy": flax_nnx_toy,
    "lightning_bolts": lightning_bolts,
    "antixk_train": antixk_train,
    "antixk_validation": antixk_validation,
    "ssakhash": ssakhash,
    "disentanglement_lib": disentanglement_lib,
}
