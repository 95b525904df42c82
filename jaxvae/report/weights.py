"""The network of a run as a list of layers that a browser can compute.

Which layers there are follows from the modules that the package has; whether they are the model is
found out by computing both (`export`). A model of one's own that computes something else is
therefore noticed, whatever its modules are called, and its page goes without its network.

A layer is a dict: `kind`, and the numbers and arrays of that kind. Kernels are rounded to float16.

    dense      y = x @ kernel (in, out) + bias
    conv, conv_transpose
               as `jaxvae.models.convolution`: kernel (k, k, in, out), bias, stride, padding, and
               the shapes `before` and `after`; of signals with one axis less
    affine     y = x * scale + shift per channel, the last axis: BatchNorm with its statistics
    activation `name` of `jaxvae.models.layers.LayerSettings`, `slope` of leaky_relu
    label      the class as a one-hot vector is appended
    nearest    the row of `codes` (codes, length) next to each position's numbers
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Batch
from jaxvae.evaluation import Trained, decode, embed, pixels
from jaxvae.evaluation.trained import gaussian_posterior, is_images
from jaxvae.models import (
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    LayerSettings,
    decoder_mean,
    feature_shapes,
)
from jaxvae.models.autoencoders import OUTPUT_ACTIVATIONS
from jaxvae.models.convolution import conv, conv_transpose, output_padding_for
from jaxvae.models.layers import EPSILON
from jaxvae.models.vector_quantizer import nearest
from jaxvae.report.blobs import Blobs

Layer = dict[str, Any]
Layers = list[Layer]

LARGEST = 5_600_000
"""Bytes of weights in half precision that a page carries at most: 7.5 MB as letters."""
OPERATIONS = 300_000_000
"""Products per example that a page computes at most, about half a second of a browser."""
CLOSE = 0.02
"""How far the layers may be from the model, of the range of pixels or the spread of codes."""


class Network(NamedTuple):
    """What of a model the page can compute; None: that part it cannot.

    heads: by name what follows the encoder: `mean` and `logvar`, or `code`, the code of an AE, of a
        CAE or of a codebook.
    lacks: why a part is missing, in sentences.
    """

    encoder: Layers | None
    heads: dict[str, Layers]
    decoder: Layers | None
    lacks: tuple[str, ...]


def export(trained: Trained, examples: Batch) -> Network:
    """The layers of a model, each part compared with the model on some prepared examples."""
    code = embed(trained, examples)
    found = _layers(trained, code.shape[1:])
    if found is None:
        what = "its network has layers of its own, which this page does not know"
        return Network(None, {}, None, (f"The page cannot compute this model: {what}.",))
    encoder, heads, decoder = found
    lacks = []
    known: Layers | None = decoder
    if (why := _too_large(decoder)) or not _decodes(trained, decoder, code, examples.label):
        why = why or "it computes something that its layers alone do not say"
        lacks.append(f"The page cannot compute the decoder: {why}.")
        known = None
    every = [*encoder, *(layer for head in heads.values() for layer in head)]
    why = _too_large([*every, *(known or [])])
    if why or not heads or not _encodes(trained, encoder, heads, examples):
        why = why or "it computes something that its layers alone do not say"
        lacks.append(f"The page cannot compute the encoder: {why}.")
        return Network(None, {}, known, tuple(lacks))
    return Network(encoder, heads, known, tuple(lacks))


def _too_large(layers: Layers) -> str:
    size, operations = size_of(layers), operations_of(layers)
    if size > LARGEST:
        return f"its weights take {size / 1e6:.1f} MB in half precision, more than a page carries"
    if operations > OPERATIONS:
        return f"an image takes {operations / 1e6:,.0f} million products, too many for a browser"
    return ""


def size_of(layers: Layers) -> int:
    """Bytes of the arrays of some layers."""
    arrays = [a for layer in layers for a in layer.values() if isinstance(a, np.ndarray)]
    return sum(array.nbytes for array in arrays)


def operations_of(layers: Layers) -> int:
    """Products that an example takes."""
    total = 0
    for layer in layers:
        if layer["kind"] == "dense":
            total += layer["kernel"].size
        elif "before" in layer:  # every pixel of the smaller image meets the whole kernel
            small = layer["after"] if layer["kind"] == "conv" else layer["before"]
            total += math.prod(small[:-1]) * layer["kernel"].size
    return total


# From modules to layers


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


def _layers(
    trained: Trained, code_shape: tuple[int, ...]
) -> tuple[Layers, dict[str, Layers], Layers] | None:
    """Encoder, heads and decoder as the modules of the package would compute them."""
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
        width = len(outwards[0]["kernel"])
        outwards = (
            [with_label, *outwards] if width == code_shape[0] + info.num_classes else outwards
        )
    return inwards, _heads(trained), outwards


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
        return {name: [_dense(params[name])] for name in ("mean", "logvar")}
    if "code" in own:
        activates = getattr(model, "code_activation", None) is not None
        after = [_activation(model.encoder.settings)] if activates else []
        return {"code": [_dense(params["code"]), *after]}
    book = variables.get("codebook", params).get("codes")
    if "projection" in own and book is not None and book.ndim == 2:
        kernel = params["projection"]["kernel"]
        features = _features(trained)
        code = (*features[:-1], kernel.shape[-1])
        taps = (1,) * (len(features) - 1)
        one = {"kernel": kernel.reshape(*taps, *kernel.shape), "bias": params["projection"]["bias"]}
        chosen = {"kind": "nearest", "codes": _single(book), "length": book.shape[1]}
        return {"code": [_convolution("conv", one, features, code, 1, 0), chosen]}
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
    for layer in layers:
        h = _apply(layer, h.reshape(len(h), -1), classes)
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
            codes = of("codes")
            return codes[nearest(h.reshape(len(h), -1, codes.shape[1]), codes)]
    raise AssertionError(layer["kind"])


def decoded(trained: Trained, layers: Layers, z: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Examples from codes by the layers of a decoder: the mean of p(x|z), as `pixels` gives it."""
    output = trained.model.output
    raw = jnp.asarray(compute(layers, z, labels).reshape(-1, *trained.info.shape))
    activation = OUTPUT_ACTIVATIONS.get(output)
    return pixels(trained, decoder_mean(raw if activation is None else activation(raw), output))


