"""Encoders and decoders, dense and convolutional. A decoder mirrors its encoder.

Every network is called as `network(x, train, dropout_keys)`: `train` selects BatchNorm's batch
statistics, `dropout_keys` (one per example, or None) turns dropout on.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import jax
from flax import linen as nn

from jaxvae.checks import UsageError
from jaxvae.models.convolution import conv_output_size, output_padding_for
from jaxvae.models.layers import Conv, ConvTranspose, Dense, Hidden, LayerSettings, Residual

Shape = tuple[int, ...]  # height, width, channels of an image; length, channels of a signal


class DenseEncoder(nn.Module):
    """Examples (batch, ...) to features (batch, hidden_dims[-1])."""

    hidden_dims: tuple[int, ...]
    settings: LayerSettings = LayerSettings()

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for features in self.hidden_dims:
            dense = Dense(features, self.settings.init, self.settings.compute)
            x = Hidden(dense, self.settings)(x, train, dropout_keys)
        return x


class DenseDecoder(nn.Module):
    """Codes (batch, latent_dim) to examples (batch, *shape), before any output activation."""

    hidden_dims: tuple[int, ...]
    shape: tuple[int, ...]
    settings: LayerSettings = LayerSettings()

    @nn.compact
    def __call__(
        self, z: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        for features in self.hidden_dims:
            dense = Dense(features, self.settings.init, self.settings.compute)
            z = Hidden(dense, self.settings)(z, train, dropout_keys)
        x = Dense(math.prod(self.shape), self.settings.init, self.settings.compute)(z)
        return x.reshape(-1, *self.shape)


def feature_shapes(
    shape: Shape,
    hidden_dims: tuple[int, ...],
    strides: tuple[int, ...],
    kernel_size: int,
    padding: int,
) -> list[Shape]:
    """Shapes from the image or signal through every convolution of a `ConvEncoder`.

    Raises:
        ValueError: a feature map becomes smaller than the kernel.
    """
    shapes = [shape]
    for layer, (channels, stride) in enumerate(zip(hidden_dims, strides, strict=True), start=1):
        *sizes, _ = shapes[-1]
        if min(sizes) + 2 * padding < kernel_size:
            kind, unit = ("image", "pixels") if len(sizes) == 2 else ("signal", "values")
            raise UsageError(
                f"{kind} shape {shape} is too small for model.strides = {strides}: "
                f"convolution {layer} would see {'x'.join(map(str, sizes))} {unit}, and "
                f"model.kernel_size = {kernel_size} with "
                f"model.padding = {padding} needs at least {kernel_size - 2 * padding}"
            )
        smaller = (conv_output_size(size, kernel_size, stride, padding) for size in sizes)
        shapes.append((*smaller, channels))
    return shapes


class ResidualStack(NamedTuple):
    """A 3x3 convolution and residual blocks, which leave size and number of channels."""

    blocks: int
    width: int
    """Channels inside a block."""

    def layers(self, channels: int, settings: LayerSettings) -> Iterator[nn.Module]:
        """What the hidden layers are made of, one after the other."""
        if self.blocks:
            yield Conv(channels, 3, 1, 1, settings.init, settings.compute)
        for _ in range(self.blocks):
            yield Residual(self.width, settings)


class ConvEncoder(nn.Module):
    """Images (batch, height, width, channels) to a feature map (batch, h, w, hidden_dims[-1]).

    Signals (batch, length, channels) become (batch, l, hidden_dims[-1]), by convolutions along
    their length. With `dense_dims`, hidden dense layers follow, and the features are (batch,
    dense_dims[-1]). The residual stack is behind the convolutions.
    """

    hidden_dims: tuple[int, ...]
    strides: tuple[int, ...]
    kernel_size: int = 3
    padding: int = 1
    dense_dims: tuple[int, ...] = ()
    settings: LayerSettings = LayerSettings()
    residual: ResidualStack = ResidualStack(0, 0)

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        for features, stride in zip(self.hidden_dims, self.strides, strict=True):
            init, compute = self.settings.init, self.settings.compute
            conv = Conv(features, self.kernel_size, stride, self.padding, init, compute)
            x = Hidden(conv, self.settings)(x, train, dropout_keys)
        for layer in self.residual.layers(self.hidden_dims[-1], self.settings):
            x = Hidden(layer, self.settings)(x, train, dropout_keys)
        if self.dense_dims:
            x = x.reshape(x.shape[0], -1)
        for features in self.dense_dims:
            dense = Dense(features, self.settings.init, self.settings.compute)
            x = Hidden(dense, self.settings)(x, train, dropout_keys)
        return x


class ConvDecoder(nn.Module):
    """Codes to images or signals (batch, *shape), before any output activation.

    The mirror image of a `ConvEncoder` with the same fields: the transposed convolutions undo its
    layers one by one, each with the output padding that returns to the very size the encoder came
    from. A code is either the encoder's feature map or a vector (batch, latent_dim), which dense
    layers first expand to that shape: hidden ones for `dense_dims`, then one after which come
    nothing, the activation alone, or all that a hidden layer has, as `expansion` says. The residual
    stack is before the transposed convolutions.
    """

    hidden_dims: tuple[int, ...]
    strides: tuple[int, ...]
    shape: Shape
    kernel_size: int = 3
    padding: int = 1
    dense_dims: tuple[int, ...] = ()
    expansion: Literal["linear", "activation", "hidden"] = "linear"
    settings: LayerSettings = LayerSettings()
    residual: ResidualStack = ResidualStack(0, 0)

    @nn.compact
    def __call__(
        self, z: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        k, p = self.kernel_size, self.padding
        init, compute = self.settings.init, self.settings.compute
        shapes = feature_shapes(self.shape, self.hidden_dims, self.strides, k, p)

        def hidden(layer: nn.Module, x: jax.Array) -> jax.Array:
            return Hidden(layer, self.settings)(x, train, dropout_keys)

        x = z
        if z.ndim == 2:
            for features in self.dense_dims[::-1]:
                x = hidden(Dense(features, init, compute), x)
            expand = Dense(math.prod(shapes[-1]), init, compute)
            x = hidden(expand, x) if self.expansion == "hidden" else expand(x)
            x = self.settings.activate(x) if self.expansion == "activation" else x
            x = x.reshape(-1, *shapes[-1])
        for added in self.residual.layers(self.hidden_dims[-1], self.settings):
            x = hidden(added, x)
        for target, stride in zip(shapes[-2::-1], self.strides[::-1], strict=True):
            *sizes, features = target
            output_padding = tuple(output_padding_for(size, k, stride, p) for size in sizes)
            layer = ConvTranspose(features, k, stride, p, output_padding, init, compute)
            if target is shapes[0]:
                return layer(x)
            x = hidden(layer, x)
        return x
