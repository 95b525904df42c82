"""Variants of the VAE with a weight, a target or a schedule on the KL, or another likelihood.

As the models of `models.py`: x is (B, 784) in [0, 1], eps (B, L) standard normal. "kl" is always
the analytic KL(N(mean, diag exp(logvar)) || N(0, I)) of each example, unweighted; "recon" is
-log p(x|z). Where p(x|z) is no Bernoulli, "decoded", the means of the pixels, is in the place of
"logits". A schedule counts its `step` from 0, and without a step it has its final value.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_parity.variants.parts import (
    Bernoulli,
    Gaussian,
    Terms,
    bernoulli_nll,
    kl_standard_normal,
    log_normal,
    sample,
)


def log_cosh(u: Tensor) -> Tensor:
    """log cosh u = log(e^u + e^-u) - log 2, for any u; its derivative is tanh u."""
    return torch.logaddexp(u, -u) - math.log(2)


def ramp(step: int | None, steps: int | float) -> float:
    """min(1, step / steps), and 1 without a step."""
    return 1.0 if step is None else min(1.0, step / steps)


class Base(nn.Module):
    """The two networks, and what the variants compute from them."""

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20):
        super().__init__()
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def encode(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z and the KL of every latent, both (B, L)."""
        mean, logvar = self.encoder(x)
        return sample(mean, logvar, eps), kl_standard_normal(mean[..., None], logvar[..., None])

    def decode(self, z: Tensor) -> Tensor:
        """The means of the pixels, (B, 784)."""
        return torch.sigmoid(self.decoder(z))

    def bernoulli_terms(self, x: Tensor, eps: Tensor, beta: float = 1.0) -> Terms:
        """Those of the VAE with loss = recon + beta kl."""
        z, kl = self.encode(x, eps)
        logits = self.decoder(z)
        recon, kl = bernoulli_nll(logits, x), kl.sum(1)
        return {"loss": recon + beta * kl, "recon": recon, "kl": kl, "z": z, "logits": logits}


class BetaVAE(Base):
    """The beta-VAE: loss = recon + beta kl (Higgins et al., ICLR 2017, eq. 4; not on arXiv)."""

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20, beta: float = 4.0):
        super().__init__(pixels, hidden, latents)
        self.beta = beta

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        return self.bernoulli_terms(x, eps, self.beta)


class WarmUpVAE(Base):
    """The VAE with a warm-up: loss = recon + beta(t) kl, beta(t) = min(1, t / warmup_steps).

    arXiv 1511.06349 and 1602.02282.
    """

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 20, warmup_steps: int = 1000
    ):
        super().__init__(pixels, hidden, latents)
        self.warmup_steps = warmup_steps

    def terms(self, x: Tensor, eps: Tensor, step: int | None = None) -> Terms:
        """With eps (B, L); beta is 1 without a step."""
        return self.bernoulli_terms(x, eps, ramp(step, self.warmup_steps))


class CyclicalVAE(Base):
    """The cyclical schedule (arXiv 1903.10145, linear): loss = recon + beta(t) kl.

    beta(t) = min(1, (t mod cycle_steps) / (rising cycle_steps)): every cycle starts at 0 and rises
    for the fraction `rising` of its steps. The paper counts t from 1, here it is from 0.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 20,
        cycle_steps: int = 500,
        rising: float = 0.5,
    ):
        super().__init__(pixels, hidden, latents)
        self.cycle_steps, self.rising = cycle_steps, rising

    def terms(self, x: Tensor, eps: Tensor, step: int | None = None) -> Terms:
        """With eps (B, L); beta is 1 without a step."""
        place = None if step is None else step % self.cycle_steps
        return self.bernoulli_terms(x, eps, ramp(place, self.rising * self.cycle_steps))


class CapacityVAE(Base):
    """The beta-VAE with a capacity (arXiv 1804.03599 eq. 8): loss_i = recon_i + gamma |KL - C(t)|.

    KL is the batch mean of kl, the same for every example, or kl_i if `per_example`; the latter is
    no less, and another loss. C(t) = capacity min(1, t / capacity_steps). Further: the scalar
    "capacity", C(t), and "from_capacity", the distance from it.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 20,
        gamma: float = 30.0,
        capacity: float = 10.0,
        capacity_steps: int = 1000,
        per_example: bool = False,
    ):
        super().__init__(pixels, hidden, latents)
        self.gamma, self.capacity, self.capacity_steps = gamma, capacity, capacity_steps
        self.per_example = per_example

    def terms(self, x: Tensor, eps: Tensor, step: int | None = None) -> Terms:
        """With eps (B, L); C is `capacity` without a step."""
        terms = self.bernoulli_terms(x, eps)
        kl = terms["kl"] if self.per_example else terms["kl"].mean()
        target = x.new_tensor(self.capacity * ramp(step, self.capacity_steps))
        distance = (kl - target).abs()
        loss = terms["recon"] + self.gamma * distance
        return terms | {"loss": loss, "capacity": target, "from_capacity": distance}


