"""The layers that a model consists of, found by walking its modules, and what they compute.

A layer is a dict: `kind`, and the numbers and arrays of that kind. Kernels are rounded to float16.

    dense      y = x @ kernel (in, out) + bias
    conv, conv_transpose
               as `jaxvae.models.convolution`: kernel (k, k, in, out), bias, stride, padding, and
               the shapes `before` and `after`; of signals with one axis less
    affine     y = x * scale + shift per channel, the last axis: BatchNorm with its statistics
    activation `name` of `jaxvae.models.layers.LayerSettings`, `slope` of leaky_relu
    label      the class as a one-hot vector is appended
    nearest    of `codes` (books, codes, length), at each position: the sum of the nearest one of
               each book, the first's to the numbers, the next's to what that leaves, and so on;
               rounding too, whose books are the values of each number (`report.codebooks`)
    keep, add  of a residual block, around its layers: what comes in is kept, and added at the end
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.evaluation import Trained
from jaxvae.evaluation.trained import has_gaussian
from jaxvae.models import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    LayerSettings,
    ResidualStack,
    feature_shapes,
)
from jaxvae.models.convolution import conv, conv_transpose, output_padding_for
from jaxvae.models.layers import EPSILON
from jaxvae.models.nearest import nearest
from jaxvae.report.codebooks import Layer, books_of, choice

Layers = list[Layer]


def _half(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32).astype(np.float16)


def _single(array: Any) -> np.ndarray:
    return np.asarray(array, np.float32)


class _Side(NamedTuple):
    """Encoder or decoder: parameters, running statistics, and what its hidden layers share."""

    params: Mapping[str, Any]
    statistics: Mapping[str, Any]
    settings: LayerSettings

    def after(self, hidden: int) -> Layers:
        """What follows the product of a hidden layer: BatchNorm and activation."""
        layers = []
        if self.settings.batch_norm:
            of_norm = self.params[f"Hidden_{hidden}"]["BatchNorm_0"]
            running = self.statistics[f"Hidden_{hidden}"]["BatchNorm_0"]
            scale = _single(of_norm["scale"]) / np.sqrt(_single(running["var"]) + EPSILON)
            shift = _single(of_norm["bias"]) - _single(running["mean"]) * scale
            layers = [{"kind": "affine", "scale": _single(scale), "shift": _single(shift)}]
        return [*layers, _activation(self.settings)]


def _activation(settings: LayerSettings) -> Layer:
    return {"kind": "activation", "name": settings.activation, "slope": settings.negative_slope}


def _dense(params: Mapping[str, Any]) -> Layer:
    return {"kind": "dense", "kernel": _half(params["kernel"]), "bias": _single(params["bias"])}


def _without_bias(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a layer that has none, with one of zeros."""
    return {**params, "bias": np.zeros(params["kernel"].shape[-1], np.float32)}


def _convolution(
    kind: str,
    params: Mapping[str, Any],
    before: Sequence[int],
    after: Sequence[int],
    stride: int,
    padding: int,
) -> Layer:
    geometry = {"before": (*before,), "after": (*after,), "stride": stride, "padding": padding}
    return _dense(params) | {"kind": kind} | geometry


def layers_of(
    trained: Trained, code_shape: tuple[int, ...]
) -> tuple[Layers, dict[str, Layers], Layers] | None:
    """Encoder, heads and decoder as the modules of the package would compute them; None: others."""
    model, variables, info = trained.model, trained.variables.model, trained.info
    encoder, decoder = getattr(model, "encoder", None), getattr(model, "decoder", None)
    known = type(encoder) in (DenseEncoder, ConvEncoder) and type(decoder) in (
        DenseDecoder,
        ConvDecoder,
    )
    if not known:
        return None
    statistics = variables.get("batch_stats", {})

    def side(name: str, module: Any) -> _Side:
        params = variables["params"].get(name, {})  # without layers there is none
        return _Side(params, statistics.get(name, {}), module.settings)

    with_label = {"kind": "label", "classes": info.num_classes}
    inwards = _encoder(encoder, side("encoder", encoder), info.shape)
    if inwards and len(inwards[0].get("kernel", ())) == math.prod(info.shape) + info.num_classes:
        inwards = [with_label, *inwards] if info.num_classes else inwards
    outwards = _decoder(decoder, side("decoder", decoder), len(code_shape) == 1)
    if outwards[0]["kind"] == "dense" and info.num_classes:
        told = len(outwards[0]["kernel"]) == code_shape[0] + info.num_classes
        outwards = [with_label, *outwards] if told else outwards
    return inwards, _heads(trained), outwards


