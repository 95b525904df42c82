"""Variants that press on q(z), the mean of q(z|x) over the data, from their papers' equations.

As in `models.py`, where `FactorVAE` is. What presses on q(z) takes the whole batch: it is a scalar,
whose weighted value is added to every example's "loss", so the mean loss is the paper's objective.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from torch_parity.variants.parts import (
    Bernoulli,
    Gaussian,
    Terms,
    bernoulli_nll,
    kl_standard_normal,
    log_normal,
    log_standard_normal,
    sample,
)


def mixture_weights(estimator: str, batch: int, number: int) -> Tensor:
    """w (B, B) of q(z_i) ~ sum_b w_ib q(z_i|x_b), z_i from q(z|x_i) (arXiv 1802.04942 app. C).

    With N = number: "mws", minibatch-weighted sampling, 1 / (B N); "plain", 1/B. "mss",
    minibatch-stratified sampling, M = B - 1: 1/N for the own example, (N - M) / (N M) for the next
    one (after the last comes the first), 1/M for the rest; each row's sum is 1. 2 <= B <= N.
    """
    m = batch - 1
    divisor = {"mws": batch * number, "plain": batch, "mss": m}[estimator]
    weights = torch.ones(batch, batch, dtype=torch.float64) / divisor
    if estimator == "mss":
        own = torch.arange(batch)
        weights[own, own] = 1 / number
        weights[own, (own + 1) % batch] = (number - m) / (number * m)
    return weights


class BetaTCVAE(nn.Module):
    """The beta-TCVAE (arXiv 1802.04942 eq. 2, 4 and app. C).

    With batch means at the samples z, and q(z) and its marginals q(z_j) by `mixture_weights`:
    MI = log q(z|x) - log q(z), TC = log q(z) - sum_j log q(z_j) and
    dwKL = sum_j log q(z_j) - log p(z). N is `number`, of the training images. The loss is
    recon + kl + (mi_weight - 1) MI + (tc_weight - 1) TC + (dw_weight - 1) dwKL, where kl is
    KL(q(z|x) || N(0, I)) itself. Further: the scalars "mi", "tc", "dw_kl"; each may be negative.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        mi_weight: float = 1.0,
        tc_weight: float = 6.0,
        dw_weight: float = 1.0,
        estimator: Literal["mws", "mss", "plain"] = "mws",
        number: int = 1437,
    ):
        super().__init__()
        self.mi_weight, self.tc_weight, self.dw_weight = mi_weight, tc_weight, dw_weight
        self.estimator, self.number = estimator, number
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        logits = self.decoder(z)
        recon, kl = bernoulli_nll(logits, x), kl_standard_normal(mean, logvar)
        log_w = mixture_weights(self.estimator, len(x), self.number).log().to(z)
        each = log_normal(z[:, None, :, None], mean[..., None], logvar[..., None])  # of z_ij, x_b
        log_q = torch.logsumexp(log_w + each.sum(-1), 1)
        log_marginals = torch.logsumexp(log_w[..., None] + each, 1).sum(-1)
        mi = (log_normal(z, mean, logvar) - log_q).mean()
        tc = (log_q - log_marginals).mean()
        dw_kl = (log_marginals - log_standard_normal(z)).mean()
        loss = recon + kl + (self.mi_weight - 1) * mi
        loss = loss + (self.tc_weight - 1) * tc + (self.dw_weight - 1) * dw_kl
        terms = {"loss": loss, "recon": recon, "kl": kl, "mi": mi, "tc": tc, "dw_kl": dw_kl}
        return terms | {"z": z, "logits": logits}


