"""Public models in plain `torch.nn`, with the state-dict keys and architectures of their sources.

Each loads its source's state dict as it is. Default sizes are the source's. `forward` returns what
the source's does, as a tuple, and draws its noise by one call of `torch.randn_like`, so a test can
feed its own. Initialisation is PyTorch's default. Images are (batch, channels, height, width), or
flat, (batch, pixels), where it says so; codes are (batch, latent_dim).
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from jaxvae.checks import require

Shape = tuple[int, int, int]  # channels, height, width


def _sample(mean: Tensor, std: Tensor) -> Tensor:
    return mean + std * torch.randn_like(std)


def _activated(activation: nn.Module, **layers: nn.Module) -> dict[str, nn.Module]:
    """The layers, each followed by the activation (which has no weights, so its name is free)."""
    steps: dict[str, nn.Module] = {}
    for name, layer in layers.items():
        steps |= {name: layer, f"{name}_activation": activation}
    return steps


def _chain(steps: dict[str, nn.Module]) -> nn.Sequential:
    """Modules one after the other, under the source's names."""
    chain = nn.Sequential()
    for name, step in steps.items():
        chain.add_module(name, step)
    return chain


class _Encoder(nn.Module):
    """Modules one after the other, then heads side by side, all under the source's names."""

    def __init__(self, steps: dict[str, nn.Module], **heads: nn.Module):
        super().__init__()
        self.step_names, self.head_names = tuple(steps), tuple(heads)
        for name, module in (steps | heads).items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        for name in self.step_names:
            x = self.get_submodule(name)(x)
        return tuple(self.get_submodule(name)(x) for name in self.head_names)


class PytorchExamplesVAE(nn.Module):
    """pytorch/examples `vae/main.py`: 784-400-(20, 20) and back, ReLU, sigmoid."""

    def __init__(self, latent_dim: int = 20):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, latent_dim)
        self.fc22 = nn.Linear(400, latent_dim)
        self.fc3 = nn.Linear(latent_dim, 400)
        self.fc4 = nn.Linear(400, 784)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logvar of flat images."""
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def decode(self, z: Tensor) -> Tensor:
        """Probabilities, flat."""
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities (flat), mean and logvar of images, flat or not."""
        mean, logvar = self.encode(x.reshape(-1, 784))
        return self.decode(_sample(mean, torch.exp(0.5 * logvar))), mean, logvar


