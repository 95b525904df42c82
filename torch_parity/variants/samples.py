"""Variants of the VAE with several samples of z for each image, in plain `torch.nn`.

As the models of `models.py`, of which `IWAE` is the simplest of this kind. At S samples
log w = log p(x|z) + log N(z; 0, I) - log q(z|x), with no analytic KL; recon and kl (B,) are the
means over the samples of -log p(x|z) and of log q(z|x) - log p(z), so that -log w is recon + kl on
average. All have the entries "log_w" and "log_ratio", log q - log p, (S, B), "z" (S, B, L) and
"logits" (S, B, pixels). Where eps is (M, K, B, L), S is M K in the order of eps: (m, k) is at
m K + k.

Where there is an entry "minimised", that scalar is differentiated, and not the mean of "loss".
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from torch_parity.variants.parts import (
    Bernoulli,
    Gaussian,
    Terms,
    bernoulli_nll,
    importance_bound,
    log_normal,
    log_standard_normal,
    sample,
)


class Sampled(nn.Module):
    """The two networks of a VAE, and what its samples say; without a loss."""

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20):
        super().__init__()
        self.encoder = Gaussian(pixels, hidden, latents)
        self.decoder = Bernoulli(latents, hidden, pixels)

    def samples(
        self,
        x: Tensor,
        eps: Tensor,
        *,
        decoder: Callable[[Tensor], Tensor] | None = None,
        hold_q: bool = False,
    ) -> Terms:
        """Every entry but the loss, at eps (K, B, L) or (M, K, B, L).

        With hold_q no gradient goes through the mean and logvar inside log q(z|x), while z moves.
        """
        mean, logvar = self.encoder(x)
        z = sample(mean, logvar, eps.flatten(0, -3))
        logits = (decoder or self.decoder)(z)
        nll = bernoulli_nll(logits, x)
        if hold_q:
            mean, logvar = mean.detach(), logvar.detach()
        log_ratio = log_normal(z, mean, logvar) - log_standard_normal(z)
        return {
            "recon": nll.mean(0),
            "kl": log_ratio.mean(0),
            "log_w": -nll - log_ratio,
            "log_ratio": log_ratio,
            "z": z,
            "logits": logits,
        }

    def held_decoder(self, z: Tensor) -> Tensor:
        """The decoder's logits, whose gradient goes to z but not to the decoder."""
        held = {name: p.detach() for name, p in self.decoder.named_parameters()}
        return functional_call(self.decoder, held, (z,))

    def decoder_log_w(self, x: Tensor, terms: Terms) -> Tensor:
        """log w (S, B) again, whose gradient goes to the decoder but not to z."""
        logits = self.decoder(terms["z"].detach())
        return -bernoulli_nll(logits, x) - terms["log_ratio"].detach()


def miwae_loss(log_w: Tensor, m: int, k: int) -> Tensor:
    """-mean_m log mean_k w_mk (B,), for log w (M K, B): each mean over K has its own logarithm."""
    bounds = importance_bound(log_w.unflatten(0, (m, k)).transpose(0, 1))  # (M, B)
    return -bounds.mean(0)


class KSampleVAE(Sampled):
    """The VAE with K samples (arXiv 1509.00519 eq. 7, and the control in its table of results).

    loss = -mean_k log w_k = recon + kl, less noisy than that of one sample, but no tighter a bound.
    """

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        terms = self.samples(x, eps)
        return {"loss": -terms["log_w"].mean(0), **terms}


class MIWAE(Sampled):
    """The multiply importance weighted autoencoder (arXiv 1802.04537).

    loss = -mean_m log mean_k w_mk: the mean of M losses of the IWAE of K samples.
    """

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (M, K, B, L)."""
        terms = self.samples(x, eps)
        return {"loss": miwae_loss(terms["log_w"], *eps.shape[:2]), **terms}


class PIWAE(Sampled):
    """The partially importance weighted autoencoder (arXiv 1802.04537).

    The decoder follows the IWAE of all M K samples, loss = -log mean_mk w_mk, and the encoder the
    MIWAE: "encoder_loss" (B,) is -mean_m log mean_k w_mk. The scalar "minimised" is mean(loss) +
    mean(encoder_loss). The loss sees the encoder held and "encoder_loss" the decoder held, so one
    backward pass gives each network the gradient of its own.
    """

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (M, K, B, L)."""
        terms = self.samples(x, eps, decoder=self.held_decoder)
        loss = -importance_bound(self.decoder_log_w(x, terms))
        encoder_loss = miwae_loss(terms["log_w"], *eps.shape[:2])
        minimised = loss.mean() + encoder_loss.mean()
        return {"loss": loss, "encoder_loss": encoder_loss, "minimised": minimised, **terms}