class DIPVAE(nn.Module):
    """DIP-VAE I and II (arXiv 1711.00848 eq. 6, 7).

    loss = recon + KL + off_diagonal sum_{i != j} C_ij^2 + diagonal sum_i (C_ii - 1)^2. For kind "I"
    C is the covariance of the posterior means over the batch, divided by B; for "II" that plus
    the diagonal matrix of the posterior variances' batch means. Further: the scalars "off_diagonal"
    and "diagonal", the two sums without their weights.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        kind: Literal["I", "II"] = "I",
        off_diagonal: float = 10.0,
        diagonal: float = 100.0,
    ):
        super().__init__()
        self.kind, self.off_diagonal, self.diagonal = kind, off_diagonal, diagonal
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        logits = self.decoder(z)
        recon, kl = bernoulli_nll(logits, x), kl_standard_normal(mean, logvar)
        centred = mean - mean.mean(0)
        covariance = centred.T @ centred / len(x)
        if self.kind == "II":
            covariance = covariance + torch.diag(torch.exp(logvar).mean(0))
        variances = torch.diagonal(covariance)
        off = (covariance - torch.diag(variances)).square().sum()
        on = (variances - 1).square().sum()
        loss = recon + kl + self.off_diagonal * off + self.diagonal * on
        terms = {"loss": loss, "recon": recon, "kl": kl, "off_diagonal": off, "diagonal": on}
        return terms | {"z": z, "logits": logits}


def mmd_rbf(z: Tensor, y: Tensor, h2: float) -> Tensor:
    """mean k(z, z') + mean k(y, y') - 2 mean k(z, y), k = exp(-|d|^2 / (2 h2)), over all pairs.

    The pairs of a draw with itself are in, so this is the MMD^2 of two empirical laws: never < 0.
    """
    squared = [(a[:, None] - b).square().sum(-1) for a, b in ((z, z), (y, y), (z, y))]
    zz, yy, zy = (torch.exp(-d2 / (2 * h2)).mean() for d2 in squared)
    return zz + yy - 2 * zy


def mmd_imq(z: Tensor, y: Tensor) -> Tensor:
    """MMD^2 of z and y, both (B, L), by k = sum_s C / (C + |d|^2), C = 2 L s, for seven s.

    arXiv 1711.01558 algorithm 2: sum_{i != j} (k(z_i, z_j) + k(y_i, y_j)) / (B (B - 1)) less
    2 sum_{i, j} k(z_i, y_j) / B^2, over all pairs. Unbiased, so it may be negative. B > 1.
    """
    batch, latents = z.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        d2 = (a[:, None] - b).square().sum(-1)
        c = 2 * latents * z.new_tensor([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
        return (c / (c + d2[..., None])).sum(-1)

    within = kernel(z, z) + kernel(y, y)
    within = (within.sum() - within.trace()) / (batch * (batch - 1))
    return within - 2 * kernel(z, y).mean()


def sliced_distance(z: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The mean over P directions of the squared W2 distance of the projected z and y, both (B, L).

    In one dimension it is the mean squared difference of the sorted values (arXiv 1804.01947).
    Directions (P, L) are scaled to length 1 here: from N(0, I) they are then uniform.
    """
    unit = directions / torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    z_sorted, y_sorted = (torch.sort(unit @ t.T, dim=1).values for t in (z, y))
    return (z_sorted - y_sorted).square().mean()


class InfoVAE(nn.Module):
    """The InfoVAE with MMD (arXiv 1706.02262).

    loss = recon + (1 - alpha) KL + (alpha + lambd - 1) mmd, with `mmd_rbf` of z and draws of the
    prior, h2 = L. alpha = 0 and lambd = 1 make the plain VAE. Further: the scalar "mmd".
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        alpha: float = 0.5,
        lambd: float = 100.0,
    ):
        super().__init__()
        self.alpha, self.lambd = alpha, lambd
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor, prior: Tensor) -> Terms:
        """With eps (B, L) and prior (B, L), draws of N(0, I)."""
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        logits = self.decoder(z)
        recon, kl = bernoulli_nll(logits, x), kl_standard_normal(mean, logvar)
        mmd = mmd_rbf(z, prior, z.shape[1])
        loss = recon + (1 - self.alpha) * kl + (self.alpha + self.lambd - 1) * mmd
        return {"loss": loss, "recon": recon, "kl": kl, "mmd": mmd, "z": z, "logits": logits}


def dense(names: Sequence[str], widths: Sequence[int], activation: nn.Module) -> nn.Sequential:
    """Linear layers of these names, widths[i] to widths[i + 1], and the activation between them."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, name in enumerate(names):
        if i > 0:
            layers[f"activation_{i - 1}"] = activation
        layers[name] = nn.Linear(widths[i], widths[i + 1])
    return nn.Sequential(layers)