def _decodes(trained: Trained, layers: Layers, z: np.ndarray, labels: np.ndarray) -> bool:
    """Whether they are the decoder: on codes, for another class too, and away from the codes."""
    other = (np.asarray(labels) + 1) % max(trained.info.num_classes, 1)
    for codes, of in ((z, labels), (z, other), (z + 0.5, labels)):
        try:
            ours = decoded(trained, layers, codes, np.asarray(of))
        except (TypeError, ValueError):  # shapes that do not fit
            return False
        truth = decode(trained, codes, of)
        spread = 1.0 if is_images(trained) else np.asarray(trained.info.scale or truth.std() + 1e-6)
        if not (np.abs(ours - truth) <= CLOSE * spread).all():
            return False
    return True


def _encodes(trained: Trained, encoder: Layers, heads: dict[str, Layers], batch: Batch) -> bool:
    """Whether they are the encoder: the code, and where there is one the posterior's logvar."""
    try:
        h = compute(encoder, np.asarray(batch.input), np.asarray(batch.label))
        found = {name: compute(head, h) for name, head in heads.items()}
    except (TypeError, ValueError):
        return False
    code = embed(trained, batch)
    own = found.get("mean", found.get("code"))
    assert own is not None
    code = code.reshape(len(code), -1)
    if own.shape != code.shape:
        return False
    wrong = np.abs(own - code) > CLOSE * max(float(code.std()), 0.1)
    quantised = any(layer["kind"] == "nearest" for head in heads.values() for layer in head)
    # Of two codes that are as near, rounding may choose the other.
    if wrong.mean() > (0.05 if quantised else 0):
        return False
    if "logvar" in found:
        posterior = gaussian_posterior(trained, batch)
        if posterior is None:
            return False
        return bool((np.abs(found["logvar"] - posterior[1]) <= 0.1).all())
    return True


# In the page


def as_json(network: Network, blobs: Blobs) -> dict[str, Any]:
    """The network with references for its arrays, which go into two blobs by precision.

    Of an array the reference is [dtype, offset, length]. Signals become images of height 1.
    """
    pools: dict[str, list[np.ndarray]] = {"float16": [], "float32": []}
    ends = dict.fromkeys(pools, 0)

    def reference(array: np.ndarray) -> list[Any]:
        dtype = str(array.dtype)
        start, ends[dtype] = ends[dtype], ends[dtype] + array.size
        pools[dtype].append(array.ravel())
        return [dtype, start, array.size]

    def plain(layer: Layer) -> Layer:
        own = layer
        if "before" in layer and len(layer["before"]) == 2:
            one = {name: (1, *layer[name]) for name in ("before", "after")}
            own = layer | one | {"kernel": layer["kernel"][None]}
        found = {n: reference(v) if isinstance(v, np.ndarray) else v for n, v in own.items()}
        if "before" in own:
            found["taps"] = own["kernel"].shape[:2]
            found["stride"] = [layer["stride"] if own is layer else 1, layer["stride"]]
            found["padding"] = [layer["padding"] if own is layer else 0, layer["padding"]]
        return found

    def each(layers: Layers | None) -> Layers | None:
        return None if layers is None else [plain(layer) for layer in layers]

    found: dict[str, Any] = {"decoder": each(network.decoder), "encoder": each(network.encoder)}
    found["heads"] = {name: each(head) for name, head in network.heads.items()}
    found["weights"] = {
        dtype: blobs.add(f"weights-{dtype}", np.concatenate(pool))
        for dtype, pool in pools.items()
        if pool
    }
    return found
