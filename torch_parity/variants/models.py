"""Variants of the VAE in plain `torch.nn`, each written from its paper's equations.

Images x are (B, 784) in [0, 1] and p(x|z) is a Bernoulli on logits, also where x is grey. Every
model has `terms(x, ...) -> dict`, whose "loss" is what is minimised, "recon" a -log p(x|z) and "kl"
the rest of the bound: all (B,), in nats; "logits" and "z" are what they were computed from. Each
docstring names the further entries. `total(terms)` is the scalar to differentiate. `terms` draws
nothing: standard normal eps and permutations are arguments, and only initial weights come from
PyTorch's generator. The VQ-VAE is in `vqvae.py`.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from torch_parity.variants.parts import (
    Bernoulli,
    Gaussian,
    Terms,
    bernoulli_nll,
    importance_bound,
    kl_standard_normal,
    log_normal,
    log_standard_normal,
    sample,
)


class IWAE(nn.Module):
    """The importance weighted autoencoder (arXiv 1509.00519 sec. 3).

    log w_k = log p(x|z_k) + log N(z_k; 0, I) - log q(z_k|x); the loss is -log mean_k w_k, recon
    mean_k -log p(x|z_k) and kl mean_k (log q(z_k|x) - log p(z_k)). So recon + kl, the one-sample
    loss averaged over k, is no less than the loss. Further: "log_w" and "log_ratio", log q - log p,
    (K, B).
    """

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20):
        super().__init__()
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        logits = self.decoder(z)
        recon = bernoulli_nll(logits, x)
        log_ratio = log_normal(z, mean, logvar) - log_standard_normal(z)
        log_w = -recon - log_ratio
        return {
            "loss": -importance_bound(log_w),
            "recon": recon.mean(0),
            "kl": log_ratio.mean(0),
            "log_w": log_w,
            "log_ratio": log_ratio,
            "z": z,
            "logits": logits,
        }


class FactorVAE(nn.Module):
    """FactorVAE (arXiv 1802.05983 eq. 2 and algorithm 2, here with one batch for both networks).

    loss = recon + KL(q(z|x) || N(0, I)) + gamma tc, with the scalar tc = mean_b(D0(z_b) - D1(z_b))
    added to every example; D0 and D1 are the critic's logits of q(z) and of prod_j q(z_j).
    The scalar "critic" is 1/2 CE(D(z), 0) + 1/2 CE(D(permuted z), 1), batch means. Further: "tc".

    `total(terms).backward()` gives the autoencoder the gradient of mean(loss) alone and the critic
    that of "critic" alone, because tc sees the critic's parameters detached and "critic" the codes
    detached. So an optimiser over `autoencoder_parameters()` and another over `critic_parameters()`
    may both step after this one backward pass.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 10,
        critic_widths: Sequence[int] = (256, 256, 256),
        gamma: float = 10.0,
    ):
        super().__init__()
        self.gamma = gamma
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        before = latents
        for i, width in enumerate(critic_widths):
            layers[f"dense_{i}"] = nn.Linear(before, width)
            layers[f"activation_{i}"] = nn.LeakyReLU(0.2)
            before = width
        layers[f"dense_{len(critic_widths)}"] = nn.Linear(before, 2)
        self.critic = nn.Sequential(layers)

    def autoencoder_parameters(self) -> list[nn.Parameter]:
        """The encoder's, then the decoder's."""
        return [*self.encoder.parameters(), *self.decoder.parameters()]

    def critic_parameters(self) -> list[nn.Parameter]:
        """All that `autoencoder_parameters` leaves."""
        return list(self.critic.parameters())

    def terms(self, x: Tensor, eps: Tensor, permutation: Tensor) -> Terms:
        """With eps (B, L) and permutation int64 (B, L), each column a permutation of the batch.

        Column j of the permuted codes is z[permutation[:, j], j].
        """
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        decoded = self.decoder(z)
        recon, kl = bernoulli_nll(decoded, x), kl_standard_normal(mean, logvar)
        held = {name: p.detach() for name, p in self.critic.named_parameters()}
        logits = functional_call(self.critic, held, (z,))
        tc = (logits[:, 0] - logits[:, 1]).mean()
        codes = z.detach()
        joint = F.log_softmax(self.critic(codes), 1)[:, 0]
        permuted = F.log_softmax(self.critic(codes.gather(0, permutation)), 1)[:, 1]
        return {
            "loss": recon + kl + self.gamma * tc,
            "recon": recon,
            "kl": kl,
            "tc": tc,
            "critic": -0.5 * joint.mean() - 0.5 * permuted.mean(),
            "z": z,
            "logits": decoded,
        }