class Deterministic(nn.Module):
    """The networks of WAEMMD, SWAE and AAE: z = encoder(x), inputs - hidden (ReLU) - code."""

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 10, lambd: float = 10.0
    ):
        super().__init__()
        self.lambd = lambd
        self.encoder = dense(("hidden", "code"), (pixels, hidden, latents), nn.ReLU())
        self.decoder = Bernoulli(latents, hidden, pixels)

    def squared_error_terms(self, x: Tensor, z: Tensor, distance: Tensor) -> Terms:
        """The terms of WAEMMD and SWAE but for the distance's own entry."""
        decoded = torch.sigmoid(self.decoder(z))
        recon = 0.5 * (x - decoded).square().sum(-1)
        loss = recon + 0.5 * self.lambd * distance
        terms = {"loss": loss, "minimised": 2 * loss.mean(), "recon": recon}
        return terms | {"kl": torch.zeros_like(recon), "z": z, "decoded": decoded}


class WAEMMD(Deterministic):
    """The Wasserstein autoencoder with MMD (arXiv 1711.01558 algorithm 2), z without noise.

    recon = |x - decoded|^2 / 2, kl = 0 and loss = recon + (lambd / 2) mmd, with `mmd_imq` of z and
    draws of the prior. The scalar "minimised", twice the mean loss, is differentiated: the mean of
    |x - decoded|^2 plus lambd mmd. Further: the scalar "mmd"; "decoded" in the place of "logits".
    """

    def terms(self, x: Tensor, prior: Tensor) -> Terms:
        """With prior (B, L), draws of N(0, I)."""
        z = self.encoder(x)
        mmd = mmd_imq(z, prior)
        return self.squared_error_terms(x, z, mmd) | {"mmd": mmd}


class SWAE(Deterministic):
    """The sliced Wasserstein autoencoder (arXiv 1804.01947).

    As WAEMMD, with the scalar "sliced", `sliced_distance` of z and draws of the prior, for "mmd".
    """

    def terms(self, x: Tensor, prior: Tensor, directions: Tensor) -> Terms:
        """With prior (B, L) and directions (P, L), both draws of N(0, I)."""
        z = self.encoder(x)
        sliced = sliced_distance(z, prior, directions)
        return self.squared_error_terms(x, z, sliced) | {"sliced": sliced}


class AAE(Deterministic):
    """The adversarial autoencoder (arXiv 1511.05644; 1711.01558 algorithm 1), z without noise.

    kl = 0 and loss = recon + lambd adversarial. The scalar "adversarial" is -mean_b log s(D(z_b)),
    where s is the sigmoid and the critic's logit D that of "drawn from the prior". The scalar
    "critic" is -mean log s(D(prior)) - mean log(1 - s(D(z))). Gradients and optimisers as
    FactorVAE's: "adversarial" sees the critic's parameters detached, "critic" the codes.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        critic_widths: Sequence[int] = (256, 256),
        lambd: float = 10.0,
    ):
        super().__init__(pixels, hidden, latents, lambd)
        names = [f"dense_{i}" for i in range(len(critic_widths) + 1)]
        self.critic = dense(names, (latents, *critic_widths, 1), nn.LeakyReLU(0.2))

    def autoencoder_parameters(self) -> list[nn.Parameter]:
        """The encoder's, then the decoder's."""
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """All that `autoencoder_parameters` leaves."""
        return list(self.critic.parameters())

    def terms(self, x: Tensor, prior: Tensor) -> Terms:
        """With prior (B, L), draws of N(0, I)."""
        z = self.encoder(x)
        logits = self.decoder(z)
        recon = bernoulli_nll(logits, x)
        held = {name: p.detach() for name, p in self.critic.named_parameters()}
        adversarial = -F.logsigmoid(functional_call(self.critic, held, (z,))).mean()
        real, fake = self.critic(prior), self.critic(z.detach())
        critic = -F.logsigmoid(real).mean() - F.logsigmoid(-fake).mean()
        terms = {"loss": recon + self.lambd * adversarial, "recon": recon, "z": z, "logits": logits}
        kl = torch.zeros_like(recon)
        return terms | {"kl": kl, "adversarial": adversarial, "critic": critic}