class CIWAE(Sampled):
    """The combination of the VAE and the IWAE (arXiv 1802.04537).

    loss = b (-mean_k log w_k) + (1 - b) (-log mean_k w_k), b = `elbo_weight`.
    """

    def __init__(
        self,
        pixels: int = 784,
        hidden: int = 256,
        latents: int = 20,
        elbo_weight: float = 0.05,
    ):
        super().__init__(pixels, hidden, latents)
        self.elbo_weight = elbo_weight

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        terms = self.samples(x, eps)
        log_w, b = terms["log_w"], self.elbo_weight
        return {"loss": -b * log_w.mean(0) - (1 - b) * importance_bound(log_w), **terms}


class DReG(Sampled):
    """The IWAE with the doubly reparameterised gradient (arXiv 1810.04152).

    loss = -log mean_k w_k. Its gradient for the encoder's parameters phi is, on average,
    -sum_k n_k^2 (d log w_k / d z_k) (d z_k / d phi), n_k = w_k / sum_j w_j, where d/d z_k does not
    see that the mean and logvar inside log q(z|x) depend on phi. The scalar "minimised" is
    mean(loss); its gradient for the encoder is the mean over the batch of this one, and its
    gradient for the decoder that of the IWAE. "loss" sees the encoder held.

    With a beta, log w = log p(x|z) + beta (log p(z) - log q(z|x)). Through log q at a fixed z the
    bound's gradient is then -beta sum_k n_k d log q(z_k) / d phi, which on average is that of z_k
    at the weights beta d n_k / d log w_k = beta (n_k - n_k^2); so n_k - beta (n_k - n_k^2) is left
    in the place of n_k^2.
    """

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20, beta: float = 1.0):
        super().__init__(pixels, hidden, latents)
        self.beta = beta

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        terms = self.samples(x, eps, decoder=self.held_decoder, hold_q=True)
        less = (1 - self.beta) * terms["log_ratio"]
        loss = -importance_bound(self.decoder_log_w(x, terms) + less.detach())
        terms["log_w"] = terms["log_w"] + less
        n = torch.softmax(terms["log_w"].detach(), 0)
        encoder = -((n - self.beta * (n - n.square())) * terms["log_w"]).sum(0).mean()
        return {"loss": loss, "minimised": loss.mean() + (encoder - encoder.detach()), **terms}


class STL(Sampled):
    """The IWAE that sticks the landing (arXiv 1703.09194): loss = -log mean_k w_k.

    The encoder's gradient does not see that the mean and logvar inside log q(z|x) depend on its
    parameters phi: -sum_k n_k (d log w_k / d z_k) (d z_k / d phi), n_k = w_k / sum_j w_j. For K > 1
    its average is not the IWAE's gradient (arXiv 1810.04152), for K = 1 it is.
    """

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        terms = self.samples(x, eps, hold_q=True)
        return {"loss": -importance_bound(terms["log_w"]), **terms}


class Renyi(Sampled):
    """The variational Renyi bound of K samples (arXiv 1602.02311).

    loss = -1 / (1 - alpha) log mean_k w_k^(1 - alpha): the IWAE's at alpha 0, and at alpha 1 the
    limit, -mean_k log w_k.
    """

    def __init__(self, pixels: int = 784, hidden: int = 256, latents: int = 20, alpha: float = 0.5):
        super().__init__(pixels, hidden, latents)
        self.alpha = alpha

    def terms(self, x: Tensor, eps: Tensor) -> Terms:
        """With eps (K, B, L)."""
        terms = self.samples(x, eps)
        power = 1 - self.alpha
        log_w = terms["log_w"]
        bound = importance_bound(power * log_w) / power if power else log_w.mean(0)
        return {"loss": -bound, **terms}