def _residual(
    stack: ResidualStack, side: _Side, shape: tuple[int, ...], conv: str, hidden: int
) -> Layers:
    """A residual stack that gives maps of this shape, and whose first convolution has this name.

    hidden: of how many hidden layers it comes behind.
    """
    if not stack.blocks:
        return []
    params, within = side.params[conv], (*shape[:-1], stack.width)
    # A map of codes may have other channels than the encoder's features.
    before = (*shape[:-1], params["kernel"].shape[-2])
    layers = [_convolution("conv", params, before, shape, 1, 1), *side.after(hidden)]
    for i in range(stack.blocks):
        inner, outer = (_without_bias(side.params[f"Residual_{i}"][f"Conv_{j}"]) for j in (0, 1))
        layers += [
            {"kind": "keep"},
            _convolution("conv", inner, shape, within, 1, 1),
            _activation(side.settings),
            _convolution("conv", outer, within, shape, 1, 0),
            {"kind": "add"},
            *side.after(hidden + 1 + i),
        ]
    return layers


def _hidden_in(stack: ResidualStack) -> int:
    """How many hidden layers a residual stack is made of."""
    return stack.blocks + 1 if stack.blocks else 0


def _encoder(module: Any, side: _Side, shape: tuple[int, ...]) -> Layers:
    layers: Layers = []
    convolutions = 0
    if isinstance(module, ConvEncoder):
        k, p = module.kernel_size, module.padding
        shapes = feature_shapes(shape, module.hidden_dims, module.strides, k, p)
        convolutions = len(module.strides)
        for i, stride in enumerate(module.strides):
            params = side.params[f"Conv_{i}"]
            layer = _convolution("conv", params, shapes[i], shapes[i + 1], stride, p)
            layers += [layer, *side.after(i)]
        layers += _residual(module.residual, side, shapes[-1], f"Conv_{convolutions}", convolutions)
        convolutions += _hidden_in(module.residual)
    denses = module.dense_dims if convolutions else module.hidden_dims
    for i in range(len(denses)):
        layers += [_dense(side.params[f"Dense_{i}"]), *side.after(convolutions + i)]
    return layers


def _decoder(module: Any, side: _Side, vector: bool) -> Layers:
    layers: Layers = []
    if isinstance(module, DenseDecoder):
        for i in range(len(module.hidden_dims)):
            layers += [_dense(side.params[f"Dense_{i}"]), *side.after(i)]
        return [*layers, _dense(side.params[f"Dense_{len(module.hidden_dims)}"])]
    hidden, k, p = 0, module.kernel_size, module.padding
    if vector:
        for hidden in range(len(module.dense_dims)):
            layers += [_dense(side.params[f"Dense_{hidden}"]), *side.after(hidden)]
        hidden = len(module.dense_dims)
        layers.append(_dense(side.params[f"Dense_{hidden}"]))
        if module.expansion == "hidden":
            layers += side.after(hidden)
            hidden += 1
        elif module.expansion == "activation":
            layers.append(_activation(side.settings))
    shapes = feature_shapes(module.shape, module.hidden_dims, module.strides, k, p)[::-1]
    layers += _residual(module.residual, side, shapes[0], "Conv_0", hidden)
    hidden += _hidden_in(module.residual)
    for i, stride in enumerate(module.strides[::-1]):
        params = side.params[f"ConvTranspose_{i}"]
        # A map of codes may have other channels than the encoder's features.
        shapes[i] = (*shapes[i][:-1], params["kernel"].shape[-2])
        layer = _convolution("conv_transpose", params, shapes[i], shapes[i + 1], stride, p)
        last = i + 1 == len(module.strides)
        layers += [layer] if last else [layer, *side.after(hidden + i)]
    return layers


