"""The layers that the networks are made of, with explicit initialisation and explicit noise."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxvae import axis, noise
from jaxvae.checks import require
from jaxvae.models.convolution import conv, conv_transpose

Activation = Callable[[jax.Array], jax.Array]

ACTIVATIONS: dict[str, Activation] = {
    "relu": nn.relu,
    "elu": nn.elu,
    "gelu": lambda x: nn.gelu(x, approximate=False),
    "silu": nn.silu,
    "tanh": jnp.tanh,
    "sigmoid": nn.sigmoid,
}

InitRule = Literal["flax", "torch"]
Compute = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class LayerSettings:
    """What all hidden layers of a network share; the fields are those of `jaxvae.Model`."""

    activation: str = "relu"
    negative_slope: float = 0.01
    batch_norm: bool = False
    dropout: float = 0.0
    init: InitRule = "flax"
    compute: Compute = "float32"

    def activate(self, x: jax.Array) -> jax.Array:
        """The activation, elementwise."""
        if self.activation == "leaky_relu":
            # At 0 the slope from below, as in PyTorch and as of relu: an input may be exactly 0,
            # behind a black image and a bias that starts at 0. Flax's leaky_relu takes that above.
            return jnp.where(x > 0, x, self.negative_slope * x)
        return ACTIVATIONS[self.activation](x)


def kernel_init(rule: InitRule) -> nn.initializers.Initializer:
    """LeCun normal (flax), or U(+-1/sqrt(fan_in)), which is PyTorch's default (torch)."""
    if rule == "flax":
        return nn.initializers.lecun_normal()
    return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def bias_init(rule: InitRule, fan_in: int) -> nn.initializers.Initializer:
    """Zeros (flax), or U(+-1/sqrt(fan_in)) (torch)."""
    if rule == "flax":
        return nn.initializers.zeros_init()
    bound = fan_in**-0.5

    def uniform(key: jax.Array, shape: Sequence[int], *_: object) -> jax.Array:
        return jax.random.uniform(key, tuple(shape), minval=-bound, maxval=bound)

    return uniform


