"""Reference models in plain `torch.nn`, written from the recipes, not from our Flax code.

Their layers have names that say what they are: `encoder.dense_0`, `encoder.conv_0`,
`encoder.norm_0` (the first hidden layer's BatchNorm), `code`, `mean`, `logvar`, `decoder.dense_0`,
`decoder.conv_0` (transposed). Images are (batch, channels, height, width), signals (batch,
channels, length).
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from jaxvae.config import Model

Shape = tuple[int, ...]  # channels, height, width; of a signal: channels, length
Geometry = tuple[int, int, int]  # kernel size, stride, padding


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
OUTPUTS: dict[str, Callable[[], nn.Module]] = {  # to the mean of p(x|z)
    "logits": nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "linear": nn.Identity,
}


def twin(settings: Model, shape: Shape) -> nn.Module:
    """The PyTorch module of any `jaxvae.Model`, for images of shape (channels, height, width).

    Signals are (channels, length), and rows, of dense models, (features,). `forward` returns
    pixels, mean and logvar; `jaxvae.interop.maps.reference_map(settings, ...)` is its weight map,
    and what `jaxvae export-torch` writes loads into it.
    """

    def layers() -> Layers:
        activation = ACTIVATIONS.get(settings.activation)
        if activation is None:
            activation = partial(nn.LeakyReLU, settings.negative_slope)
        return Layers(activation, settings.batch_norm, settings.dropout)

    dims, decoder_dims, latent_dim = (
        settings.hidden_dims,
        settings.decoder_dims,
        settings.latent_dim,
    )
    end = OUTPUTS[settings.output]()
    if settings.network == "conv" or settings.family == "CAE":
        strides = settings.strides or (2,) * len(dims)
        geometry = [(settings.kernel_size, stride, settings.padding) for stride in strides]
        encoder = conv_encoder(layers(), shape, dims, geometry, settings.dense_dims)
        if decoder_dims is not None:  # from the code outwards, as our settings have it
            side = settings.decoder_kernel_size or settings.kernel_size
            strides = settings.decoder_strides or (2,) * len(decoder_dims)
            geometry = [(side, stride, settings.padding) for stride in reversed(strides)]
            dims = decoder_dims[::-1]
        vector = None if settings.family == "CAE" else latent_dim
        decoder = conv_decoder(
            layers(),
            shape,
            dims,
            geometry,
            end,
            vector,
            settings.dense_dims,
            settings.expansion,
        )
    else:
        encoder = dense_encoder(layers(), math.prod(shape), dims)
        widths = dims[::-1] if decoder_dims is None else decoder_dims
        decoder = dense_decoder(layers(), [latent_dim, *widths], shape, end)
    if settings.family == "CAE":
        return AE(encoder, decoder)
    with torch.no_grad():
        features = encoder.eval()(torch.zeros(1, *shape)).numel()
    encoder.train()
    if settings.family == "VAE":
        return VAE(encoder, features, latent_dim, decoder)
    activation = layers().activation() if settings.code_activation else None
    return AE(encoder, decoder, nn.Linear(features, latent_dim), activation)


class AE(nn.Module):
    """Encoder, code, decoder; without `code` the code is the encoder's feature map (a CAE)."""

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        code: nn.Linear | None = None,
        code_activation: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.encoder, self.code, self.decoder = encoder, code, decoder
        self.code_activation = code_activation

    def forward(self, x: Tensor) -> tuple[Tensor, None, None]:
        """Pixels; no mean and no logvar."""
        z = self.encoder(x)
        if self.code is not None:
            z = self.code(z.flatten(1))
        if self.code_activation is not None:
            z = self.code_activation(z)
        return self.decoder(z), None, None


