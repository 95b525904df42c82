"""Images in a NumPy file: one array (.npy), or arrays by name (.npz)."""

import math
import os
import reprlib
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.checked import class_names, to_images, to_labels, to_values
from jaxvae.data.found import Found, as_found
from jaxvae.data.splits import Source, Split

NAMES = {
    "train": ("train_images", "x_train", "images", "train_values", "values"),
    "validation": ("val_images", "validation_images", "x_val", "val_values", "validation_values"),
    "test": ("test_images", "x_test", "test_values"),
}
"""Keys of a .npz file that may hold the examples of a part; the first one present is used."""
VALUES = ("train_values", "values", "val_values", "validation_values", "test_values")
"""Of these keys, those of examples that are no images: rows of a table, signals."""
LABELS = {
    name: f"y_{name[2:]}"
    if name.startswith("x_")
    else f"{name.rpartition('_')[0]}_labels".strip("_")
    for names in NAMES.values()
    for name in names
}
"""The key that holds the labels, for each key of examples."""
DEFLATED = 1032
"""As many times larger than its compressed form can a file in a zip archive be."""


def find(path: Path) -> Found:
    """The examples of a .npy or .npz file.

    A .npz file holds `images` (or just one array of rank 3 or 4) and optionally `labels`; or
    `train_images`, `train_labels`, and the same for `val` and `test`; or `x_train`, `y_train`, and
    so on. Images and labels are those of `jaxvae.data.checked`. Other arrays are not read, and
    named.

    Examples that are no images, such as rows of a table (n, features) or signals (n, length,
    channels), are `values`, or `train_values` and `test_values`, kept as float32; those that are
    not a number count as not observed. A .npy file of rank 2 holds rows.

    Raises:
        UsageError: the file is damaged, its images or labels hold Python objects, or they do not
            fit the above.
    """
    if not path.is_file():
        raise UsageError(f"{path}: not a file")  # a pipe would be waited for
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange headers, which are read or refused
            arrays, ignored = _read(file, path)
    except UsageError:
        raise
    except Exception as error:  # zip, zlib, NumPy and the file system each raise their own
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise UsageError(f"{path}: not a readable NumPy file ({reason})") from error

    names = {"train": next(iter(arrays))}
    for part in ("validation", "test"):
        if name := next((n for n in NAMES[part] if n in arrays), None):
            names[part] = name
    labels = {name: arrays.get(LABELS.get(name, "labels")) for name in names.values()}
    return of_arrays(
        path.name,
        {
            part: Given(
                arrays[name],
                labels[name],
                f"{path}: {name}",
                f"{path}: {LABELS.get(name, 'labels')}",
            )
            for part, name in names.items()
        },
        images=names["train"] not in VALUES,
        notes=[f"not read: {', '.join(ignored)}"] if ignored else [],
        stem=path.stem,
    )


class Given(NamedTuple):
    """Arrays of one part, and how messages name them."""

    examples: np.ndarray
    labels: np.ndarray | None
    name: str
    name_of_labels: str


def of_arrays(
    name: str, parts: Mapping[str, Given], images: bool, notes: Sequence[str], stem: str
) -> Found:
    """Arrays as a source, checked.

    Args:
        name: what is said of it starts with it.
        parts: arrays of `train`, and perhaps of `validation` and `test`.
        images: whether they are images, or else values.
        notes: what else there is to say.
        stem: the source's name.

    Raises:
        UsageError: the arrays are neither.
    """
    splits, said, classes = {}, [*notes], None
    every_label = [part.labels for part in parts.values() if part.labels is not None]
    classes = class_names(every_label)
    for key, part in parts.items():
        read = to_images if images else to_values
        examples, notes_of_examples = read(part.examples, part.name)
        labels = None
        if part.labels is not None:
            labels, notes_of_labels = to_labels(
                part.labels, len(examples), part.name_of_labels, classes
            )
            said += notes_of_labels
        said += notes_of_examples
        splits[key] = Split(examples, labels)
    for key, own in splits.items():
        if own.images.shape[1:] != splits["train"].images.shape[1:]:
            kind = "images" if images else "values"
            raise UsageError(
                f"{name}: training and {key} {kind} differ in shape,"
                f" {splits['train'].images.shape[1:]} and {own.images.shape[1:]}"
            )
        if own.images.dtype != splits["train"].images.dtype:
            raise UsageError(
                f"{name}: training images are {splits['train'].images.dtype}, {key} images"
                f" {own.images.dtype}: give them in one type"
            )
    source = Source(
        stem,
        splits["train"],
        splits.get("test"),
        classes,
        f"{'images' if images else 'values'} of {name}",
        splits.get("validation"),
    )
    return as_found(source, name, [*dict.fromkeys(said)], str(parts["train"].examples.dtype))


def _read(file: IO[bytes], path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of images and labels, the training images first; and names of what is not read.

    Python objects are never loaded: a file that somebody shares must not be able to run code.
    """
    size = os.fstat(file.fileno()).st_size
    if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
        file.seek(0)
        _shape(file, size)
        file.seek(0)
        array = np.load(file, allow_pickle=False)
        return {"values" if array.ndim == 2 else "images": array}, []

    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        members = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        shapes = {}
        for name, entry in members.items():
            largest = DEFLATED * min(entry.compress_size, size)
            with archive.open(entry) as member:
                shapes[name] = _shape(member, min(entry.file_size, largest))
        train = next((name for name in NAMES["train"] if name in shapes), None)
        if train is None:
            candidates = [
                name
                for name, shape in shapes.items()
                if len(shape) in (3, 4) and name not in (*NAMES["validation"], *NAMES["test"])
            ]
            if len(candidates) != 1:
                there = reprlib.repr(sorted(shapes))
                raise UsageError(
                    f"{path}: needs an array named `images` or `train_images` (or `values`, of what"
                    f" is no image), or exactly one of rank 3 or 4; it holds {there}"
                )
            train = candidates[0]
        others = [*NAMES["validation"], *NAMES["test"]]
        needed = (train, LABELS.get(train, "labels"), *others, *(LABELS[n] for n in others))
        arrays = {}
        for name in needed:
            if name in members:
                with archive.open(members[name]) as member:
                    arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    ignored = [
        entry.filename
        for entry in archive.infolist()
        if entry.filename.removesuffix(".npy") not in arrays
    ]
    return arrays, ignored


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