class JacksonKangVAE(nn.Module):
    """Jackson-Kang/Pytorch-VAE-tutorial: 784-400-400-(200, 200) and back, LeakyReLU 0.2, sigmoid.

    Flat images. `FC_var` is logvar.
    """

    def __init__(self, input_dim: int = 784, hidden_dim: int = 400, latent_dim: int = 200):
        super().__init__()
        self.Encoder = _Encoder(
            _activated(
                nn.LeakyReLU(0.2),
                FC_input=nn.Linear(input_dim, hidden_dim),
                FC_input2=nn.Linear(hidden_dim, hidden_dim),
            ),
            FC_mean=nn.Linear(hidden_dim, latent_dim),
            FC_var=nn.Linear(hidden_dim, latent_dim),
        )
        hidden = _activated(
            nn.LeakyReLU(0.2),
            FC_hidden=nn.Linear(latent_dim, hidden_dim),
            FC_hidden2=nn.Linear(hidden_dim, hidden_dim),
        )
        pixels = _activated(nn.Sigmoid(), FC_output=nn.Linear(hidden_dim, input_dim))
        self.Decoder = _chain(hidden | pixels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, mean and logvar."""
        mean, logvar = self.Encoder(x)
        return self.Decoder(_sample(mean, torch.exp(0.5 * logvar))), mean, logvar


class EthanluoycVAE(nn.Module):
    """ethanluoyc/pytorch-vae: 784-512-512-(8, 8) and 8-512-784, ReLU, tanh.

    Flat images in [-0.5, 0.5]. The second head is log sigma: logvar = 2 log sigma.
    """

    def __init__(self, input_dim: int = 784, hidden_dim: int = 512, latent_dim: int = 8):
        super().__init__()
        self.encoder = _Encoder(
            _activated(
                nn.ReLU(),
                linear1=nn.Linear(input_dim, hidden_dim),
                linear2=nn.Linear(hidden_dim, hidden_dim),
            ),
            enc_mu=nn.Linear(hidden_dim, latent_dim),
            enc_log_sigma=nn.Linear(hidden_dim, latent_dim),
        )
        hidden = _activated(nn.ReLU(), linear1=nn.Linear(latent_dim, hidden_dim))
        pixels = _activated(nn.Tanh(), linear2=nn.Linear(hidden_dim, input_dim))
        self.decoder = _chain(hidden | pixels)

    def forward(self, x: Tensor) -> tuple[Normal, Normal]:
        """p(x|z), whose mean is the pixels and whose variance is 1, and q(z|x)."""
        mean, log_sigma = self.encoder(x)
        sigma = torch.exp(log_sigma)
        pixels = self.decoder(_sample(mean, sigma))
        return Normal(pixels, torch.ones_like(pixels)), Normal(mean, sigma)


class PythaeAE(nn.Module):
    """pythae `AE` of an encoder with one head, and a decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`recon_x` and `z` of the source's ModelOutput, which has the loss too."""
        (z,) = self.encoder(x)
        return self.decoder(z), z


class PythaeVAE(nn.Module):
    """pythae `VAE` of an encoder with two heads, and a decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`recon_x`, mean, logvar and `z`; the source's ModelOutput has `recon_x`, `z`, losses."""
        mean, logvar = self.encoder(x)
        z = _sample(mean, torch.exp(0.5 * logvar))
        return self.decoder(z), mean, logvar, z


def _pythae_mlp(latent_dim: int, image_shape: Shape, *heads: str) -> tuple[nn.Module, nn.Module]:
    num_pixels = math.prod(image_shape)
    hidden = nn.Sequential(nn.Linear(num_pixels, 512), nn.ReLU())
    encoder = _Encoder(
        {"flat": nn.Flatten(), "layers": nn.Sequential(hidden)},
        **{name: nn.Linear(512, latent_dim) for name in heads},
    )
    layers = nn.Sequential(
        nn.Sequential(nn.Linear(latent_dim, 512), nn.ReLU()),
        nn.Sequential(nn.Linear(512, num_pixels), nn.Sigmoid()),
    )
    return encoder, _chain({"layers": layers, "image": nn.Unflatten(1, image_shape)})


def pythae_mlp_ae(latent_dim: int = 10, image_shape: Shape = (1, 28, 28)) -> PythaeAE:
    """pythae's default AE: pixels-512-code and back, ReLU, sigmoid; images of any size."""
    return PythaeAE(*_pythae_mlp(latent_dim, image_shape, "embedding"))


def pythae_mlp_vae(latent_dim: int = 10, image_shape: Shape = (1, 28, 28)) -> PythaeVAE:
    """pythae's default VAE: pixels-512-(code, code) and back, ReLU, sigmoid; any size."""
    return PythaeVAE(*_pythae_mlp(latent_dim, image_shape, "embedding", "log_var"))


def _normalized(conv: nn.Conv2d | nn.ConvTranspose2d, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), activation)


PYTHAE_WIDTHS = (128, 256, 512, 1024)  # 28x28 to 14, 7, 3, 1


