"""Images: from published archives, TensorFlow Datasets, scikit-learn, NumPy files or folders, to
uint8 arrays.

With `data.streaming`, sets of TensorFlow Datasets and folders stay in their files instead.
"""

import difflib
import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae import config
from jaxvae.checks import UsageError, require
from jaxvae.data import looks
from jaxvae.data.aspect import BACKGROUNDS
from jaxvae.data.decode import resized
from jaxvae.data.found import Found, as_found, classes_in_words
from jaxvae.data.lazy import LazyImages, concatenate
from jaxvae.data.splits import Dataset, Source, Split, info, split
from jaxvae.held import Held, refuse_name_alone

__all__ = [
    "Dataset",
    "LazyImages",
    "Split",
    "available",
    "fingerprint",
    "held_out",
    "info",
    "load",
    "whole",
]

TFDS = "tensorflow-datasets array-record importlib-resources"
"""What reads sets of TensorFlow Datasets, where the package was installed without."""

log = logging.getLogger("jaxvae")


def load(data: config.Data, known: bool = False) -> Dataset:
    """Read the examples that `data` names, and divide them; what was found is logged first.

    Decoded sets are kept in `$JAXVAE_CACHE` (by default `~/.cache/jaxvae`). With `data.streaming`
    nothing is decoded here: the splits are the same, with `LazyImages` in the place of arrays.

    Args:
        data: which, and how they are divided.
        known: a run was trained on them, so that what is odd about them was said then.

    Raises:
        FileNotFoundError: there is no such file, a usual set cannot be fetched, or another one of
            TensorFlow Datasets is not prepared.
        UsageError: the source is unknown, damaged, does not hold what `data` asks for, or cannot be
            streamed.
    """
    found = _found(data).fitted(data)
    line = found.line(data)
    _say(logging.INFO, line)
    source = _read(found, data)
    dataset = split(source, data)
    classes = classes_in_words(source.labels, source.classes)
    # Labels in records and in archives that are fetched are known only now.
    learned = [classes] if classes not in line else []
    if dataset.train.images.dtype == np.uint16:
        learned.append(f"the brightest pixel, {info(dataset, data).maximum}, is seen as 1")
    for words in learned:
        _say(logging.INFO, f"{found.name}: {words}")
    noticed = () if known else looks.noticed(source)
    for warning in noticed:
        _say(logging.WARNING, f"{found.name}: {warning}")
    return dataset._replace(said=(line, *learned, *noticed))


def _say(level: int, line: str) -> None:
    """Once, where several processes read the same."""
    from jaxvae import processes  # and JAX, which lists of sets do without

    if processes.is_first():
        log.log(level, "%s", line)


def whole(data: config.Data) -> tuple[Split, tuple[str, ...] | None]:
    """Every example that `data.source` holds, in stored order (training first), and the classes.

    Raises:
        FileNotFoundError, UsageError: as `load`.
    """
    found = _found(data).fitted(data)
    _say_all(found)
    return _joined(_read(found, data))


def held_out(data: config.Data) -> tuple[Split, str]:
    """The test examples of a source, or all where it has none of its own; and which they are.

    Raises:
        FileNotFoundError, UsageError: as `load`.
    """
    found = _found(data).fitted(data)
    _say_all(found)
    source = _read(found, data)
    if source.test is not None:
        return source.test, "test images"
    return _joined(source)[0], "images"


def _say_all(found: Found) -> None:
    total = sum(found.counts.values())
    _say(logging.INFO, "; ".join([f"{found.name}: {total:,} {found.what}", *found.notes]))


