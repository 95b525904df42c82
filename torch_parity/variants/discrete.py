"""VAEs of discrete codes, each written from its paper's equations.

As the models of `models.py`. The first four share the convolutions of `VQVAE`, in `vqvae.py`, and
their images x are (B, 1, 28, 28), or any height and width that 4 divides.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_parity.variants.parts import Bernoulli, Terms, bernoulli_nll, kl_standard_normal, sample
from torch_parity.variants.vqvae import VQVAE


def convolutions(channels: Sequence[int], code_dim: int) -> tuple[nn.Sequential, nn.Sequential]:
    """The encoder and the decoder of `VQVAE`, with new weights."""
    model = VQVAE(channels, code_dim, num_codes=1)
    return model.encoder, model.decoder


def decode(decoder: nn.Module, z: Tensor, x: Tensor) -> Terms:
    """The entries that all convolutional models share, with codes z (B, h, w, D); kl is 0."""
    logits = decoder(z.movedim(-1, 1)).flatten(1)
    recon = bernoulli_nll(logits, x.flatten(1))
    return {"recon": recon, "kl": torch.zeros_like(recon), "z": z, "logits": logits}


def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """The index (...) of the code (K, D) nearest to z (..., D), the first of equals."""
    return (z.detach()[..., None, :] - codes.detach()).square().sum(-1).argmin(-1)


def perplexity(indices: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """exp of the entropy of the use of `size` codes, a scalar between 1 and `size`."""
    usage = torch.bincount(indices.flatten(), minlength=size).to(dtype) / indices.numel()
    return torch.exp(-torch.xlogy(usage, usage).sum())


def kl_uniform(logits: Tensor) -> Tensor:
    """KL(softmax(logits) || uniform) = sum_k q_k log q_k + log K over the last axis."""
    log_q = F.log_softmax(logits, -1)
    return (log_q.exp() * log_q).sum(-1) + math.log(logits.shape[-1])


def choose(logits: Tensor, gumbel: Tensor, temperature: float | None) -> Tensor:
    """softmax((logits + gumbel) / temperature), or the one-hot of the largest where it is None."""
    noisy = logits + gumbel
    if temperature is None:
        return F.one_hot(noisy.argmax(-1), noisy.shape[-1]).to(noisy.dtype)
    return F.softmax(noisy / temperature, -1)


class RestartVQVAE(VQVAE):
    """The VQ-VAE of moving averages, where dead codes start again at features of the batch.

    Arguments and `terms` are those of `VQVAE`, but for `rows`, which `update` takes: int64 (K,), of
    B h w features. The restarts are of Jukebox (arXiv 2005.00341).
    """

    def __init__(self, *args: Any, threshold: float = 0.5, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.threshold = threshold

    def terms(self, x: Tensor, rows: Tensor) -> Terms:  # type: ignore[override]
        """With x (B, 1, 28, 28) and rows."""
        return super().terms(x) | {"rows": rows}

    @torch.no_grad()
    def update(self, terms: Terms) -> None:
        """`VQVAE.update`, then f = z_e[rows[k]] for each code k of a new count below the threshold.

        codes_k = f, counts_k = threshold, sums_k = threshold f.
        """
        super().update(terms)
        dead = self.counts < self.threshold
        features = terms["z_e"].flatten(0, -2)[terms["rows"][dead]]
        self.codes[dead] = features
        self.sums[dead] = self.threshold * features
        self.counts[dead] = self.threshold


class GradientVQVAE(nn.Module):
    """The VQ-VAE whose codes are learned by gradients (arXiv 1711.00937 eq. 3).

    loss = recon + codebook + 0.25 commitment and kl = 0, where "codebook" is |sg(z_e) - e|^2 and
    "commitment" |z_e - sg(e)|^2, (B,), summed over positions and D: equal numbers, whose gradients
    move the codes and the encoder. Further: the scalar "perplexity" and "indices" (B, h, w).
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        code_dim: int = 16,
        num_codes: int = 64,
        commitment: float = 0.25,
    ):
        super().__init__()
        self.commitment = commitment
        self.encoder, self.decoder = convolutions(channels, code_dim)
        self.codes = nn.Parameter(torch.randn(num_codes, code_dim))

    def terms(self, x: Tensor) -> Terms:
        """With x (B, 1, 28, 28)."""
        z_e = self.encoder(x).movedim(1, -1)
        indices = nearest(z_e, self.codes)
        e = self.codes[indices]
        terms = decode(self.decoder, z_e + (e - z_e).detach(), x)
        codebook = (z_e.detach() - e).square().flatten(1).sum(1)
        commitment = (z_e - e.detach()).square().flatten(1).sum(1)
        loss = terms["recon"] + codebook + self.commitment * commitment
        terms |= {"loss": loss, "codebook": codebook, "commitment": commitment, "indices": indices}
        return terms | {"perplexity": perplexity(indices, len(self.codes), x.dtype)}


