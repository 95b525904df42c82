"""Whether an imported model computes what the PyTorch model does, by results that it gave."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.models import decoder_mean

TOLERANCE = 1e-4
"""Largest difference, as a fraction of the largest output: many roundings of float32 (6e-8)."""


def compare(path: Path, model: Any, variables: Any, info: Any) -> dict[str, Any]:
    """Decode the posterior means of a file's `images`, and compare with its `outputs`.

    Args:
        path: an .npz of two floating-point arrays as PyTorch has them, (n, channels, height, width)
            or flat: `images` as the PyTorch model was given them, and its `outputs`: its
            reconstructions with z the mean, in evaluation mode, after the last activation. Where
            the model looks at labels, `labels` too, whole numbers.
        model: the module.
        variables: of the module.
        info: about its data.

    Raises:
        UsageError: another file, arrays of other shapes, or a difference above `TOLERANCE`.
    """
    images, outputs = (_read(path, name, info.shape) for name in ("images", "outputs"))
    if len(images) != len(outputs):
        raise UsageError(f"{path}: has {len(images)} images and {len(outputs)} outputs")
    x = jnp.asarray(np.moveaxis(images, 1, -1), jnp.float32)
    batch = Batch(x, x, jnp.asarray(_labels(path, len(x), info)), None, None, info)
    with jax.default_matmul_precision("highest"):
        decoded = jax.jit(model.apply)(variables, batch).decoded
    ours = np.moveaxis(np.asarray(decoder_mean(decoded, model.output)), -1, 1)
    difference = float(abs(ours - outputs).max() / max(abs(outputs).max(), np.float32(1e-30)))
    labels = "; a model that looks at labels needs them in the file, as `labels`"
    if not difference <= TOLERANCE:
        raise UsageError(
            f"{path}: the imported model computes something else: the largest difference of its"
            f" reconstructions is {difference:.2g} of the largest output, and {TOLERANCE:.0e} is"
            " allowed; names and shapes do not tell activations, strides, paddings and output:"
            " see the fields of --model" + (labels if (batch.label < 0).all() else "")
        )
    return {"images": len(images), "largest_difference": difference}


def _array(path: Path, name: str) -> np.ndarray | None:
    """Of a file; None: it has none of that name."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name]) if name in file else None
    except FileNotFoundError:
        raise UsageError(f"--check {path}: no such file") from None
    except Exception as error:  # a damaged file makes NumPy raise nearly anything
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UsageError(f"--check {path}: not an .npz of images and outputs ({text})") from error


def _labels(path: Path, count: int, info: Any) -> np.ndarray:
    """One for each image, -1 where the file has none."""
    labels = _array(path, "labels")
    if labels is None:
        return np.full(count, -1, np.int32)
    whole = labels.shape == (count,) and np.issubdtype(labels.dtype, np.integer)
    if not whole or labels.min() < 0 or labels.max() >= info.num_classes:
        raise UsageError(
            f"{path}: labels: must be {count} whole numbers in 0..{info.num_classes - 1}, one for"
            f" each image; these are {labels.dtype} of shape {labels.shape}"
        )
    return labels.astype(np.int32)


def _read(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Images (n, channels, height, width) of a file."""
    height, width, channels = shape
    array = _array(path, name)
    if array is None:
        raise UsageError(f"{path}: has no array {name!r}; it must have images and outputs")
    flat = math.prod(shape)
    allowed = [(channels, height, width), (flat,), (1, flat)]
    allowed += [(height, width)] if channels == 1 else []
    if array.shape[1:] not in allowed or len(array) == 0:
        raise UsageError(
            f"{path}: {name} has the shape {array.shape}: must be (n, {channels}, {height},"
            f" {width}), as PyTorch has them, or flat, (n, {flat})"
        )
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise UsageError(
            f"{path}: {name}: must be finite floating-point numbers, as the PyTorch model was given"
            f" and gave them; these are {array.dtype}"
        )
    return array.reshape(-1, channels, height, width)