def _joined(source: Source) -> tuple[Split, tuple[str, ...] | None]:
    """All parts of a source in one, and its classes."""
    parts = [*source.parts.values()]
    if len(parts) == 1:
        return source.train, source.classes
    images = concatenate([part.images for part in parts])
    labels = source.labels
    names = [name for part in parts for name in part.names or ()]
    factors = [part.factors for part in parts if part.factors is not None]
    return (
        Split(
            images,
            np.concatenate(labels) if len(labels) == len(parts) else None,
            names if len(names) == len(images) else None,
            {name: np.concatenate([own[name] for own in factors]) for name in factors[0]}
            if len(factors) == len(parts)
            else None,
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
    background = BACKGROUNDS[data.background]
    require(images.dtype == np.uint8, "data.resize_rule", "pillow", "'jax' for 16 bits")
    return part._replace(images=resized(images, size, data.aspect, background))


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
    from jaxvae.data import archive, arrays, containers, digits, folder, rendered, table, usual

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
    if data.source in rendered.SIZES:
        from jaxvae.data import sprites

        _check_in_memory(data)
        return as_found(sprites.load(data.source), data.source)
    if not _is_path(data.source):
        if data.source in usual.SETS and not _is_prepared(data.source):
            _check_in_memory(data)
            return usual.find(data.source)
        return _tfds(data.source).find(data.source, data)

    try:
        path = Path(data.source).expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise UsageError(f"data.source = {data.source!r}: {error}") from error
    if not path.exists():
        raise FileNotFoundError(
            f"data.source = {data.source!r}: no such file or folder"
            + ("" if path.is_absolute() else f" in {Path.cwd()}")
        )
    if (own := usual.load_path(path)) is not None:
        _check_in_memory(data)
        return as_found(own, own.name)
    if path.is_dir():
        from jaxvae.data import huggingface

        stored = huggingface.find_folder(path, data)
        if stored is not None:
            _check_in_memory(data)
        return stored or folder.find(path, data)
    readers: dict[str, Callable[[Path], Found]] = {
        ".npy": arrays.find,
        ".npz": arrays.find,
        ".csv": table.find_csv,
        ".tsv": table.find_csv,
        ".parquet": lambda path: table.find_parquet(path, data),
        ".mat": containers.find_mat,
        ".h5": containers.find_hdf5,
        ".hdf5": containers.find_hdf5,
    }
    if archive.is_archive(path) and path.is_file():
        return folder.find(archive.unpacked(path), data)
    reader = readers.get(path.suffix.lower())
    if reader is None:
        allowed = f"a folder, or a file that ends in {', '.join([*readers, *archive.ENDINGS])}"
        raise UsageError(f"data.source = {data.source!r}: must be {allowed}")
    _check_in_memory(data)
    if not path.is_file():
        raise UsageError(f"{path}: not a file")  # a pipe would be waited for
    return reader(path)


def _check_in_memory(data: config.Data) -> None:
    allowed = (
        f"False for data.source = {data.source!r}, which is read into memory whole: only prepared"
        " sets of TensorFlow Datasets and folders of images can be streamed"
    )
    require(not data.streaming, "data.streaming", data.streaming, allowed)


def _tfds(name: str | None = None) -> Any:
    """`tfds_source`; None where TensorFlow Datasets is not installed, which few sets need.

    Args:
        name: a set that is none of the others: so it is needed.

    Raises:
        UsageError: it is not installed, and `name` is given.
    """
    try:
        from jaxvae.data import tfds_source
    except ImportError as error:
        if name is None:
            return None
        from jaxvae.data import rendered
        from jaxvae.data.usual import SETS

        near = difflib.get_close_matches(name, [*SETS, "digits", *rendered.SIZES])
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(
            f"data.source = {name!r}: none of the sets that need nothing else ({meant}a file or"
            f" folder is written ./NAME), and those of TensorFlow Datasets need it ({error}):"
            f" pip install {TFDS}"
        ) from error
    return tfds_source


def _is_prepared(name: str) -> bool:
    """Whether TensorFlow Datasets has the set to hand; it is needed for no usual set."""
    tfds_source = _tfds()
    return tfds_source is not None and tfds_source.is_readable(name)


def _is_path(source: str) -> bool:
    if source.endswith((".npz", ".npy", ".csv", ".tar.gz")) or Path(source).is_file():
        return True
    if "/" not in source and os.sep not in source:
        return False
    first = source.split("/")[0]
    if not first.isidentifier() or Path(source).exists():
        return True
    from jaxvae.data.published import SETS

    if source in SETS:  # emnist/letters
        return False
    tfds_source = _tfds()  # photos/cats, or cifar10_corrupted/fog_1 of TFDS?
    return tfds_source is not None and first not in tfds_source.names()


def available() -> list[dict[str, Any]]:
    """The data sets to hand, and the usual ones that can be fetched, as JSON values.

    Each has `name` (for `--data.source`), `ready`, `location` (where it is, or will be), `images`
    (their number per split, where known) and `how` (how to use or to get it).
    """
    from jaxvae.data import rendered, usual

    tfds_source = _tfds()

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
        for item in (() if tfds_source is None else tfds_source.prepared())
    ]
    published = {item["name"]: item for item in usual.entries()}
    # What TensorFlow Datasets has prepared goes before the archives, if it can be read here.
    found = [item for item in found if item["ready"] or item["name"] not in published]
    prepared = {item["name"] for item in found}
    return [
        entry("digits", True, "scikit-learn", {"train": 1797}, "--data.source digits"),
        *(
            entry(name, True, "rendered", rendered.COUNTS, f"--data.source {name}")
            for name in rendered.SIZES
        ),
        *found,
        *(item for name, item in published.items() if name not in prepared),
        entry(
            "NAME",
            False,
            "$TFDS_DATA_DIR" if tfds_source is None else str(tfds_source.data_dir()),
            None,
            "--data.source NAME or NAME/CONFIGURATION, any other set of TensorFlow Datasets: pip"
            " install 'jaxvae[tfds]', and the first use prepares it there (TFDS_DATA_DIR)",
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
