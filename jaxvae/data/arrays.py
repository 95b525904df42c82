"""Arrays as a data set: of a NumPy file, one (.npy) or several by name (.npz), or of others."""

import math
import os
import reprlib
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxvae.checks import UsageError, reason
from jaxvae.data.checked import class_names, to_factors, to_images, to_labels, to_values
from jaxvae.data.found import Found, as_found, type_and_range
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
FACTORS = {
    "train": ("train_factors", "factors"),
    "validation": ("val_factors", "validation_factors"),
    "test": ("test_factors",),
}
"""Keys that may hold what the examples of a part were made from."""
DEFLATED = 1032
"""As many times larger than its compressed form can a file in a zip archive be."""


def find(path: Path) -> Found:
    """The examples of a .npy or .npz file.

    A .npy file of rank 2 holds rows, of rank 3 or 4 images. In a .npz file it is as in `of_named`.

    Raises:
        UsageError: the file is damaged, its images or labels hold Python objects, or they do not
            fit the above.
    """
    if not path.is_file():
        raise UsageError(f"{path}: not a file")  # a pipe would be waited for
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange headers, which are read or refused
            return _read(file, path)
    except UsageError:
        raise
    except Exception as error:  # zip, zlib, NumPy and the file system each raise their own
        raise UsageError(f"{path}: not a readable NumPy file ({reason(error)})") from error


def of_named(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    notes: Sequence[str] = (),
) -> Found:
    """The examples of a file that holds arrays by name.

    They are `images` (or just one array of rank 3 or 4) and optionally `labels`; or `train_images`,
    `train_labels`, and the same for `val` and `test`; or `x_train`, `y_train`, and so on. Images
    and labels are those of `jaxvae.data.checked`. Other arrays are not read, and named.

    Examples that are no images, such as rows of a table (n, features) or signals (n, length,
    channels), are `values`, or `train_values`, `val_values` and `test_values`, kept as float32;
    those that are not a number count as not observed. `columns` may name the features of rows.

    What examples were made from are `factors`, or `train_factors`, `val_factors` and
    `test_factors`: integers (n, factors), which `factor_names` may name.

    Args:
        path: the file.
        shapes: of every array in it.
        read: reads one.
        notes: what else there is to say.

    Raises:
        UsageError: no array is that of images, or arrays do not fit together.
    """
    train = next((name for name in NAMES["train"] if name in shapes), None)
    held_out = (*NAMES["validation"], *NAMES["test"])
    if train is None:
        candidates = [
            n for n, shape in shapes.items() if len(shape) in (3, 4) and n not in held_out
        ]
        if len(candidates) != 1:
            there = reprlib.repr(sorted(shapes))
            raise UsageError(
                f"{path}: needs an array named `images` or `train_images` (or `values`, of what is"
                f" no image), or exactly one of rank 3 or 4; it holds {there}"
            )
        train = candidates[0]
    names = {"train": train}
    for part in ("validation", "test"):
        if name := next((n for n in NAMES[part] if n in shapes), None):
            names[part] = name
    label_of = {name: LABELS.get(name, "labels") for name in names.values()}
    factors_of = {
        part: key for part in names if (key := next(filter(shapes.get, FACTORS[part]), None))
    }
    factor_names = read("factor_names") if factors_of and "factor_names" in shapes else None

    def factors(part: str) -> dict[str, np.ndarray] | None:
        if part not in factors_of:
            return None
        key, n = factors_of[part], math.prod(shapes[names[part]][:1])
        return to_factors(read(key), n, f"{path}: {key}", factor_names)

    parts = {
        part: Given(
            read(name),
            read(label_of[name]) if label_of[name] in shapes else None,
            f"{path}: {name}",
            f"{path}: {label_of[name]}",
            factors(part),
        )
        for part, name in names.items()
    }
    columns = _columns(path, read("columns"), shapes[train]) if "columns" in shapes else ()
    used = {*label_of, *label_of.values(), *factors_of.values(), "columns"}
    if factors_of:
        used.add("factor_names")
    if ignored := [name for name in shapes if name not in used]:
        notes = [*notes, f"not read: {', '.join(ignored)}"]
    return of_arrays(path.name, parts, train not in VALUES, notes, path.stem, columns)


def _columns(path: Path, names: np.ndarray, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of a table's columns, one per feature."""
    if names.shape != shape[1:] or names.dtype.kind != "U":
        raise UsageError(
            f"{path}: columns has shape {names.shape} of {names.dtype}: must be names, one for each"
            f" of the {shape[1:]} features"
        )
    return tuple(names.tolist())


class Given(NamedTuple):
    """Arrays of one part, and how messages name them."""

    examples: np.ndarray
    labels: np.ndarray | None
    name: str
    name_of_labels: str
    factors: Mapping[str, np.ndarray] | None = None


def of_arrays(
    name: str,
    parts: Mapping[str, Given],
    images: bool,
    notes: Sequence[str],
    stem: str,
    columns: tuple[str, ...] = (),
) -> Found:
    """Arrays as a source, checked.

    Args:
        name: what is said of it starts with it.
        parts: arrays of `train`, and perhaps of `validation` and `test`.
        images: whether they are images, or else values.
        notes: what else there is to say.
        stem: the source's name.
        columns: names of the features of a table's rows.

    Raises:
        UsageError: the arrays are neither.
    """
    splits, said = {}, [*notes]
    every_label = [part.labels for part in parts.values() if part.labels is not None]
    classes = class_names(every_label)
    # Of several parts, one may be dark by chance.
    deep = any(p.examples.dtype == np.uint16 and p.examples.max() > 255 for p in parts.values())
    for key, part in parts.items():
        if images:
            examples, notes_of_examples = to_images(part.examples, part.name, deep)
        else:
            examples, notes_of_examples = to_values(part.examples, part.name)
        labels = None
        if part.labels is not None:
            labels, notes_of_labels = to_labels(
                part.labels, len(examples), part.name_of_labels, classes
            )
            said += notes_of_labels
        said += notes_of_examples
        splits[key] = Split(examples, labels, factors=part.factors)
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
        columns,
    )
    return as_found(source, name, [*dict.fromkeys(said)], type_and_range(parts["train"].examples))


def _read(file: IO[bytes], path: Path) -> Found:
    """Python objects are never loaded: a file that somebody shares must not be able to run code."""
    size = os.fstat(file.fileno()).st_size
    if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
        file.seek(0)
        _shape(file, size)
        file.seek(0)
        array = np.load(file, allow_pickle=False)
        name = "values" if array.ndim == 2 else "images"
        given = Given(array, None, f"{path}: {name}", "")
        return of_arrays(path.name, {"train": given}, name == "images", (), path.stem)

    with zipfile.ZipFile(file) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
        members = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        shapes = {}
        for name, entry in members.items():
            largest = DEFLATED * min(entry.compress_size, size)
            with archive.open(entry) as member:
                shapes[name] = _shape(member, min(entry.file_size, largest))

        def read(name: str) -> np.ndarray:
            with archive.open(members[name]) as member:
                return np.lib.format.read_array(member, allow_pickle=False)

        others = [entry.filename for entry in archive.infolist() if entry not in entries]
        return of_named(path, shapes, read, [f"not read: {', '.join(others)}"] if others else [])


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
