"""Reference models in plain `torch.nn`, written from the recipes, not from our Flax code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DenseVAE(nn.Module):
    """D - hidden ReLU - (latents, latents); latents - hidden ReLU - D sigmoid.

    With hidden 400 and 20 latents it is the model of pytorch/examples `vae/main.py`.
    """

    def __init__(self, num_pixels: int, hidden: int, latents: int):
        super().__init__()
        self.hidden = nn.Linear(num_pixels, hidden)
        self.mean = nn.Linear(hidden, latents)
        self.logvar = nn.Linear(hidden, latents)
        self.expand = nn.Linear(latents, hidden)
        self.pixels = nn.Linear(hidden, num_pixels)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (batch, D), mean and logvar (batch, latents) of images (batch, D)."""
        h = torch.relu(self.hidden(x))
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.exp(0.5 * logvar) * eps
        return torch.sigmoid(self.pixels(torch.relu(self.expand(z)))), mean, logvar


def summed_elbo(
    probabilities: Tensor, x: Tensor, mean: Tensor, logvar: Tensor
) -> tuple[Tensor, Tensor]:
    """BCE and KL, each summed over everything, as pytorch/examples writes them."""
    bce = F.binary_cross_entropy(probabilities, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())
    return bce, kl