class FreeBitsVAE(Base):
    """Free bits (arXiv 1606.04934 app. C), one group for each latent.

    mean(loss) = mean(recon) + sum_j max(free_nats, mean_b kl_bj), kl_bj the KL of latent j, so
    that latents below free_nats get no gradient from it. As loss_i = recon_i + kl_i + s, with the
    scalar s = sum_j max(free_nats - mean_b kl_bj, 0), which is the further entry "lacking".
    """

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 20, free_nats: float = 0.5
    ):
        super().__init__(pixels, hidden, latents)
        self.free_nats = free_nats

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        z, kl = self.encode(x, eps)
        logits = self.decoder(z)
        recon = bernoulli_nll(logits, x)
        s = F.relu(self.free_nats - kl.mean(0)).sum()
        kl = kl.sum(1)
        terms = {"loss": recon + kl + s, "recon": recon, "kl": kl, "lacking": s}
        return terms | {"z": z, "logits": logits}


class SigmaVAE(Base):
    """The sigma-VAE: recon = -log N(x; m, exp(logvar) I) with m = sigmoid(decoder(z)).

    The scalar parameter `logvar` is learned and the same for all pixels (arXiv 2006.13202,
    1903.05789). loss = recon + kl. x has a density here, so recon may be negative.
    """

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20):
        super().__init__(pixels, hidden, latents)
        self.logvar = nn.Parameter(torch.zeros(()))

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        z, kl = self.encode(x, eps)
        decoded = self.decode(z)
        recon, kl = -log_normal(x, decoded, self.logvar), kl.sum(1)
        return {"loss": recon + kl, "recon": recon, "kl": kl, "z": z, "decoded": decoded}


class OptimalSigmaVAE(Base):
    """The optimal sigma-VAE (arXiv 2006.13202): the sigma-VAE at its best variance.

    That is v = mean (x - m)^2 over batch and pixels, where mean(recon) = D/2 (log(2 pi v) + 1) for
    D pixels. v is not detached; that makes no difference to mean(loss), which v minimises. Further:
    the scalar "sigma", the root of v.
    """

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        z, kl = self.encode(x, eps)
        decoded = self.decode(z)
        logvar = (x - decoded).square().mean().log()
        recon, kl = -log_normal(x, decoded, logvar), kl.sum(1)
        terms = {"loss": recon + kl, "recon": recon, "kl": kl, "sigma": torch.exp(logvar / 2)}
        return terms | {"z": z, "decoded": decoded}


class LogCoshVAE(Base):
    """The log-cosh VAE: recon = (1/a) sum_d log cosh(a (x_d - m_d)), m = sigmoid(decoder(z)).

    Chen et al. 2019, "Log hyperbolic cosine loss improves variational auto-encoder" (not on arXiv).
    recon lacks the normaliser of its density. loss = recon + beta kl.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 20,
        a: float = 10.0,
        beta: float = 0.05,
    ):
        super().__init__(pixels, hidden, latents)
        self.a, self.beta = a, beta

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        z, kl = self.encode(x, eps)
        decoded = self.decode(z)
        recon, kl = log_cosh(self.a * (x - decoded)).sum(1) / self.a, kl.sum(1)
        terms = {"loss": recon + self.beta * kl, "recon": recon, "kl": kl}
        return terms | {"z": z, "decoded": decoded}
