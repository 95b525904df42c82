"""What a trained model makes of examples and codes: functions from arrays to NumPy arrays.

Examples come in as the model sees them (`prepare`), codes have the model's own shape, and images
come back with pixels in [0, 1].
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxvae import noise
from jaxvae.batch import Batch, Examples, dummy
from jaxvae.checks import UsageError
from jaxvae.config import Data, Experiment
from jaxvae.data import LazyImages, Split
from jaxvae.data.checked import to_images, to_sixteen, to_values
from jaxvae.data.preprocess import preprocess, to_given, to_unit
from jaxvae.data.splits import seen_shape
from jaxvae.held import as_array
from jaxvae.info import Info
from jaxvae.models import decoder_mean
from jaxvae.noise import Noise

BATCH = 250  # examples per call of the model
PART = 1000  # examples of a split that are in memory at once, as the model sees them


class Trained(NamedTuple):
    """A model with its parameters, and the experiment that it came from."""

    experiment: Experiment
    model: Any
    variables: Any
    """`training.state.Variables`: those of the model, and the objective's parameters."""
    stored_shape: tuple[int, ...]
    """Of an example before `prepare`: (height, width, channels) of an image."""
    info: Info

    def __repr__(self) -> str:
        name = self.experiment.name[:60]
        return f"<Trained {name}: {type(self.model).__name__} of {_by(self.info.shape)}>"


@partial(jax.jit, static_argnames=("model", "method"))
def _apply(model: Any, variables: Any, batch: Batch, method: str | None) -> Any:
    return model.apply(variables, batch, method=method)


@partial(jax.jit, static_argnames="model")
def _decode(model: Any, variables: Any, z: jax.Array, batch: Batch) -> jax.Array:
    decoded = model.apply(variables, z, batch, method="decode")
    return decoder_mean(decoded, model.output)


@partial(jax.jit, static_argnames=("data", "info"))
def _preprocess(data: Data, examples: Examples, key: jax.Array, info: Info) -> Batch:
    return preprocess(data, examples, Noise(key, 0, examples.index), info).without_noise()


def _in_batches(function: Callable[..., Any], tree: Any) -> Any:
    """Apply `function` to batches of equal size, so that it is compiled once; drop the padding."""
    n = len(jax.tree.leaves(tree)[0])
    size = min(n, BATCH)
    parts = []
    for start in range(0, n, size):
        index = np.minimum(np.arange(start, start + size), n - 1)
        part = function(jax.tree.map(lambda x: x[index], tree))  # noqa: B023
        parts.append(jax.tree.map(lambda x: np.asarray(x)[: n - start], part))  # noqa: B023
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def prepare(trained: Trained, examples: Split | ArrayLike, index: ArrayLike | None = None) -> Batch:
    """Examples as the model sees them, without noise, so that posteriors are their means.

    Corruption and binarization are drawn as in validation, where they follow from the examples'
    positions in their split: `index`, (n,), by default 0, 1, ...

    Args:
        trained: the model.
        examples: a split, or an array of what `as_stored` takes.
        index: see above.

    Raises:
        UsageError: the examples are not such as the model was made for.
    """
    split = as_stored(trained, examples)
    x = np.asarray(split.images[:])
    index = np.arange(len(x)) if index is None else np.asarray(index)
    experiment = trained.experiment
    key = noise.stream(noise.root(experiment.seed), "evaluate")
    return _in_batches(
        lambda examples: _preprocess(experiment.data, examples, key, trained.info),
        Examples(x, split.every_label, index),
    )