class ResidualVQVAE(VQVAE):
    """Residual quantisation (arXiv 2107.03312 sec. III-C, arXiv 2203.01941 sec. 3.1).

    r_0 = z_e; at each level e_l is the code of book l nearest to r_l, and r_{l+1} = r_l - sg(e_l).
    The decoder sees z_e + sg(sum_l e_l - z_e). "commitment" (B,) is |r_l - sg(e_l)|^2 summed over
    levels, positions and D; loss = recon + 0.25 commitment and kl = 0. Further: the levels' mean
    "perplexity", "indices" (B, h, w, levels) and "residuals" (B, h, w, levels, D), the r_l,
    detached. As in `VQVAE`, the books are moving averages, which only `update(terms)` changes.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        code_dim: int = 16,
        num_codes: int = 16,
        levels: int = 4,
        commitment: float = 0.25,
        decay: float = 0.99,
        epsilon: float = 1e-5,
    ):
        super().__init__(channels, code_dim, num_codes, commitment, decay, epsilon)
        self.codes = torch.randn(levels, num_codes, code_dim)
        self.sums = self.codes.clone()
        self.counts = torch.ones(levels, num_codes)

    def terms(self, x: Tensor) -> Terms:
        """With x (B, 1, 28, 28)."""
        z_e = self.encoder(x).movedim(1, -1)
        r, residuals, indices, used = z_e, [z_e], [], []
        for book in self.codes:
            indices.append(nearest(r, book))
            used.append(perplexity(indices[-1], len(book), x.dtype))
            r = r - book[indices[-1]]
            residuals.append(r)
        terms = decode(self.decoder, z_e - r.detach(), x)  # z_e less what is left: the sum of e_l
        commitment = torch.stack(residuals[1:]).square().sum((0, 2, 3, 4))  # r_{l+1} is r_l - e_l
        loss = terms["recon"] + self.commitment * commitment
        terms |= {"loss": loss, "commitment": commitment, "perplexity": torch.stack(used).mean()}
        terms["residuals"] = torch.stack(residuals[:-1], -2).detach()
        return terms | {"indices": torch.stack(indices, -1)}

    @torch.no_grad()
    def update(self, terms: Terms) -> None:
        """The moving averages of `VQVAE.update`, each level by its own residuals."""
        r, indices = terms["residuals"].flatten(0, -3), terms["indices"].flatten(0, -2)
        used = F.one_hot(indices, self.codes.shape[1]).to(r.dtype)
        sums = torch.einsum("nlk,nld->lkd", used, r)
        self.counts.copy_(self.decay * self.counts + (1 - self.decay) * used.sum(0))
        self.sums.copy_(self.decay * self.sums + (1 - self.decay) * sums)
        n = self.counts.sum(1, keepdim=True)
        smoothed = (self.counts + self.epsilon) / (n + used.shape[-1] * self.epsilon) * n
        self.codes.copy_(self.sums / smoothed[..., None])


class FSQVAE(nn.Module):
    """Finite scalar quantisation (arXiv 2309.15505 sec. 3.1): rounding, with no codebook.

    A channel of L >= 2 levels is bounded to tanh(z_e + shift) half - offset, rounded straight
    through and divided by L // 2, with half = (L - 1)/2 (1 + 1e-3), offset = 1/2 for even L and 0
    for odd L, and shift = atanh(offset / half), so that z_e = 0 is bounded to 0. (The paper's
    listing has 1 - 1e-3 and tan.) loss = recon and kl = 0. Further: "indices" (B, h, w) in mixed
    radix, the first channel fastest, and the scalar "perplexity" over all prod(levels).
    """

    def __init__(self, channels: Sequence[int] = (16, 32), levels: Sequence[int] = (8, 6, 5)):
        super().__init__()
        self.levels = tuple(levels)
        self.encoder, self.decoder = convolutions(channels, len(self.levels))

    def quantise(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """The code (..., D) of z_e (..., D), and its index (...)."""
        indices = torch.zeros_like(z_e[..., 0], dtype=torch.int64)
        codes, radix = [], 1
        for channel, levels in zip(z_e.unbind(-1), self.levels, strict=True):
            half, offset = (levels - 1) / 2 * (1 + 1e-3), 0.5 if levels % 2 == 0 else 0.0
            bounded = torch.tanh(channel + math.atanh(offset / half)) * half - offset
            rounded = bounded + (bounded.round() - bounded).detach()
            codes.append(rounded / (levels // 2))
            indices += radix * (bounded.detach().round().long() + levels // 2)
            radix *= levels
        return torch.stack(codes, -1), indices

    def terms(self, x: Tensor) -> Terms:
        """With x (B, 1, 28, 28)."""
        z, indices = self.quantise(self.encoder(x).movedim(1, -1))
        terms = decode(self.decoder, z, x)
        terms |= {"loss": terms["recon"], "indices": indices}
        return terms | {"perplexity": perplexity(indices, math.prod(self.levels), x.dtype)}


class GumbelVAE(nn.Module):
    """Categorical latents by the Gumbel-softmax (arXiv 1611.01144 sec. 2, arXiv 1611.00712).

    In training y = softmax((logits + gumbel) / tau), tau = max(min_temperature, exp(-rate step));
    in evaluation y is the one-hot of argmax(logits + gumbel), an exact sample of softmax(logits).
    kl = sum over variables of KL(softmax(logits) || uniform) and loss = recon + kl, which is a
    bound in evaluation only. Further, in training: the scalar "temperature".
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        variables: int = 20,
        categories: int = 10,
        min_temperature: float = 0.5,
        rate: float = 1e-3,
    ):
        super().__init__()
        self.shape = (variables, categories)
        self.min_temperature, self.rate = min_temperature, rate
        # The decoder's kind of net; here its logits are those of the categories.
        self.encoder = Bernoulli(pixels, hidden, variables * categories)
        self.decoder = Bernoulli(variables * categories, hidden, pixels)

    def terms(
        self, x: Tensor, gumbel: Tensor, step: int | None = None, train: bool = True
    ) -> Terms:
        """With gumbel (B, variables, categories), standard Gumbel noise."""
        logits = self.encoder(x).unflatten(-1, self.shape)
        annealed = 0.0 if step is None else math.exp(-self.rate * step)
        temperature = max(self.min_temperature, annealed)
        z = choose(logits, gumbel, temperature if train else None).flatten(1)
        decoded = self.decoder(z)
        recon, kl = bernoulli_nll(decoded, x), kl_uniform(logits).sum(-1)
        terms = {"loss": recon + kl, "recon": recon, "kl": kl, "z": z, "logits": decoded}
        return terms | ({"temperature": x.new_tensor(temperature)} if train else {})


