"""Densities, and the two networks that the variants of the VAE in `torch_parity.variants` share."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Terms = dict[str, Tensor]


def total(terms: Terms) -> Tensor:
    """The training scalar: "loss" averaged over the batch, plus the scalar "critic" if any.

    Where "minimised" is among the terms, it is that. Other scalars ("tc", "perplexity") are in the
    loss already or are only for the log.
    """
    if "minimised" in terms:
        return terms["minimised"]
    loss = terms["loss"].mean()
    return loss + terms["critic"] if "critic" in terms else loss


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) = -sum_i [x_i log s(l_i) + (1 - x_i) log(1 - s(l_i))]; x broadcasts to l."""
    x = x.expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)


def log_normal(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, diag exp(logvar)), summed over the last axis; the others broadcast."""
    squared = (z - mean).square() * torch.exp(-logvar)
    return -0.5 * (math.log(2 * math.pi) + logvar + squared).sum(-1)


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over the last axis."""
    return -0.5 * (math.log(2 * math.pi) + z.square()).sum(-1)


def kl_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, diag exp(logvar)) || N(0, I)) over the last axis (arXiv 1312.6114 app. B)."""
    return 0.5 * (mean.square() + torch.exp(logvar) - 1 - logvar).sum(-1)


def sample(mean: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
    """z = mean + exp(logvar / 2) eps (arXiv 1312.6114 sec. 2.4)."""
    return mean + torch.exp(0.5 * logvar) * eps


def importance_bound(log_w: Tensor) -> Tensor:
    """log((1/K) sum_k w_k) over the first axis."""
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


class Gaussian(nn.Module):
    """inputs - hidden (ReLU) - mean and logvar of a diagonal Gaussian."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.mean = nn.Linear(hidden, outputs)
        self.logvar = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logvar (..., outputs)."""
        h = F.relu(self.hidden(x))
        return self.mean(h), self.logvar(h)


class Bernoulli(nn.Module):
    """inputs - hidden (ReLU) - logits of the pixels."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.logits = nn.Linear(hidden, outputs)

    def forward(self, z: Tensor) -> Tensor:
        """Logits (..., outputs)."""
        return self.logits(F.relu(self.hidden(z)))