class ConditionalVAE(nn.Module):
    """The conditional VAE with the prior N(0, I), whatever y.

    Sohn et al., NeurIPS 2015 (not on arXiv), whose condition is here the label y:
    loss = -log p(x|z, y) + KL(q(z|x, y) || N(0, I)). y is a one-hot after x and after z.
    """

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 20, num_classes: int = 10
    ):
        super().__init__()
        self.num_classes = num_classes
        self.encoder = Gaussian(pixels + num_classes, hidden, latents)
        self.decoder = Bernoulli(latents + num_classes, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor, label: Tensor) -> Terms:
        """With eps (B, L) and label int64 (B,), from 0 on."""
        y = F.one_hot(label, self.num_classes).to(x.dtype)
        mean, logvar = self.encoder(torch.cat([x, y], 1))
        z = sample(mean, logvar, eps)
        logits = self.decoder(torch.cat([z, y], 1))
        recon, kl = bernoulli_nll(logits, x), kl_standard_normal(mean, logvar)
        return {"loss": recon + kl, "recon": recon, "kl": kl, "z": z, "logits": logits}


class TwoLayerVAE(nn.Module):
    """Two stochastic layers, p(z2) p(z1|z2) p(x|z1) and q(z1|x) q(z2|z1) (arXiv 1509.00519 sec. 5).

    kl_1 = log q(z1|x) - log p(z1|z2) at the samples, kl_2 = KL(q(z2|z1) || N(0, I)) given the
    sampled z1; kl = kl_1 + kl_2 and loss = -log p(x|z1) + kl. kl_1 alone may be negative.
    Further: "kl_1", "kl_2"; "z1" and "z2" in the place of "z".
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: Sequence[int] = (256, 64),
        latents: Sequence[int] = (20, 10),
    ):
        super().__init__()
        self.encoder_1 = Gaussian(pixels, hidden[0], latents[0])
        self.encoder_2 = Gaussian(latents[0], hidden[1], latents[1])
        self.prior_1 = Gaussian(latents[1], hidden[1], latents[0])
        self.decoder = Bernoulli(latents[0], hidden[0], pixels)

    def terms(self, x: Tensor, eps1: Tensor, eps2: Tensor) -> Terms:
        """With eps1 (B, L1) for z1 and eps2 (B, L2) for z2."""
        mean1, logvar1 = self.encoder_1(x)
        z1 = sample(mean1, logvar1, eps1)
        mean2, logvar2 = self.encoder_2(z1)
        z2 = sample(mean2, logvar2, eps2)
        logits = self.decoder(z1)
        recon = bernoulli_nll(logits, x)
        kl_1 = log_normal(z1, mean1, logvar1) - log_normal(z1, *self.prior_1(z2))
        kl_2 = kl_standard_normal(mean2, logvar2)
        kl = kl_1 + kl_2
        terms = {"loss": recon + kl, "recon": recon, "kl": kl, "kl_1": kl_1, "kl_2": kl_2}
        return terms | {"z1": z1, "z2": z2, "logits": logits}


class VampPriorVAE(nn.Module):
    """The VAE with a VampPrior (arXiv 1705.07120): p(z) = (1/K) sum_k q(z|u_k).

    The pseudo-inputs u_k are learned, in [0, 1] by hardtanh, and go through the encoder of x.
    kl = log q(z|x) - log p(z) at the sample, loss = recon + kl. Further: "log_q", "log_p".
    """

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 20, num_pseudo_inputs: int = 50
    ):
        super().__init__()
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)
        # Strictly inside (0, 1), where hardtanh lets the gradient through.
        self.pseudo_inputs = nn.Parameter(0.25 + 0.5 * torch.rand(num_pseudo_inputs, pixels))

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z) = logsumexp_k log N(z; mean(u_k), exp(logvar(u_k))) - log K."""
        mean, logvar = self.encoder(F.hardtanh(self.pseudo_inputs, 0.0, 1.0))
        components = log_normal(z, mean[:, None], logvar[:, None])  # (K, B)
        return importance_bound(components)

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps)
        logits = self.decoder(z)
        recon = bernoulli_nll(logits, x)
        log_q, log_p = log_normal(z, mean, logvar), self.log_prior(z)
        kl = log_q - log_p
        terms = {"loss": recon + kl, "recon": recon, "kl": kl, "log_q": log_q, "log_p": log_p}
        return terms | {"z": z, "logits": logits}