class VAE(nn.Module):
    """A Gaussian posterior between encoder and decoder; z is sampled in `forward`."""

    def __init__(self, encoder: nn.Module, features: int, latent_dim: int, decoder: nn.Module):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.mean = nn.Linear(features, latent_dim)
        self.logvar = nn.Linear(features, latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels, mean and logvar (batch, latent_dim)."""
        h = self.encoder(x).flatten(1)
        mean, logvar = self.mean(h), self.logvar(h)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return self.decoder(z), mean, logvar


class Layers:
    """An `nn.Sequential` in the making, of hidden layers and others."""

    def __init__(
        self,
        activation: Callable[[], nn.Module] = nn.ReLU,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ):
        self.activation, self.batch_norm, self.dropout = activation, batch_norm, dropout
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()

    def add(self, kind: str, layer: nn.Module) -> None:
        """Append a layer under the name KIND_i."""
        count = sum(name.startswith(kind) for name in self.layers)
        self.layers[f"{kind}_{count}"] = layer

    def hidden(self, kind: str, layer: Any) -> None:
        """Append a layer and what follows each hidden layer."""
        self.add(kind, layer)
        if self.batch_norm and isinstance(layer, nn.Linear):
            self.add("norm", nn.BatchNorm1d(layer.out_features))
        elif self.batch_norm:
            of_signals = isinstance(layer, (nn.Conv1d, nn.ConvTranspose1d))
            norm = nn.BatchNorm1d if of_signals else nn.BatchNorm2d
            self.add("norm", norm(layer.out_channels))
        self.add("activation", self.activation())
        if self.dropout:
            self.add("dropout", nn.Dropout(self.dropout))

    def sequential(self) -> nn.Sequential:
        return nn.Sequential(self.layers)


def convolutions(shape: Shape) -> tuple[Any, Any]:
    """The kinds of layer for examples of this shape: a convolution and a transposed one."""
    if len(shape) == 2:
        return nn.Conv1d, nn.ConvTranspose1d
    return nn.Conv2d, nn.ConvTranspose2d


def dense_encoder(layers: Layers, num_pixels: int, widths: Sequence[int]) -> nn.Sequential:
    """Flatten, then hidden dense layers."""
    layers.add("flatten", nn.Flatten())
    for before, after in zip([num_pixels, *widths], widths, strict=False):
        layers.hidden("dense", nn.Linear(before, after))
    return layers.sequential()


def dense_decoder(
    layers: Layers, widths: Sequence[int], image: Shape, end: nn.Module
) -> nn.Sequential:
    """Hidden dense layers from widths[0] inputs on, a dense layer to the pixels, `end`."""
    for before, after in itertools.pairwise(widths):
        layers.hidden("dense", nn.Linear(before, after))
    layers.add("dense", nn.Linear(widths[-1], math.prod(image)))
    layers.add("unflatten", nn.Unflatten(1, image))
    layers.add("output", end)
    return layers.sequential()


def conv_encoder(
    layers: Layers,
    image: Shape,
    channels: Sequence[int],
    geometry: Sequence[Geometry],
    dense: Sequence[int] = (),
) -> nn.Sequential:
    """Hidden convolutions, then, if there are any, hidden dense layers."""
    before, (conv, _) = image[0], convolutions(image)
    for after, (kernel_size, stride, padding) in zip(channels, geometry, strict=True):
        layers.hidden("conv", conv(before, after, kernel_size, stride, padding))
        before = after
    if dense:
        layers.add("flatten", nn.Flatten())
        before = math.prod(feature_maps(image, channels, geometry)[-1])
        for width in dense:
            layers.hidden("dense", nn.Linear(before, width))
            before = width
    return layers.sequential()


def conv_decoder(
    layers: Layers,
    image: Shape,
    channels: Sequence[int],
    geometry: Sequence[Geometry],
    end: nn.Module,
    latent_dim: int | None = None,
    dense: Sequence[int] = (),
    expansion: str | None = None,
) -> nn.Sequential:
    """Back through the encoder with these `channels` and `geometry` (both in the encoder's order).

    With `latent_dim` the code is a vector that dense layers expand: through the encoder's hidden
    dense layers in reverse, then by one to the feature map, which is `linear`, followed by the
    `activation`, or `hidden`; by default hidden after hidden ones, and linear without them.
    """
    maps, (_, conv_transpose) = feature_maps(image, channels, geometry), convolutions(image)
    if latent_dim is not None:
        widths = [latent_dim, *reversed(dense), math.prod(maps[-1])]
        *hidden, (before, after) = itertools.pairwise(widths)
        for pair in hidden:
            layers.hidden("dense", nn.Linear(*pair))
        if expansion == "hidden" or (expansion is None and dense):
            layers.hidden("dense", nn.Linear(before, after))
        else:
            layers.add("dense", nn.Linear(before, after))
        if expansion == "activation":
            layers.add("activation", layers.activation())
        layers.add("unflatten", nn.Unflatten(1, maps[-1]))
    for i, (kernel_size, stride, padding) in reversed(list(enumerate(geometry))):
        small, large = maps[i + 1], maps[i]
        missing = tuple(  # what (n - 1) stride - 2 padding + kernel_size leaves to the larger size
            size - ((n - 1) * stride - 2 * padding + kernel_size)
            for size, n in zip(large[1:], small[1:], strict=True)
        )
        layer = conv_transpose(small[0], large[0], kernel_size, stride, padding, missing)
        if i:
            layers.hidden("conv", layer)
        else:
            layers.add("conv", layer)
    layers.add("output", end)
    return layers.sequential()


def feature_maps(
    image: Shape, channels: Sequence[int], geometry: Sequence[Geometry]
) -> list[Shape]:
    """Shapes (channels, ...) from the image or signal through every convolution."""
    maps, x, (conv, _) = [image], torch.zeros(1, *image), convolutions(image)
    for after, (kernel_size, stride, padding) in zip(channels, geometry, strict=True):
        x = conv(x.shape[1], after, kernel_size, stride, padding)(x)
        maps.append(tuple(x.shape[1:]))
    return maps
