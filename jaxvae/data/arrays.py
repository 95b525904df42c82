"""Images in a NumPy file: one array (.npy), or arrays by name (.npz)."""

import logging
import math
import os
import reprlib
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.splits import Source, Split

log = logging.getLogger("jaxvae")

TRAIN_NAMES = ("train_images", "x_train", "images", "train_values", "values")
"""Keys of a .npz file that may hold the training examples; the first one present is used."""
TEST_NAMES = ("test_images", "x_test", "test_values")
"""Keys of a .npz file that may hold the test examples."""
VALUES = ("train_values", "values", "test_values")
"""Of these keys, those of examples that are no images: rows of a table, signals."""
LABELS = {
    "train_images": "train_labels",
    "x_train": "y_train",
    "images": "labels",
    "test_images": "test_labels",
    "x_test": "y_test",
    "values": "labels",
    "train_values": "train_labels",
    "test_values": "test_labels",
}
"""The key that holds the labels, for each key of examples."""
DEFLATED = 1032
"""As many times larger than its compressed form can a file in a zip archive be."""


def load(path: Path) -> Source:
    """The images of a .npy or .npz file.

    A .npz file holds `images` (or just one array of rank 3 or 4) and optionally `labels`; or
    `train_images`, `train_labels`, `test_images`, `test_labels`; or `x_train`, `y_train`,
    `x_test`, `y_test`. Images are (n, height, width) or (n, height, width, channels) with 1 to 4
    channels: integers in 0..255, floats in [0, 1] (kept as multiples of 1/255), or booleans. Labels
    are integers that fit int32. Other arrays are not read.

    Examples that are no images, such as rows of a table (n, features) or signals (n, length,
    channels), are `values`, or `train_values` and `test_values`, kept as float32; those that are
    not a number count as not observed. A .npy file of rank 2 holds rows.

    Raises:
        ValueError: the file is damaged, its images or labels hold Python objects, or they do not
            fit the above.
    """
    if not path.is_file():
        raise UsageError(f"{path}: not a file")  # a pipe would be waited for
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange headers, which are read or refused
            arrays = _read(file, path)
    except UsageError:
        raise
    except Exception as error:  # zip, zlib, NumPy and the file system each raise their own
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise UsageError(f"{path}: not a readable NumPy file ({reason})") from error

    train, test = next(iter(arrays)), next((n for n in TEST_NAMES if n in arrays), None)
    source = Source(
        name=path.stem,
        train=_split(path, arrays, train),
        test=None if test is None else _split(path, arrays, test),
        classes=None,
        description=f"{'values' if train in VALUES else 'images'} of {path.name}",
    )
    if source.test is not None and source.test.images.shape[1:] != source.train.images.shape[1:]:
        raise UsageError(
            f"{path}: training and test images differ in shape,"
            f" {source.train.images.shape[1:]} and {source.test.images.shape[1:]}"
        )
    return source


def _read(file: IO[bytes], path: Path) -> dict[str, np.ndarray]:
    """The arrays of images and labels, the training images first.

    Python objects are never loaded: a file that somebody shares must not be able to run code.
    """
    size = os.fstat(file.fileno()).st_size
    if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
        file.seek(0)
        _shape(file, size)
        file.seek(0)
        array = np.load(file, allow_pickle=False)
        return {"values" if array.ndim == 2 else "images": array}

    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        members = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        shapes = {}
        for name, entry in members.items():
            largest = DEFLATED * min(entry.compress_size, size)
            with archive.open(entry) as member:
                shapes[name] = _shape(member, min(entry.file_size, largest))
        train = next((name for name in TRAIN_NAMES if name in shapes), None)
        if train is None:
            candidates = [
                name
                for name, shape in shapes.items()
                if len(shape) in (3, 4) and name not in TEST_NAMES
            ]
            if len(candidates) != 1:
                there = reprlib.repr(sorted(shapes))
                raise UsageError(
                    f"{path}: needs an array named `images` or `train_images` (or `values`, of what"
                    f" is no image), or exactly one of rank 3 or 4; it holds {there}"
                )
            train = candidates[0]
        needed = (train, LABELS.get(train, "labels"), *TEST_NAMES, *(LABELS[n] for n in TEST_NAMES))
        arrays = {}
        for name in needed:
            if name in members:
                with archive.open(members[name]) as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    return arrays


