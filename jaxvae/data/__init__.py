"""Images: from published archives, TensorFlow Datasets, scikit-learn, NumPy files or folders, to
uint8 arrays.

With `data.streaming`, sets of TensorFlow Datasets and folders stay in their files instead.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae import config
from jaxvae.checks import UsageError, require
from jaxvae.data.lazy import LazyImages, concatenate
from jaxvae.data.splits import Dataset, Source, Split, info, split

__all__ = ["Dataset", "LazyImages", "Split", "available", "fingerprint", "info", "load", "whole"]


def load(data: config.Data) -> Dataset:
    """Load the images that `data` names, as uint8, and split them.

    Decoded sets are kept in `$JAXVAE_CACHE` (by default `~/.cache/jaxvae`). With `data.streaming`
    nothing is decoded here: the splits are the same, with `LazyImages` in the place of arrays.

    Raises:
        FileNotFoundError: there is no such file, a usual set cannot be fetched, or another one of
            TensorFlow Datasets is not prepared.
        ValueError: the source is unknown, damaged, does not hold what `data` asks for, or cannot be
            streamed.
    """
    return split(_checked(_source(data), data.source), data)


def whole(data: config.Data) -> tuple[Split, tuple[str, ...] | None]:
    """Every image that `data.source` holds, in stored order (training, then test), and the classes.

    Raises:
        FileNotFoundError, ValueError: as `load`.
    """
    source = _checked(_source(data), data.source)
    if source.test is None:
        return source.train, source.classes
    parts = (source.train, source.test)
    images = concatenate([part.images for part in parts])
    labels = [part.labels for part in parts if part.labels is not None]
    return Split(images, np.concatenate(labels) if len(labels) == 2 else None), source.classes


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
    for part in (source.train, source.test):
        if part is not None and part.labels is not None and source.classes is not None:
            i = int(part.labels.argmax())
            if part.labels[i] >= len(source.classes):
                raise UsageError(
                    f"data.source = {name!r}: label {part.labels[i]} of image {i} must be below the"
                    f" number of names, those of {len(source.classes)} classes"
                )
    return source


def _source(data: config.Data) -> Source:
    # Each source imports what only it needs: TensorFlow Datasets alone takes 0.7 s.
    from jaxvae.data import arrays, digits, folder, usual

    if data.source == "digits":
        _check_in_memory(data)
        return digits.load()
    if not _is_path(data.source):
        if data.source in usual.SETS and not _is_prepared(data.source):
            _check_in_memory(data)
            return usual.load(data.source)
        from jaxvae.data import tfds_source

        return tfds_source.load(data.source, data.resize, data.streaming)

    try:
        path = Path(data.source).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise UsageError(f"data.source = {data.source!r}: {error}") from error
    if not path.exists():
        raise FileNotFoundError(
            f"data.source = {data.source!r}: no such file or folder"
            + ("" if path.is_absolute() else f" in {Path.cwd()}")
        )
    if (path.is_dir() or path.name.endswith(".tar.gz")) and (found := usual.load_path(path)):
        _check_in_memory(data)
        return found
    if path.is_dir():
        return folder.load(path, data.resize, data.streaming)
    if path.suffix not in (".npz", ".npy"):
        raise UsageError(
            f"data.source = {data.source!r}: must be a .npz or .npy file, CIFAR-10's .tar.gz, or a"
            " folder"
        )
    _check_in_memory(data)
    return arrays.load(path)


def _check_in_memory(data: config.Data) -> None:
    allowed = (
        f"False for data.source = {data.source!r}, which is read into memory whole: only prepared"
        " sets of TensorFlow Datasets and folders of images can be streamed"
    )
    require(not data.streaming, "data.streaming", data.streaming, allowed)


def _is_prepared(name: str) -> bool:
    """Whether TensorFlow Datasets has the set to hand."""
    try:
        from jaxvae.data import tfds_source
    except ImportError:  # it is needed for no usual set
        return False
    return tfds_source.is_readable(name)


def _is_path(source: str) -> bool:
    if source.endswith((".npz", ".npy", ".tar.gz")) or Path(source).is_file():
        return True
    if "/" not in source and os.sep not in source:
        return False
    first = source.split("/")[0]
    if not first.isidentifier() or Path(source).exists():
        return True
    from jaxvae.data.published import SETS

    if source in SETS:  # emnist/letters
        return False
    from jaxvae.data import tfds_source  # photos/cats, or cifar10_corrupted/fog_1 of TFDS?

    return first not in tfds_source.names()


def available() -> list[dict[str, Any]]:
    """The data sets to hand, and the usual ones that can be fetched, as JSON values.

    Each has `name` (for `--data.source`), `ready`, `location` (where it is, or will be), `images`
    (their number per split, where known) and `how` (how to use or to get it).
    """
    from jaxvae.data import tfds_source, usual

    def entry(
        name: str, ready: bool, location: str, images: dict[str, int] | None, how: str
    ) -> dict[str, Any]:
        return {"name": name, "ready": ready, "location": location, "images": images, "how": how}

    found = [
        entry(
            item["name"],
            item["problem"] is None,
            item["location"],
            item["images"],
            item["problem"] or f"--data.source {item['name']}",
        )
        for item in tfds_source.prepared()
    ]
    published = {item["name"]: item for item in usual.entries()}
    # What TensorFlow Datasets has prepared goes before the archives, if it can be read here.
    found = [item for item in found if item["ready"] or item["name"] not in published]
    prepared = {item["name"] for item in found}
    return [
        entry("digits", True, "scikit-learn", {"train": 1797}, "--data.source digits"),
        *found,
        *(item for name, item in published.items() if name not in prepared),
        entry(
            "NAME",
            False,
            str(tfds_source.data_dir()),
            None,
            "--data.source NAME or NAME/CONFIGURATION, any other set of TensorFlow Datasets: pip"
            " install tensorflow-cpu, and the first use prepares it there (TFDS_DATA_DIR)",
        ),
        entry(
            "PATH",
            True,
            "your own images",
            None,
            "--data.source ./images.npz, ./images.npy or ./folder (of images, or of one folder"
            " per class; `train` and `test` below it are the splits; or of IDX files)",
        ),
    ]