def planar(z: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) = z + u tanh(w.z + b) and log|det df/dz| = log|1 + u.psi|, psi = (1 - tanh^2) w.

    arXiv 1505.05770 sec. 4.1. z is (B, L), u and w (L,), b a scalar; invertible where w.u >= -1.
    """
    tanh = torch.tanh(z @ w + b)
    f = z + tanh[:, None] * u
    return f, torch.log(torch.abs(1 + (1 - tanh.square()) * (u @ w)))


def invertible_u(u: Tensor, w: Tensor) -> Tensor:
    """u_hat = u + (m(w.u) - w.u) w / |w|^2, m(a) = -1 + log(1 + e^a) (arXiv 1505.05770 app. A.1).

    Then w.u_hat = m(w.u) > -1.
    """
    a = w @ u
    # F.softplus is the identity above 20, which float64 can tell from log(1 + e^a).
    m = torch.logaddexp(a, torch.zeros_like(a)) - 1
    return u + (m - a) * w / (w @ w)


class PlanarFlow(nn.Module):
    """T planar layers, the same for every x; their w must not be zero."""

    def __init__(self, num_layers: int, latents: int):
        super().__init__()
        bound = 1 / math.sqrt(latents)
        self.u = nn.Parameter(torch.empty(num_layers, latents).uniform_(-bound, bound))
        self.w = nn.Parameter(torch.empty(num_layers, latents).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(num_layers))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's z (B, L) and the sum of all log|det| (B,)."""
        log_det = torch.zeros_like(z[:, 0])
        for u, w, b in zip(self.u, self.w, self.b, strict=True):
            z, layer_log_det = planar(z, invertible_u(u, w), w, b)
            log_det = log_det + layer_log_det
        return z, log_det


class PlanarVAE(nn.Module):
    """A VAE whose posterior is a Gaussian through planar layers (arXiv 1505.05770 sec. 4.2).

    kl = log q0(z0|x) - sum_t log|det_t| - log N(zT; 0, I) at the sample, loss = -log p(x|zT) + kl.
    Further: "log_det".
    """

    def __init__(
        self, pixels: int = 784, hidden: int = 256, latents: int = 20, num_layers: int = 4
    ):
        super().__init__()
        self.encoder = Gaussian(pixels, hidden, latents)
        self.flow = PlanarFlow(num_layers, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (B, L)."""
        mean, logvar = self.encoder(x)
        z0 = sample(mean, logvar, eps)
        z, log_det = self.flow(z0)
        logits = self.decoder(z)
        recon = bernoulli_nll(logits, x)
        kl = log_normal(z0, mean, logvar) - log_det - log_standard_normal(z)
        terms = {"loss": recon + kl, "recon": recon, "kl": kl, "log_det": log_det}
        return terms | {"z": z, "logits": logits}