def _shape(file: IO[bytes], size: int) -> tuple[int, ...]:
    """The shape of the array in a file that has `size` bytes.

    Raises:
        ValueError: it announces more numbers than these bytes can hold, or no array at all.
    """
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields, which images do not have
        raise ValueError(f"its NumPy format is {version}, not (1, 0) or (2, 0)")
    shape, _, dtype = (
        np.lib.format.read_array_header_1_0(file)
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0(file)
    )
    needed = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and needed > size - file.tell():
        raise ValueError(
            f"its header announces {needed} bytes, of shape {reprlib.repr(shape)}, but it holds at"
            f" most {max(0, size - file.tell())}"
        )
    return shape


def _split(path: Path, arrays: dict[str, np.ndarray], name: str) -> Split:
    read = to_float32 if name in VALUES else to_uint8
    images = read(arrays[name], f"{path}: {name}")
    key = LABELS.get(name, "labels")
    if key not in arrays:
        return Split(images, None)
    labels = arrays[key]
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise UsageError(
            f"{path}: {key} has shape {labels.shape}: must be ({len(images)},), one per image"
        )
    if labels.dtype.kind not in "iu":
        raise UsageError(f"{path}: {key} has dtype {labels.dtype}: must be integers")
    low, high, bounds = int(labels.min()), int(labels.max()), np.iinfo(np.int32)
    if low < bounds.min or high > bounds.max:
        raise UsageError(
            f"{path}: {key} has values from {low} to {high}: must be within"
            f" [{bounds.min}, {bounds.max}]"
        )
    return Split(images, labels.reshape(-1).astype(np.int32))


def to_float32(values: np.ndarray, name: str) -> np.ndarray:
    """Examples of numbers as float32 (n, ...); NaN: not observed.

    Raises:
        UsageError: shape, dtype or values are not those of numbers; the message starts with `name`.
    """
    if values.ndim < 2 or values.size == 0:
        raise UsageError(f"{name} has shape {values.shape}: must be (n, ...), with n at least 1")
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{name} has dtype {values.dtype}: must be numbers")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if bad := int(np.isinf(values).sum()):
        raise UsageError(f"{name} has {bad} infinite values: must be finite, or NaN where unknown")
    if unknown := float(np.isnan(values).mean()):
        log.info("%s: %.1f %% of the values are not a number: not observed", name, 100 * unknown)
    return values


def to_uint8(images: np.ndarray, name: str) -> np.ndarray:
    """Images as uint8 (n, height, width, channels); floats in [0, 1] become round(255 x).

    Raises:
        ValueError: shape, dtype or values are not those of images; the message starts with `name`.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.size == 0 or images.shape[-1] > 4:
        raise UsageError(
            f"{name} has shape {images.shape}: must be (n, height, width) or (n, height, width,"
            " channels), channels last, with at least one image and 1 to 4 channels"
        )
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype.kind in "iu" and images.max() == 1:
        log.warning(
            "%s: the integers 0 and 1 are taken as they are, of 0..255: almost black; black and"
            " white images are given as booleans",
            name,
        )
    if images.dtype == np.uint8:
        return images

    floating = images.dtype.kind == "f"
    if images.dtype.kind not in "iuf":
        raise UsageError(
            f"{name} has dtype {images.dtype}: must be integers in 0..255, floats in [0, 1] or bool"
        )
    with np.errstate(invalid="ignore"):  # of values that are not a number
        low, high, top = images.min(), images.max(), 1 if floating else 255
        if not (low >= 0 and high <= top):  # also where a value is not a number
            good = ((images >= 0) & (images <= top)).reshape(len(images), -1).all(axis=1)
            raise UsageError(
                f"{name} has {images.dtype} values from {low} to {high}: must be within [0, {top}]"
                + (" (or integers in 0..255)" if floating else "")
                + f"; the first image with others is number {good.argmin()}, counted from 0"
            )
    if floating:
        scaled = images * images.dtype.type(255)
        images = np.rint(scaled)
        if np.abs(images - scaled).max() > 0.2:  # more than float16's rounding, 0.13
            log.info("%s: floats are rounded to multiples of 1/255", name)
    return images.astype(np.uint8)
