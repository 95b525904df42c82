"""Public models with a codebook or with labels, as those of `torch_parity.published`."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _mlp(*sizes: int) -> nn.Sequential:
    chain = nn.Sequential()
    for i, (before, after) in enumerate(itertools.pairwise(sizes)):
        chain.add_module(f"L{i}", nn.Linear(before, after))
        chain.add_module(f"A{i}", nn.ReLU())
    return chain


class _TimbmgEncoder(nn.Module):
    def __init__(self, inputs: int, width: int, latent_dim: int):
        super().__init__()
        self.MLP = _mlp(inputs, width)
        self.linear_means = nn.Linear(width, latent_dim)
        self.linear_log_var = nn.Linear(width, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.MLP(x)
        return self.linear_means(h), self.linear_log_var(h)


class _TimbmgDecoder(nn.Module):
    def __init__(self, inputs: int, width: int, outputs: int):
        super().__init__()
        self.MLP = _mlp(inputs, width, outputs)
        self.MLP[-1] = nn.Sigmoid()

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.MLP(z)
        return out


class TimbmgVAE(nn.Module):
    """timbmg/VAE-CVAE-MNIST, models.py: 784-256-2 and back, ReLU, sigmoid; flat images.

    With `num_labels` conditional: one-hot labels are appended to the images and the codes.
    """

    def __init__(
        self, input_dim: int = 784, width: int = 256, latent_dim: int = 2, num_labels: int = 0
    ):
        super().__init__()
        self.num_labels = num_labels
        self.encoder = _TimbmgEncoder(input_dim + num_labels, width, latent_dim)
        self.decoder = _TimbmgDecoder(latent_dim + num_labels, width, input_dim)

    def seen(self, values: Tensor, label: Tensor | None) -> Tensor:
        """Rows, with the label behind them where there is one."""
        if label is None:
            return values
        return torch.cat([values, F.one_hot(label, self.num_labels).to(values.dtype)], dim=1)

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (flat), mean and logvar."""
        mean, logvar = self.encoder(self.seen(x, label))
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return self.decoder(self.seen(z, label)), mean, logvar


class _Block(nn.Module):
    """x + a 1x1 after a 3x3 convolution; the first ReLU changes x in place, so it is relu(x)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self._block = nn.Sequential(
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self._block(x)
        return out


class _Stack(nn.Module):
    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        self._layers = nn.ModuleList(_Block(channels, width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self._layers:
            x = layer(x)
        return F.relu(x)


class _Codebook(nn.Module):
    """The codes, and where they are moving averages, these; `forward` does not move them."""

    def __init__(self, codes: int, dim: int, averages: bool):
        super().__init__()
        self._embedding = nn.Embedding(codes, dim)
        if averages:
            self._ema_w = nn.Parameter(torch.randn(codes, dim))
            self.register_buffer("_ema_cluster_size", torch.zeros(codes))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Codes in the place of features (B, D, h, w), mean squared distance, perplexity."""
        features, codes = z.movedim(1, -1), self._embedding.weight
        index = torch.cdist(features.reshape(-1, codes.shape[1]), codes).argmin(1)
        quantised = codes[index].reshape(features.shape)
        usage = torch.bincount(index, minlength=len(codes)).to(z.dtype) / len(index)
        perplexity = torch.exp(-torch.sum(usage * torch.log(usage + 1e-10)))
        return quantised.movedim(-1, 1), F.mse_loss(quantised, features), perplexity


class _Encoder(nn.Module):
    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        half = channels // 2
        self._conv_1 = nn.Conv2d(3, half, 4, stride=2, padding=1)
        self._conv_2 = nn.Conv2d(half, channels, 4, stride=2, padding=1)
        self._conv_3 = nn.Conv2d(channels, channels, 3, padding=1)
        self._residual_stack = _Stack(channels, width, blocks)

    def forward(self, x: Tensor) -> Tensor:
        h = self._conv_3(F.relu(self._conv_2(F.relu(self._conv_1(x)))))
        out: Tensor = self._residual_stack(h)
        return out


class _Decoder(nn.Module):
    def __init__(self, channels: int, width: int, blocks: int, dim: int):
        super().__init__()
        half = channels // 2
        self._conv_1 = nn.Conv2d(dim, channels, 3, padding=1)
        self._residual_stack = _Stack(channels, width, blocks)
        self._conv_trans_1 = nn.ConvTranspose2d(channels, half, 4, stride=2, padding=1)
        self._conv_trans_2 = nn.ConvTranspose2d(half, 3, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = F.relu(self._conv_trans_1(self._residual_stack(self._conv_1(z))))
        out: Tensor = self._conv_trans_2(h)
        return out


class ZalandoresearchVQVAE(nn.Module):
    """zalandoresearch/pytorch-vq-vae, vq-vae.ipynb: 32x32 colour images in [-0.5, 0.5]."""

    def __init__(
        self,
        averages: bool = True,
        channels: int = 128,
        width: int = 32,
        blocks: int = 2,
        dim: int = 64,
        codes: int = 512,
    ):
        super().__init__()
        self.averages = averages
        self._encoder = _Encoder(channels, width, blocks)
        self._pre_vq_conv = nn.Conv2d(channels, dim, 1)
        self._vq_vae = _Codebook(codes, dim, averages)
        self._decoder = _Decoder(channels, width, blocks, dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss of the codes, pixels and perplexity."""
        quantised, distance, perplexity = self._vq_vae(self._pre_vq_conv(self._encoder(x)))
        loss = 0.25 * distance if self.averages else 1.25 * distance
        return loss, self._decoder(quantised), perplexity
