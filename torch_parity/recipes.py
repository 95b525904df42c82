"""The experiments as PyTorch would write them: model, loss, optimiser, inputs, in plain numbers.

Nothing here reads an experiment file; that both say the same is what the comparison shows.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from torch_parity.losses import LOSSES
from torch_parity.reference import (
    AE,
    VAE,
    Layers,
    conv_decoder,
    conv_encoder,
    dense_decoder,
    dense_encoder,
)

IMAGE = (1, 28, 28)
PIXELS = 784
MIRROR = ((3, 2, 1), (3, 2, 1))  # two convolutions k3 s2 p1


class Recipe(NamedTuple):
    """An experiment in PyTorch."""

    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Any, Any, Tensor], Tensor]
    """(pixels, mean, logvar, x) to the scalar that its source minimises."""
    optimizer: Callable[[Iterable[Tensor]], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], LRScheduler] | None = None
    """Stepped after each epoch (a plateau by the validation loss); a cosine after each step."""
    inputs: Callable[[Tensor], Tensor] = lambda images: images / 255
    """From stored pixels 0..255, as floats, to what the model sees."""
    channels: int = 1
    """Of the stored images: 3 of an experiment for photos, which is compared at half its size."""


def adam(learning_rate: float) -> Callable[[Iterable[Tensor]], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr=learning_rate)


def mean_squared_error(pixels: Tensor, mean: None, logvar: None, x: Tensor) -> Tensor:
    """Mean over all elements."""
    return F.mse_loss(pixels, x)


def bilinear(images: Tensor, side: int) -> Tensor:
    """Images (batch, height, width, channels), enlarged to a square."""
    found = F.interpolate(images.movedim(-1, 1), (side, side), mode="bilinear")
    return found.movedim(1, -1)


def gaussian(sigma: float) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """-log N(x; pixels, sigma) and KL: sums over an image, mean over the batch."""

    def loss(pixels: Tensor, mean: Tensor, logvar: Tensor, x: Tensor) -> Tensor:
        log_likelihood = Normal(pixels, sigma).log_prob(x).flatten(1).sum(dim=1)
        kl = kl_divergence(Normal(mean, torch.exp(0.5 * logvar)), Normal(0, 1.0)).sum(dim=1)
        return (kl - log_likelihood).mean()

    return loss


def dense_ae() -> AE:
    """784-128-64 with ReLU after both, 64-128-784 with ReLU and sigmoid."""
    return AE(
        dense_encoder(Layers(), PIXELS, [128]),
        dense_decoder(Layers(), [64, 128], IMAGE, nn.Sigmoid()),
        nn.Linear(128, 64),
        F.relu,
    )


def dense_vae(*widths: int, latent_dim: int, **settings: Any) -> VAE:
    """784-widths-(latents, latents), mirrored, ReLU, sigmoid."""
    return VAE(
        dense_encoder(Layers(**settings), PIXELS, widths),
        widths[-1],
        latent_dim,
        dense_decoder(Layers(**settings), [latent_dim, *widths[::-1]], IMAGE, nn.Sigmoid()),
    )


def fashion_vae() -> VAE:
    """784-400 ReLU-(20, 20); 20-40 ReLU-400 ReLU-784, linear output."""
    decoder = dense_decoder(Layers(), [20, 40, 400], IMAGE, nn.Identity())
    return VAE(dense_encoder(Layers(), PIXELS, [400]), 400, 20, decoder)


def cae() -> AE:
    """Convolutions 1-16-32, transposed 32-16-1, all k3 s2 p1 (output padding 1), ReLU, sigmoid."""
    return AE(
        conv_encoder(Layers(), IMAGE, [16, 32], MIRROR),
        conv_decoder(Layers(), IMAGE, [16, 32], MIRROR, nn.Sigmoid()),
    )


def conv_vae() -> VAE:
    """Four convolutions of 64 channels, strides 1, 2, 2, 1, LeakyReLU 0.01, 2 latents; mirrored."""
    channels, geometry = [64] * 4, [(3, stride, 1) for stride in (1, 2, 2, 1)]
    return VAE(
        conv_encoder(Layers(nn.LeakyReLU), IMAGE, channels, geometry),
        64 * 7 * 7,
        2,
        conv_decoder(Layers(nn.LeakyReLU), IMAGE, channels, geometry, nn.Sigmoid(), latent_dim=2),
    )


def images_vae() -> VAE:
    """Four convolutions k4 s2 p1 of 32 to 256 channels, ReLU, 128 latents; mirrored, sigmoid."""
    image, channels, geometry = (3, 32, 32), [32, 64, 128, 256], [(4, 2, 1)] * 4
    return VAE(
        conv_encoder(Layers(), image, channels, geometry),
        256 * 2 * 2,
        128,
        conv_decoder(Layers(), image, channels, geometry, nn.Sigmoid(), latent_dim=128),
    )


RECIPES = {
    "mnist_ae": Recipe(dense_ae, mean_squared_error, adam(1e-3)),
    "fashion_mnist_ae": Recipe(dense_ae, mean_squared_error, adam(1e-3)),
    "mnist_cae": Recipe(cae, mean_squared_error, adam(1e-3)),
    "mnist_vae": Recipe(
        lambda: dense_vae(256, latent_dim=20), LOSSES["pytorch_examples"], adam(1e-3)
    ),
    "pytorch_examples_vae": Recipe(
        lambda: dense_vae(400, latent_dim=20), LOSSES["pytorch_examples"], adam(1e-3)
    ),
    "mnist_vae_2d": Recipe(lambda: dense_vae(512, 256, latent_dim=2), LOSSES["flax"], adam(1e-3)),
    "mnist_vae_bn": Recipe(
        lambda: dense_vae(256, 128, latent_dim=2, batch_norm=True, dropout=0.2),
        LOSSES["flax"],
        adam(1e-3),
        lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=5),
    ),
    "fashion_mnist_vae_sgd": Recipe(
        fashion_vae,
        LOSSES["ssakhash"],
        lambda parameters: torch.optim.SGD(parameters, lr=1e-3, momentum=0.7),
        inputs=lambda images: torch.round(images / 27),
    ),
    "mnist_conv_vae": Recipe(conv_vae, LOSSES["disentanglement_lib"], adam(5e-4)),
    "digits_vae": Recipe(lambda: dense_vae(256, 128, latent_dim=2), LOSSES["flax"], adam(1e-3)),
    "images_vae": Recipe(
        images_vae,
        gaussian(0.1),
        adam(1e-3),
        inputs=lambda images: bilinear(images / 255, 32),
        channels=3,
    ),
}
