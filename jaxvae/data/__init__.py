"""Images: from TensorFlow Datasets, scikit-learn, NumPy files or folders to uint8 arrays.

With `data.streaming`, sets of TensorFlow Datasets and folders stay in their files instead.
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae import config, processes
from jaxvae.checks import UsageError, require
from jaxvae.data import looks
from jaxvae.data.decode import resized
from jaxvae.data.found import Found, as_found
from jaxvae.data.lazy import LazyImages, concatenate
from jaxvae.data.splits import Dataset, Source, Split, info, split
from jaxvae.held import Held, refuse_name_alone

__all__ = ["Dataset", "LazyImages", "Split", "available", "fingerprint", "info", "load", "whole"]

log = logging.getLogger("jaxvae")

USUAL = ("mnist", "fashion_mnist", "cifar10")
"""Sets of TensorFlow Datasets that `available` lists even where they are missing."""


def load(data: config.Data) -> Dataset:
    """Read the examples that `data` names, and divide them; what was found is logged first.

    Decoded sets are kept in `$JAXVAE_CACHE` (by default `~/.cache/jaxvae`). With `data.streaming`
    nothing is decoded here: the splits are the same, with `LazyImages` in the place of arrays.

    Raises:
        FileNotFoundError: there is no such file, or a set of TensorFlow Datasets is not prepared.
        UsageError: the source is unknown, damaged, does not hold what `data` asks for, or cannot be
            streamed.
    """
    found = _found(data)
    line = found.line(data)
    _say(logging.INFO, line)
    source = _read(found, data)
    dataset = split(source, data)
    noticed = looks.noticed(source)
    for warning in noticed:
        _say(logging.WARNING, f"{found.name}: {warning}")
    scaled = []
    if dataset.train.images.dtype == np.uint16:
        scaled = [f"the brightest pixel, {info(dataset, data).maximum}, is seen as 1"]
        _say(logging.INFO, f"{found.name}: {scaled[0]}")
    return dataset._replace(said=(line, *scaled, *noticed))


def _say(level: int, line: str) -> None:
    """Once, where several processes read the same."""
    if processes.is_first():
        log.log(level, "%s", line)


def whole(data: config.Data) -> tuple[Split, tuple[str, ...] | None]:
    """Every example that `data.source` holds, in stored order (training first), and the classes.

    Raises:
        FileNotFoundError, UsageError: as `load`.
    """
    found = _found(data)
    total = sum(found.counts.values())
    _say(logging.INFO, "; ".join([f"{found.name}: {total:,} {found.what}", *found.notes]))
    source = _read(found, data)
    parts = [*source.parts.values()]
    if len(parts) == 1:
        return source.train, source.classes
    images = concatenate([part.images for part in parts])
    labels = [part.labels for part in parts if part.labels is not None]
    names = [name for part in parts for name in part.names or ()]
    return (
        Split(
            images,
            np.concatenate(labels) if len(labels) == len(parts) else None,
            names if len(names) == len(images) else None,
        ),
        source.classes,
    )


def _read(found: Found, data: config.Data) -> Source:
    """The source, once it is known that its labels have names, in the size that Pillow makes."""
    source = _checked(found.read(), repr(data.source))
    if data.resize is None or data.resize_rule != "pillow":
        return source
    parts = {name: _resized(part, data) for name, part in source.parts.items()}
    return source._replace(
        train=parts["train"], test=parts.get("test"), validation=parts.get("validation")
    )


def _resized(part: Split, data: config.Data) -> Split:
    images, size = part.images, data.resize
    if isinstance(images, LazyImages) or size is None or images.shape[1:3] == size:
        return part  # files are resized when they are decoded
    require(images.dtype == np.uint8, "data.resize_rule", "pillow", "'jax' for 16 bits")
    return part._replace(images=resized(images, size))


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """What tells data sets apart: how many images there are to train on and to validate on, and a
    digest of up to 64 of each, evenly spaced. Whether all are the same would take reading all."""
    found = hashlib.blake2b(digest_size=16)
    for part in (dataset.train, dataset.validation):
        n = len(part.images)
        found.update(part.images[np.unique(np.linspace(0, n - 1, 64).astype(int))].tobytes())
    counts = {"train": len(dataset.train.images), "validation": len(dataset.validation.images)}
    return {**counts, "digest": found.hexdigest()}


def _checked(source: Source, name: str) -> Source:
    """The source itself, unless an image has a label that has no name. Below 0 is "unlabelled"."""
    for part in source.parts.values():
        if part.labels is not None and source.classes is not None:
            i = int(part.labels.argmax())
            if part.labels[i] >= len(source.classes):
                raise UsageError(
                    f"data.source = {name}: label {part.labels[i]} of image {i} must be below the"
                    f" number of names, those of {len(source.classes)} classes"
                )
    return source


def _found(data: config.Data) -> Found:
    # Each source imports what only it needs: TensorFlow Datasets alone takes 0.7 s.
    from jaxvae.data import arrays, digits, folder, table

    if isinstance(data.source, Held):
        _check_in_memory(data)
        held = data.source.arrays
        shapes = {name: array.shape for name, array in held.items()}
        return arrays.of_named(Path("arrays in memory"), shapes, held.__getitem__)
    refuse_name_alone(data.source)
    if data.source == "digits":
        _check_in_memory(data)
        source = digits.load()
        return as_found(source, source.name)
    if not _is_path(data.source):
        from jaxvae.data import tfds_source

        return tfds_source.find(data.source, data)

    try:
        path = Path(data.source).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise UsageError(f"data.source = {data.source!r}: {error}") from error
    if not path.exists():
        raise FileNotFoundError(
            f"data.source = {data.source!r}: no such file or folder"
            + ("" if path.is_absolute() else f" in {Path.cwd()}")
        )
    if path.is_dir():
        return folder.find(path, data)
    readers = {
        ".npy": arrays.find,
        ".npz": arrays.find,
        ".csv": table.find_csv,
        ".tsv": table.find_csv,
        ".parquet": table.find_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        allowed = f"a folder or a file that ends in {', '.join(readers)}"
        raise UsageError(f"data.source = {data.source!r}: must be {allowed}")
    _check_in_memory(data)
    if not path.is_file():
        raise UsageError(f"{path}: not a file")  # a pipe would be waited for
    return reader(path)


def _check_in_memory(data: config.Data) -> None:
    allowed = (
        f"False for data.source = {data.source!r}, which is read into memory whole: only sets of"
        " TensorFlow Datasets and folders of images can be streamed"
    )
    require(not data.streaming, "data.streaming", data.streaming, allowed)


def _is_path(source: str) -> bool:
    if source.endswith((".npz", ".npy", ".csv")) or Path(source).is_file():
        return True
    if "/" not in source and os.sep not in source:
        return False
    first = source.split("/")[0]
    if not first.isidentifier() or Path(source).exists():
        return True
    from jaxvae.data import tfds_source  # photos/cats, or cifar10_corrupted/fog_1 of TFDS?

    return first not in tfds_source.names()


def available() -> list[dict[str, Any]]:
    """The data sets to hand, and the usual ones that are missing, as JSON values.

    Each has `name` (for `--data.source`), `ready`, `location` (where it is, or was looked for),
    `images` (their number per split, where known) and `how` (how to use or to get it).
    """
    from jaxvae.data import tfds_source

    def entry(
        name: str, ready: bool, location: str, images: dict[str, int] | None, how: str
    ) -> dict[str, Any]:
        return {"name": name, "ready": ready, "location": location, "images": images, "how": how}

    found = tfds_source.prepared()
    missing = [name for name in USUAL if name not in {item["name"] for item in found}]
    get = (
        "pip install tensorflow-cpu, then train: the first use downloads and prepares it; or set"
        " TFDS_DATA_DIR to a folder that has it prepared as array_record"
    )
    return [
        entry("digits", True, "scikit-learn", {"train": 1797}, "--data.source digits"),
        *(
            entry(
                item["name"],
                item["problem"] is None,
                item["location"],
                item["images"],
                item["problem"] or f"--data.source {item['name']}",
            )
            for item in found
        ),
        *(entry(name, False, str(tfds_source.data_dir()), None, get) for name in missing),
        entry(
            "PATH",
            True,
            "your own images",
            None,
            "--data.source ./images.npz, ./images.npy or ./folder (of images, or of one folder"
            " per class; `train` and `test` below it are the splits)",
        ),
    ]