def products_in(compute: Compute, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The factors of a layer's product: as they are, or rounded to bfloat16.

    Micikevicius et al. 2018: only products are computed in low precision; parameters, sums over
    batches and pixels, normalisation and losses stay in float32.
    """
    if compute == "bfloat16":
        return tuple(array.astype(jnp.bfloat16) for array in arrays)
    return arrays


class Dense(nn.Module):
    """x W + b, from (..., in) to (..., features)."""

    features: int
    init_rule: InitRule = "flax"
    compute: Compute = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", kernel_init(self.init_rule), (fan_in, self.features))
        bias = self.param("bias", bias_init(self.init_rule, fan_in), (self.features,))
        x, kernel = products_in(self.compute, x, kernel)
        y = (x @ kernel).astype(bias.dtype)
        return y + jnp.broadcast_to(bias, y.shape)


class Conv(nn.Module):
    """A convolution with PyTorch's geometry, channels last: images or signals by the input's rank.

    Size n becomes (n + 2 padding - k) // stride + 1. The kernel is (k, k, in, features), that of
    signals (batch, length, channels) is (k, in, features).
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    init_rule: InitRule = "flax"
    compute: Compute = "float32"
    bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        taps = (self.kernel_size,) * (x.ndim - 2)
        fan_in = math.prod(taps) * x.shape[-1]
        shape = (*taps, x.shape[-1], self.features)
        kernel = self.param("kernel", kernel_init(self.init_rule), shape)
        dtype = kernel.dtype
        x, kernel = products_in(self.compute, x, kernel)
        y = conv(x, kernel, self.stride, self.padding).astype(dtype)
        if not self.bias:
            return y
        bias = self.param("bias", bias_init(self.init_rule, fan_in), (self.features,))
        return y + jnp.broadcast_to(bias, y.shape)


class ConvTranspose(nn.Module):
    """A transposed convolution with PyTorch's geometry, of images or signals as `Conv`.

    Size n becomes (n - 1) stride - 2 padding + k + output_padding, which is a number per axis of an
    image or a signal; empty: 0.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    output_padding: tuple[int, ...] = ()
    init_rule: InitRule = "flax"
    compute: Compute = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        taps, channels = (self.kernel_size,) * (x.ndim - 2), x.shape[-1]
        output_padding = self.output_padding or (0,) * len(taps)
        init = kernel_init(self.init_rule)
        # PyTorch counts the fan-in of a transposed convolution over its *output* channels.
        fan_in = math.prod(taps) * (channels if self.init_rule == "flax" else self.features)
        if self.init_rule == "torch":
            init = nn.initializers.variance_scaling(
                1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=-2
            )
        kernel = self.param("kernel", init, (*taps, channels, self.features))
        bias = self.param("bias", bias_init(self.init_rule, fan_in), (self.features,))
        x, kernel = products_in(self.compute, x, kernel)
        y = conv_transpose(x, kernel, self.stride, self.padding, output_padding)
        y = y.astype(bias.dtype)
        return y + jnp.broadcast_to(bias, y.shape)


def keep_mask(keys: jax.Array, path: str, shape: Sequence[int], rate: float) -> jax.Array:
    """Which entries the `Dropout` at `path` keeps, (batch, *shape), from one key per example.

    `path` is that of the layer in its model, such as "encoder/Hidden_0/Dropout_0".
    """
    layer = jnp.uint32(zlib.crc32(path.encode()))
    layer_keys = jax.vmap(lambda key: jax.random.fold_in(key, layer))(keys)
    return noise.uniform(layer_keys, shape) >= rate


class Dropout(nn.Module):
    """Zero each entry with probability `rate` and divide the rest by 1 - rate.

    The mask of an example follows from its own key (shape (batch,), folded with the layer's path),
    so it does not depend on the layout of the batch. Without keys the layer is the identity.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        if keys is None or self.rate == 0:
            return x
        keep = keep_mask(keys, "/".join(self.path), x.shape[1:], self.rate)
        return jnp.where(keep, x / (1 - self.rate), 0.0)


KEEP, EPSILON = 0.9, 1e-5  # of BatchNorm; PyTorch's momentum is 1 - KEEP


class BatchNorm(nn.Module):
    """scale (x - mean) / sqrt(var + epsilon) + bias, per channel (the last axis), as PyTorch's.

    In training mean and var are those of the whole batch, on however many devices it is (var with
    1/n, n values per channel), and the running statistics move by 0.1 towards them, there with the
    unbiased variance (1/(n - 1)); otherwise the running statistics are used. Flax's own layer keeps
    the biased variance. Ioffe and Szegedy 2015, algorithms 1 and 2.

    Raises:
        UsageError: in training, n = 1: every output would be the bias, whatever the input.
    """

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones_init(), channels)
        bias = self.param("bias", nn.initializers.zeros_init(), channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        mean, var = running_mean.value, running_var.value
        if train:
            rows = x.reshape(-1, *channels)
            n = rows.shape[0] * axis.size()
            mean = axis.mean(jnp.mean(rows, axis=0))
            var = axis.mean(jnp.mean(jnp.square(rows - mean[None]), axis=0))
            if not self.is_initializing():
                self.refuse_single(n, x.shape[0] * axis.size())
                unbiased = var * (n / (n - 1))
                running_mean.value = KEEP * running_mean.value + (1 - KEEP) * mean
                running_var.value = KEEP * running_var.value + (1 - KEEP) * unbiased
        factor = scale * jax.lax.rsqrt(var + EPSILON)
        offset = bias - mean * factor
        return x * jnp.broadcast_to(factor, x.shape) + jnp.broadcast_to(offset, x.shape)

    def refuse_single(self, n: int, batch_size: int) -> None:
        layer = "/".join(self.path)
        allowed = f"at least 2 with BatchNorm: fewer than 2 values per feature reach {layer}"
        require(n >= 2, "data.batch_size", batch_size, allowed)


def keep_preactivation(module: nn.Module, name: str, x: jax.Array) -> None:
    """Put the input of an activation into the collection `preactivations`, if that is mutable.

    For those who ask how near to its kink an activation is entered; otherwise it costs nothing.
    """
    if not module.is_initializing():  # it belongs to a batch, not to the model's variables
        module.sow("preactivations", name, x)


class Hidden(nn.Module):
    """linear - [BatchNorm] - activation - [dropout]."""

    linear: nn.Module
    settings: LayerSettings

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        x = self.linear(x)
        if self.settings.batch_norm:
            x = BatchNorm()(x, train)
        keep_preactivation(self, "preactivation", x)
        x = self.settings.activate(x)
        return Dropout(self.settings.dropout)(x, dropout_keys)


class Residual(nn.Module):
    """x + W2 f(W1 x): a 3x3 convolution to `width` channels, f, a 1x1 convolution back; no biases.

    He et al. 2016 (arXiv:1512.03385), as van den Oord et al. 2017 have it (arXiv:1711.00937).
    """

    width: int
    settings: LayerSettings

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init, compute = self.settings.init, self.settings.compute
        inner = Conv(self.width, 3, 1, 1, init, compute, bias=False)(x)
        keep_preactivation(self, "preactivation", inner)
        outer = Conv(x.shape[-1], 1, 1, 0, init, compute, bias=False)
        return x + outer(self.settings.activate(inner))