def _heads(trained: Trained) -> dict[str, Layers]:
    """From the encoder's features to the code."""
    model, variables = trained.model, trained.variables.model
    params = variables["params"]
    own = params.keys() - {"encoder", "decoder"}
    if {"mean", "logvar"} <= own:
        mean, logvar = ([_dense(params[name])] for name in ("mean", "logvar"))
        return {"mean": mean, "logvar": logvar} if has_gaussian(trained) else {"code": mean}
    if "code" in own:
        activates = getattr(model, "code_activation", None) is not None
        after = [_activation(model.encoder.settings)] if activates else []
        return {"code": [_dense(params["code"]), *after]}
    if "projection" in own and (books := books_of(trained)) is not None:
        kernel = params["projection"]["kernel"]
        features = _features(trained)
        code = (*features[:-1], kernel.shape[-1])
        taps = (1,) * (len(features) - 1)
        one = {"kernel": kernel.reshape(*taps, *kernel.shape), "bias": params["projection"]["bias"]}
        project = _convolution("conv", one, features, code, 1, 0)
        return {"code": [project, *choice(trained, books)]}
    return {} if own else {"code": []}


def _features(trained: Trained) -> tuple[int, ...]:
    """The shape of what a convolutional encoder makes of an example."""
    e = trained.model.encoder
    shapes = feature_shapes(trained.info.shape, e.hidden_dims, e.strides, e.kernel_size, e.padding)
    return shapes[-1]


# What layers compute

_CONV = jax.jit(conv, static_argnums=(2, 3))
_CONV_TRANSPOSE = jax.jit(conv_transpose, static_argnums=(2, 3, 4))


def compute(layers: Layers, x: np.ndarray, classes: np.ndarray | None = None) -> np.ndarray:
    """The layers applied to (n, ...), as (n, numbers); `classes`, (n,), is for layers `label`.

    What the page computes, in JAX, with the same rounded weights.
    """
    h = jnp.asarray(x, jnp.float32)
    kept: list[jnp.ndarray] = []
    for layer in layers:
        h = h.reshape(len(h), -1)
        match layer["kind"]:
            case "keep":
                kept.append(h)
            case "add":
                h = h + kept.pop()
            case _:
                h = _apply(layer, h, classes)
    return np.asarray(h.reshape(len(h), -1))


def _apply(layer: Layer, h: jnp.ndarray, classes: np.ndarray | None) -> jnp.ndarray:
    def of(name: str) -> jnp.ndarray:
        return jnp.asarray(layer[name], jnp.float32)

    match layer["kind"]:
        case "dense":
            return h @ of("kernel") + of("bias")[None]
        case "conv":
            image = h.reshape(-1, *layer["before"])
            y = _CONV(image, of("kernel"), layer["stride"], layer["padding"])
            return y + jnp.broadcast_to(of("bias"), y.shape)
        case "conv_transpose":
            image, kernel = h.reshape(-1, *layer["before"]), of("kernel")
            k, s, p = kernel.shape[0], layer["stride"], layer["padding"]
            extra = tuple(output_padding_for(size, k, s, p) for size in layer["after"][:-1])
            y = _CONV_TRANSPOSE(image, kernel, s, p, extra)
            return y + jnp.broadcast_to(of("bias"), y.shape)
        case "affine":
            channels = h.reshape(len(h), -1, len(layer["scale"]))
            return channels * of("scale")[None, None] + of("shift")[None, None]
        case "activation":
            return LayerSettings(layer["name"], layer["slope"]).activate(h)
        case "label":
            assert classes is not None
            one_hot = np.equal.outer(classes, np.arange(layer["classes"])).astype(np.float32)
            return jnp.concatenate([h, jnp.asarray(one_hot)], axis=1)
        case "nearest":
            left = h.reshape(len(h), -1, layer["length"])
            total = jnp.zeros_like(left)
            for book in of("codes"):
                e = book[nearest(left, book)]
                total, left = total + e, left - e
            return total
    raise AssertionError(layer["kind"])
