"""The network of a run as layers that a browser can compute, where these are the model.

Which layers there are follows from the modules that the package has; whether they are the model is
found out by computing both (`export`). A model of one's own that computes something else is
therefore noticed, whatever its modules are called, and its page goes without its network.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Batch
from jaxvae.evaluation import Trained, decode, embed, pixels
from jaxvae.evaluation.trained import gaussian_posterior, is_images
from jaxvae.models import decoder_mean
from jaxvae.models.autoencoders import OUTPUT_ACTIVATIONS
from jaxvae.report.blobs import Blobs
from jaxvae.report.layers import Layer, Layers, compute, layers_of

LARGEST = 5_600_000
"""Bytes of weights in half precision that a page carries at most: 7.5 MB as letters."""
OPERATIONS = 300_000_000
"""Products per example that a page computes at most, about half a second of a browser."""
CLOSE = 0.02
"""How far the layers may be from the model, of the range of pixels or the spread of codes."""
MORE = "it does more than the layers that a page computes"


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
    try:
        found = layers_of(trained, code.shape[1:])
    except KeyError:  # parameters of other names than the package's modules have
        found = None
    if found is None:
        what = "its network has layers of its own, which this page does not know"
        return Network(None, {}, None, (f"The page cannot compute this model: {what}.",))
    encoder, heads, decoder = found
    lacks = []
    known: Layers | None = decoder
    if (why := _too_large(decoder)) or not _decodes(trained, decoder, code, examples.label):
        why = why or MORE
        lacks.append(f"The page cannot compute the decoder: {why}.")
        known = None
    every = [*encoder, *(layer for head in heads.values() for layer in head)]
    why = _too_large([*every, *(known or [])])
    if why or not heads or not _encodes(trained, encoder, heads, examples):
        why = why or MORE
        nothing = "Nothing of your own can be encoded here."
        lacks.append(f"The page cannot compute the encoder: {why}. {nothing}")
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