def _pythae_conv(
    latent_dim: int, widths: tuple[int, ...], *heads: str
) -> tuple[nn.Module, nn.Module]:
    relu, last = nn.ReLU(), widths[-1]
    pairs = itertools.pairwise((1, *widths))
    layers = nn.Sequential(*(_normalized(nn.Conv2d(*pair, 4, 2, 1), relu) for pair in pairs))
    side = 28 >> len(widths)
    encoder = _Encoder(
        {"layers": layers, "flat": nn.Flatten()},
        **{name: nn.Linear(last * side**2, latent_dim) for name in heads},
    )
    decoder: dict[str, nn.Module] = {  # 4x4 to 7, 14, 28
        "0": nn.Linear(latent_dim, last * 4 * 4),
        "map": nn.Unflatten(1, (last, 4, 4)),
        "1": _normalized(nn.ConvTranspose2d(last, widths[-2], 3, 2, 1, 0), relu),
        "2": _normalized(nn.ConvTranspose2d(widths[-2], widths[-3], 3, 2, 1, 1), relu),
        "3": nn.Sequential(nn.ConvTranspose2d(widths[-3], 1, 3, 2, 1, 1), nn.Sigmoid()),
    }
    return encoder, _chain({"layers": _chain(decoder)})


def pythae_conv_ae(latent_dim: int = 10) -> PythaeAE:
    """pythae's AE with `Encoder_Conv_AE_MNIST` and `Decoder_Conv_AE_MNIST`: 1x28x28 images."""
    return PythaeAE(*_pythae_conv(latent_dim, PYTHAE_WIDTHS, "embedding"))


def pythae_conv_vae(latent_dim: int = 10, widths: tuple[int, ...] = PYTHAE_WIDTHS) -> PythaeVAE:
    """pythae's VAE with `Encoder_Conv_VAE_MNIST` and `Decoder_Conv_AE_MNIST`: 1x28x28 images."""
    return PythaeVAE(*_pythae_conv(latent_dim, widths, "embedding", "log_var"))


class AntixkVAE(nn.Module):
    """AntixK/PyTorch-VAE `VanillaVAE`, tanh: 3x64x64 images in [-1, 1].

    Of other sizes, or with other numbers of layers, it is the source with its 2x2 pixels changed.
    """

    def __init__(
        self,
        latent_dim: int = 128,
        hidden_dims: tuple[int, ...] = (32, 64, 128, 256, 512),
        side: int = 64,
    ):
        super().__init__()
        leaky = nn.LeakyReLU()  # 0.01
        first, small = hidden_dims[0], side >> len(hidden_dims)
        self.map = (hidden_dims[-1], small, small)
        self.encoder = nn.Sequential(
            *(
                _normalized(nn.Conv2d(*pair, 3, 2, 1), leaky)
                for pair in itertools.pairwise((3, *hidden_dims))
            )
        )
        self.fc_mu = nn.Linear(math.prod(self.map), latent_dim)
        self.fc_var = nn.Linear(math.prod(self.map), latent_dim)
        self.decoder_input = nn.Linear(latent_dim, math.prod(self.map))
        *up, last = (
            _normalized(nn.ConvTranspose2d(*pair, 3, 2, 1, 1), leaky)
            for pair in itertools.pairwise((*hidden_dims[::-1], first))
        )
        self.decoder = nn.Sequential(*up)
        self.final_layer = nn.Sequential(*last, nn.Conv2d(first, 3, 3, padding=1), nn.Tanh())

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logvar."""
        h = self.encoder(x).flatten(1)
        return self.fc_mu(h), self.fc_var(h)

    def decode(self, z: Tensor) -> Tensor:
        """Pixels."""
        return self.final_layer(self.decoder(self.decoder_input(z).view(-1, *self.map)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixels, x itself, mean and logvar."""
        mean, logvar = self.encode(x)
        return self.decode(_sample(mean, torch.exp(0.5 * logvar))), x, mean, logvar