class GaussianCategorical(nn.Module):
    """inputs - hidden (ReLU) - mean, logvar and the logits of one categorical."""

    def __init__(self, inputs: int, hidden: int, latents: int, categories: int):
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        self.mean, self.logvar = nn.Linear(hidden, latents), nn.Linear(hidden, latents)
        self.logits = nn.Linear(hidden, categories)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and logvar (..., latents), logits (..., categories)."""
        h = F.relu(self.hidden(x))
        return self.mean(h), self.logvar(h), self.logits(h)


class JointVAE(nn.Module):
    """JointVAE (arXiv 1804.00104 eq. 7): Gaussian latents and one categorical, with capacities.

    loss = recon + gamma |mean_B KLc - Cc(t)| + gamma |mean_B KLd - Cd(t)|: the distances of the
    batch means, not of each example. C(t) = C min(1, t / capacity_steps), and Cd(t) is no more than
    log(categories), which no KLd exceeds. z = (mean + exp(logvar / 2) eps, y), with y as in
    `GumbelVAE` at a fixed temperature. kl = KLc + KLd. Further: "kl_continuous", "kl_discrete"
    and "from_capacity", the sum of both distances.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        categories: int = 10,
        gamma: float = 30.0,
        capacity: float = 5.0,
        discrete_capacity: float = 2.0,
        capacity_steps: int = 1000,
        temperature: float = 0.67,
    ):
        super().__init__()
        self.gamma, self.temperature, self.capacity_steps = gamma, temperature, capacity_steps
        self.capacity, self.discrete_capacity = capacity, discrete_capacity
        self.encoder = GaussianCategorical(pixels, hidden, latents, categories)
        self.decoder = Bernoulli(latents + categories, hidden, pixels)

    def terms(
        self, x: Tensor, eps: Tensor, gumbel: Tensor, step: int | None = None, train: bool = True
    ) -> Terms:
        """With eps (B, latents) and gumbel (B, categories), standard Gumbel noise."""
        mean, logvar, logits = self.encoder(x)
        y = choose(logits, gumbel, self.temperature if train else None)
        z = torch.cat([sample(mean, logvar, eps), y], 1)
        decoded = self.decoder(z)
        recon = bernoulli_nll(decoded, x)
        kl_c, kl_d = kl_standard_normal(mean, logvar), kl_uniform(logits)
        part = 1.0 if step is None else min(1.0, step / self.capacity_steps)
        discrete_capacity = min(part * self.discrete_capacity, math.log(logits.shape[-1]))
        gap_c, gap_d = kl_c.mean() - part * self.capacity, kl_d.mean() - discrete_capacity
        gaps = gap_c.abs() + gap_d.abs()
        loss = recon + self.gamma * gaps
        terms = {"loss": loss, "recon": recon, "kl": kl_c + kl_d, "z": z, "logits": decoded}
        return terms | {"kl_continuous": kl_c, "kl_discrete": kl_d, "from_capacity": gaps}