def batches(
    trained: Trained, split: Split, index: np.ndarray | None = None
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Prepared examples of a split, a thousand at a time, and which they are."""
    index = np.arange(len(split.images)) if index is None else index
    for part in np.split(index, range(PART, len(index), PART)):
        yield prepare(trained, split.take(part), part), part


def as_stored(trained: Trained, examples: Split | ArrayLike) -> Split:
    """Examples in the form in which those of the run are stored.

    Images are given as `jaxvae.data.checked.to_images` takes them: integers, or floats in [0, 1].
    Grey ones become colour images where the run's are, and of another size they may be where the
    run resizes its own.

    Raises:
        UsageError: they are not such as the model was made for.
    """
    split = examples if isinstance(examples, Split) else Split(np.asarray(examples), None)
    refuse_single(trained, split.images.shape)
    if trained.info.maximum is None:
        images = split.images
        if images.dtype != np.float32 or images.ndim != len(trained.stored_shape) + 1:
            images, _ = to_values(np.asarray(images), "examples")
        if not trained.info.missing and np.isnan(images[:]).any():
            raise UsageError(
                "examples have missing values (NaN): the run was trained on none, so its model does"
                " not know what they are"
            )
    else:
        images = _as_images(trained, split.images)
    if seen_shape(trained.experiment.data, images.shape[1:]) != trained.info.shape:
        raise UsageError(
            f"examples of {_by(images.shape[1:])}: must be {_by(trained.stored_shape)}, as those"
            " that the run was trained on"
            + ("" if trained.info.maximum is None else " (with data.resize they may have any size)")
        )
    return split._replace(images=images)


def refuse_single(trained: Trained, shape: tuple[int, ...]) -> None:
    """Raise a UsageError where an array is one example, without a first axis that counts them.

    An image of the run's would otherwise be read as many of fewer axes.
    """
    stored, data = trained.stored_shape, trained.experiment.data
    whole = shape if len(shape) == len(stored) else (*shape, *stored[len(shape) :])
    channels = is_images(trained) and len(stored) == 3 and shape[2:] in ((), stored[2:])
    same = seen_shape(data, whole) == trained.info.shape if channels else whole == stored
    if len(shape) in (len(stored) - 1, len(stored)) and len(shape) > 0 and same:
        raise UsageError(
            f"one example of shape {shape}: must have a first axis, which counts examples, as"
            " x[None] or x[:1]"
        )


def _as_images(trained: Trained, images: np.ndarray | LazyImages) -> np.ndarray | LazyImages:
    """Images of the depth and the number of channels that the run's have."""
    maximum, channels = trained.info.maximum, trained.stored_shape[-1]
    assert maximum is not None
    dtype = np.uint8 if maximum == 255 else np.uint16
    if not isinstance(images, LazyImages):
        if maximum != 255 and images.dtype.kind == "f":
            images = to_sixteen(images, "images", maximum)
        else:
            images, _ = to_images(images, "images", deep=maximum != 255)
    if images.dtype != dtype:
        raise UsageError(
            f"images of {images.dtype}: must be {np.dtype(dtype)} or floats in [0, 1], since the"
            f" brightest pixel of the run's own is {maximum}"
        )
    whole = not isinstance(images, LazyImages)  # others are read when they are used
    if maximum != 255 and whole and (largest := int(images[:].max())) > maximum:
        raise UsageError(
            f"images of values up to {largest}: the brightest pixel of the run's own is {maximum}"
        )
    if isinstance(images, LazyImages) or images.shape[-1] == channels:
        return images
    if images.shape[-1] == 1 and channels == 3:
        return np.repeat(images, 3, axis=-1)
    if images.shape[-1] == 3 and channels == 1 and (images == images[..., :1]).all():
        return images[..., :1]
    raise UsageError(
        f"images of {images.shape[-1]} channels: must have {channels}, as those that the run was"
        " trained on" + ("; make them grey" if channels == 1 else "")
    )


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def codes_of(trained: Trained, batch: Batch) -> Any:
    """Codes of prepared examples, (n, ...), of several layers a dict of them."""
    return _in_batches(lambda b: _apply(trained.model, trained.variables.model, b, "embed"), batch)


def embed(trained: Trained, batch: Batch, layer: str | None = None) -> np.ndarray:
    """Codes of prepared examples, (n, ...): posterior means, feature maps of a CAE.

    Where the model has several layers, those of `layer`; by default of the one that is decoded.

    Raises:
        UsageError: there is no such layer.
    """
    codes = codes_of(trained, batch)
    if not isinstance(codes, dict):
        if layer is not None:
            raise UsageError(f"--layer = {layer!r}: must be left out: this model has one layer")
        return codes
    layer = next(iter(codes)) if layer is None else layer
    if layer not in codes:
        raise UsageError(f"--layer = {layer!r}: must be one of {', '.join(codes)}")
    return codes[layer]


def kl_per_latent(trained: Trained, batch: Batch) -> np.ndarray | None:
    """KL(q(z_j|x) || N(0, 1)) of prepared examples, (n, latents), in nats.

    None where posterior and prior are not compared latent by latent.
    """
    return _in_batches(
        lambda b: _apply(trained.model, trained.variables.model, b, None).aux.get("kl_per_latent"),
        batch,
    )


def has_gaussian(trained: Trained) -> bool:
    """Whether q(z|x) = N(mean, exp(logvar)), and its KL is that to N(0, I), latent by latent."""
    variables, one = trained.variables.model, dummy(trained.info)
    return "kl_per_latent" in jax.eval_shape(trained.model.apply, variables, one).aux


def gaussian_posterior(trained: Trained, batch: Batch) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and logvar of q(z|x) of prepared examples, (n, latents) each.

    None where they are not Gaussians that are compared with N(0, I) (`has_gaussian`).
    """
    if not has_gaussian(trained):
        return None

    def of(batch: Batch) -> tuple[jax.Array, jax.Array]:
        aux = _apply(trained.model, trained.variables.model, batch, None).aux
        return aux["mean"], aux["logvar"]

    found: tuple[np.ndarray, np.ndarray] = _in_batches(of, batch)
    return found


def check_codes(trained: Trained, z: ArrayLike, label: ArrayLike | None) -> np.ndarray:
    """Codes as an array, (n, ...).

    Raises:
        UsageError: they are not of the shape that the model decodes, or not as many as the labels.
    """
    x = np.zeros((1, *trained.info.shape), np.float32)
    one = replace(of(trained, np.full(1, -1, np.int32)), input=x, target=x)
    known = _apply.eval_shape(trained.model, trained.variables.model, one, "embed")
    known = next(iter(known.values())) if isinstance(known, dict) else known
    codes = as_array("z", z)
    shape = codes.shape
    if codes.dtype.kind not in "iuf" or shape[1:] != known.shape[1:] or len(codes) == 0:
        wanted = ", ".join(map(str, ("n", *known.shape[1:])))
        one_code = "; of one code give z[None]" if shape == known.shape[1:] else ""
        raise UsageError(
            f"z: {codes.dtype} of shape {shape}: must be numbers of shape ({wanted}), with n at"
            f" least 1{one_code}"
        )
    if label is not None and np.shape(label) != shape[:1]:
        raise UsageError(f"label: of shape {np.shape(label)}: must be {shape[:1]}, one per code")
    return codes


def decode(trained: Trained, z: ArrayLike, label: ArrayLike | None = None) -> np.ndarray:
    """Examples from codes, (n, ...): the mean of p(x|z), pixels in [0, 1].

    `label`, (n,), is for models that know one; by default -1, none.
    """
    z = np.asarray(z)
    label = np.full(len(z), -1, np.int32) if label is None else np.asarray(label, np.int32)
    decoded = _in_batches(
        lambda zs: _decode(trained.model, trained.variables.model, zs[0], of(trained, zs[1])),
        (z, label),
    )
    return pixels(trained, decoded)


def of(trained: Trained, label: Any, own: Noise | None = None) -> Batch:
    """A batch that is nothing but labels, and noise to draw codes with."""
    return Batch(None, None, jnp.asarray(label), None, own, trained.info)


def reconstruct(trained: Trained, batch: Batch) -> np.ndarray:
    """Prepared examples through the deterministic code and back, pixels in [0, 1]."""
    return decode(trained, embed(trained, batch), batch.label)


def pixels(trained: Trained, x: ArrayLike) -> np.ndarray:
    """Images from the data's range to pixels in [0, 1], clipped; other values in their units."""
    if not is_images(trained):
        return to_given(trained.info, np.asarray(x))
    return np.clip(to_unit(trained.experiment.data, np.asarray(x)), 0, 1)


def is_images(trained: Trained) -> bool:
    """Whether the examples can be drawn as images."""
    return trained.info.maximum is not None


def sample(
    trained: Trained, n: int, seed: int = 0, label: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """`n` codes from the model's prior, and the examples decoded from them.

    Args:
        trained: the model.
        n: how many.
        seed: of the draws.
        label: of all of them, for a model that knows labels; by default each class in turn.

    Raises:
        UsageError: the model has no prior.
    """
    labels = labels_for(trained, n, label)
    _, z = from_prior(trained, labels, seed)
    return np.asarray(z), decode(trained, z, labels)


def labels_for(trained: Trained, n: int, label: int | None) -> np.ndarray:
    """What is sampled: one class, or each in turn; -1 where there are none."""
    classes = trained.info.num_classes
    if label is None:
        return np.arange(n, dtype=np.int32) % classes if classes else np.full(n, -1, np.int32)
    if not 0 <= label < classes:
        allowed = f"in 0..{classes - 1}" if classes else "left out: the examples have no labels"
        raise UsageError(f"--label = {label}: must be {allowed}")
    return np.full(n, label, np.int32)


def from_prior(trained: Trained, labels: np.ndarray, seed: int) -> tuple[Noise, jax.Array]:
    """Codes from the model's prior, (n, ...), one per label, and the noise that draws them."""
    own = Noise(noise.root(seed), 0, jnp.arange(len(labels)))
    batch = of(trained, labels, own)
    return own, trained.model.apply(trained.variables.model, batch, method="prior")


def has_prior(trained: Trained) -> bool:
    """Whether the model can be sampled."""
    try:
        jax.eval_shape(lambda: from_prior(trained, np.zeros(1, np.int32), 0))
    except UsageError:
        return False
    return True


def has_standard_prior(trained: Trained) -> bool:
    """Whether p(z) = N(0, I), whatever q(z|x) is: draws are the noise "sample", as it is.

    A prior that is trained, and begins as N(0, I), is told once it has moved.
    """
    if not has_prior(trained):
        return False
    own, z = from_prior(trained, labels_for(trained, 8, None), seed=0)
    return np.array_equal(z, own.normal("sample", z.shape[1:]))


def knows_labels(trained: Trained) -> bool:
    """Whether what the model decodes depends on a label."""
    if trained.info.num_classes < 2:
        return False
    x = jnp.zeros((1, *trained.info.shape))
    one = replace(of(trained, np.zeros(1, np.int32)), input=x, target=x)
    z = embed(trained, one)
    return bool(np.any(decode(trained, z, [0]) != decode(trained, z, [1])))