class BurgessVAE(nn.Module):
    """YannDubs/disentangling-vae `VAE` with the networks of Burgess et al. 2018, ReLU, sigmoid.

    Raises UsageError for images other than 32x32 and 64x64.
    """

    def __init__(
        self,
        image_shape: Shape = (1, 32, 32),
        latent_dim: int = 10,
        width: int = 32,
        hidden_dim: int = 256,
    ):
        super().__init__()
        channels, *size = image_shape
        require(size in ([32, 32], [64, 64]), "image_shape", image_shape, "32x32 or 64x64")
        self.latent_dim = latent_dim
        downs, ups = ["conv2", "conv3"], ["convT1", "convT2"]
        if size == [64, 64]:
            downs, ups = [*downs, "conv_64"], ["convT_64", *ups]
        self.encoder = _Encoder(
            _activated(nn.ReLU(), conv1=nn.Conv2d(channels, width, 4, 2, 1))
            | _activated(nn.ReLU(), **{name: nn.Conv2d(width, width, 4, 2, 1) for name in downs})
            | {"flat": nn.Flatten()}
            | _activated(
                nn.ReLU(),
                lin1=nn.Linear(16 * width, hidden_dim),
                lin2=nn.Linear(hidden_dim, hidden_dim),
            ),
            mu_logvar_gen=nn.Linear(hidden_dim, 2 * latent_dim),
        )
        dense = _activated(
            nn.ReLU(),
            lin1=nn.Linear(latent_dim, hidden_dim),
            lin2=nn.Linear(hidden_dim, hidden_dim),
            lin3=nn.Linear(hidden_dim, 16 * width),
        )
        self.decoder = _chain(
            dense
            | {"map": nn.Unflatten(1, (width, 4, 4))}
            | _activated(
                nn.ReLU(), **{name: nn.ConvTranspose2d(width, width, 4, 2, 1) for name in ups}
            )
            | _activated(nn.Sigmoid(), convT3=nn.ConvTranspose2d(width, channels, 4, 2, 1))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Probabilities, (mean, logvar) and z, which in eval mode is the mean."""
        (pairs,) = self.encoder(x)
        mean, logvar = pairs.view(-1, self.latent_dim, 2).unbind(-1)  # mean, logvar, mean, ...
        z = _sample(mean, torch.exp(0.5 * logvar)) if self.training else mean
        return self.decoder(z), (mean, logvar), z


class GruheshkurraVAE(nn.Module):
    """GruheshKurra/VariationalAutoencoders: 784-256-128-(2, 2) and back, sigmoid; flat images.

    Each hidden layer is dense, BatchNorm, ReLU, dropout 0.2.
    """

    def __init__(self, input_dim: int = 784, hidden_dim: int = 256, latent_dim: int = 2):
        super().__init__()
        half = hidden_dim // 2

        def hidden(before: int, after: int) -> list[nn.Module]:
            return [nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Dropout(0.2)]

        self.encoder = nn.Sequential(*hidden(input_dim, hidden_dim), *hidden(hidden_dim, half))
        self.fc_mu = nn.Linear(half, latent_dim)
        self.fc_logvar = nn.Linear(half, latent_dim)
        last = nn.Linear(hidden_dim, input_dim)
        up = [*hidden(latent_dim, half), *hidden(half, hidden_dim)]
        self.decoder = nn.Sequential(*up, last, nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities, mean and logvar."""
        h = self.encoder(x)
        mean, logvar = self.fc_mu(h), self.fc_logvar(h)
        return self.decoder(_sample(mean, torch.exp(0.5 * logvar))), mean, logvar


class SsakhashVAE(nn.Module):
    """ssakhash/Autoencoders-using-PyTorch, VAE.ipynb: 784-400-(20, 20), 20-40-400-784, linear.

    Flat images. One layer is both heads: the first half of its outputs are the means.
    """

    def __init__(self, input_dim: int = 784, latent_dim: int = 20):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(input_dim, 400), nn.ReLU(), nn.Linear(400, 2 * latent_dim)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, 40),
            nn.ReLU(),
            nn.Linear(40, 400),
            nn.ReLU(),
            nn.Linear(400, input_dim),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, mean and logvar; the source returns them in another order."""
        mean, logvar = self.encoder(x).chunk(2, dim=-1)
        return self.decoder(_sample(mean, torch.exp(0.5 * logvar))), mean, logvar
