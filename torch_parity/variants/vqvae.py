"""The VQ-VAE with a codebook of moving averages, written from its paper's equations.

As the models of `models.py`, but images x are (B, 1, 28, 28).
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_parity.variants.parts import Terms, bernoulli_nll


class VQVAE(nn.Module):
    """The VQ-VAE with a codebook of moving averages (arXiv 1711.00937 eq. 1-3 and app. A.1).

    Each position's z_e goes to the code e nearest in squared distance, and the decoder sees
    z_e + sg(e - z_e). "commitment" (B,) is |z_e - sg(e)|^2 summed over positions and D,
    loss = recon + 0.25 commitment, and kl = 0. Further: the scalar "perplexity", exp of the entropy
    of the codes' use in the batch, "indices" (B, h, w) and "z_e" (B, h, w, D), detached.

    `terms` never changes the buffers. `update(terms)` does, once per training step, at any time
    after `terms`: before or after the backward pass and the optimiser's step make no difference.
    """

    codes: Tensor
    sums: Tensor
    counts: Tensor
    nll = staticmethod(bernoulli_nll)

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        code_dim: int = 16,
        num_codes: int = 64,
        commitment: float = 0.25,
        decay: float = 0.99,
        epsilon: float = 1e-5,
    ):
        super().__init__()
        self.commitment, self.decay, self.epsilon = commitment, decay, epsilon
        first, second = channels
        encoder = OrderedDict[str, nn.Module]()
        encoder["conv_0"] = nn.Conv2d(1, first, 3, stride=2, padding=1)
        encoder["activation_0"] = nn.ReLU()
        encoder["conv_1"] = nn.Conv2d(first, second, 3, stride=2, padding=1)
        encoder["activation_1"] = nn.ReLU()
        encoder["conv_2"] = nn.Conv2d(second, code_dim, 1)
        self.encoder = nn.Sequential(encoder)
        decoder = OrderedDict[str, nn.Module]()
        decoder["conv_0"] = nn.ConvTranspose2d(
            code_dim, first, 3, stride=2, padding=1, output_padding=1
        )
        decoder["activation_0"] = nn.ReLU()
        decoder["conv_1"] = nn.ConvTranspose2d(first, 1, 3, stride=2, padding=1, output_padding=1)
        self.decoder = nn.Sequential(decoder)
        # As if every code had one vector, itself: codes = sums / counts holds from the start.
        self.register_buffer("codes", torch.randn(num_codes, code_dim))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("counts", torch.ones(num_codes))

    def nearest(self, z_e: Tensor) -> Tensor:
        """The index of the nearest code (B, h, w) of z_e (B, h, w, D)."""
        # Differences, not |z|^2 - 2 z.e + |e|^2, whose rounding may choose another code.
        distances = (z_e.detach()[..., None, :] - self.codes).square().sum(-1)
        return distances.argmin(-1)

    def terms(self, x: Tensor) -> Terms:
        """With x (B, 1, 28, 28), or any height and width that 4 divides."""
        z_e = self.encoder(x).movedim(1, -1)
        indices = self.nearest(z_e)
        e = self.codes[indices]
        z_q = z_e + (e - z_e).detach()
        logits = self.decoder(z_q.movedim(-1, 1)).flatten(1)
        recon = self.nll(logits, x.flatten(1))
        commitment = (z_e - e).square().flatten(1).sum(1)
        usage = F.one_hot(indices.flatten(), len(self.codes)).to(x.dtype).mean(0)
        return {
            "loss": recon + self.commitment * commitment,
            "recon": recon,
            "kl": torch.zeros_like(recon),
            "commitment": commitment,
            "perplexity": torch.exp(-torch.xlogy(usage, usage).sum()),
            "indices": indices,
            "z_e": z_e.detach(),
            "z": z_q,
            "logits": logits,
        }

    @torch.no_grad()
    def update(self, terms: Terms) -> None:
        """The moving averages of app. A.1, g = decay, with n_k vectors of sum s_k for code k.

        counts = g counts + (1 - g) n_k, sums = g sums + (1 - g) s_k, codes = sums / smoothed, with
        smoothed = (counts + epsilon) / (N + K epsilon) N, N = sum_k counts, as Sonnet has it.
        `counts` itself stays as it is, or the smoothing would add up over the steps.
        """
        z_e = terms["z_e"].flatten(0, -2)
        assigned = F.one_hot(terms["indices"].flatten(), len(self.codes)).to(z_e.dtype)
        self.counts.copy_(self.decay * self.counts + (1 - self.decay) * assigned.sum(0))
        self.sums.copy_(self.decay * self.sums + (1 - self.decay) * assigned.T @ z_e)
        n = self.counts.sum()
        smoothed = (self.counts + self.epsilon) / (n + len(self.counts) * self.epsilon) * n
        self.codes.copy_(self.sums / smoothed[:, None])


class Block(nn.Module):
    """x + W2 relu(W1 x), a 3x3 and a 1x1 convolution without biases (arXiv 1711.00937 sec. 4.1)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.inner = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.outer = nn.Conv2d(width, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes stay."""
        added: Tensor = self.outer(F.relu(self.inner(x)))
        return x + added


class SquaredErrorVQVAE(VQVAE):
    """The same with kernels of 4, a block on each side behind a 3x3 convolution, each with a ReLU
    after it, and recon = |x - decoded|^2 / 2. "minimised" is twice the mean loss."""

    def __init__(
        self,
        channels: Sequence[int] = (128, 128),
        code_dim: int = 128,
        num_codes: int = 768,
        width: int = 128,
        image_channels: int = 1,
    ):
        super().__init__(channels, code_dim, num_codes, commitment=0.046875, decay=0.999)
        first, second = channels
        encoder = OrderedDict[str, nn.Module]()
        encoder["conv_0"] = nn.Conv2d(image_channels, first, 4, stride=2, padding=1)
        encoder["activation_0"] = nn.ReLU()
        encoder["conv_1"] = nn.Conv2d(first, second, 4, stride=2, padding=1)
        encoder["activation_1"] = nn.ReLU()
        encoder |= self.stack(second, second, width)
        encoder["conv_2"] = nn.Conv2d(second, code_dim, 1)
        self.encoder = nn.Sequential(encoder)
        decoder = self.stack(code_dim, second, width)
        decoder["conv_0"] = nn.ConvTranspose2d(second, first, 4, stride=2, padding=1)
        decoder["activation_0"] = nn.ReLU()
        decoder["conv_1"] = nn.ConvTranspose2d(first, image_channels, 4, stride=2, padding=1)
        self.decoder = nn.Sequential(decoder)

    @staticmethod
    def stack(before: int, channels: int, width: int) -> OrderedDict[str, nn.Module]:
        """A 3x3 convolution and a block."""
        layers = OrderedDict[str, nn.Module]()
        layers["stack"] = nn.Conv2d(before, channels, 3, padding=1)
        layers["after_stack"] = nn.ReLU()
        layers["block"] = Block(channels, width)
        layers["after_block"] = nn.ReLU()
        return layers

    @staticmethod
    def nll(decoded: Tensor, x: Tensor) -> Tensor:
        """Half the squared error, (B,)."""
        return 0.5 * (x - decoded).square().sum(1)

    def terms(self, x: Tensor) -> Terms:
        """As the VQ-VAE's."""
        terms = super().terms(x)
        return terms | {"minimised": 2 * terms["loss"].mean()}
