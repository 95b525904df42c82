"""Decoded images kept as .npz files, so that a data set is decoded once per machine.

A file's name holds a digest of everything that the arrays were made from, so a changed source is
decoded anew. The files are uncompressed zip archives, whose CRC-32 of each array reveals damage.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.atomic import atomic
from jaxvae.data.splits import Split

FORMAT = 2
"""Part of every digest: raise it when the decoded arrays or the file's layout change."""
SPLITS = ("train", "validation", "test")
"""The splits that a file holds."""
STALE_SECONDS = 24 * 3600
"""Age at which a temporary file can only be a killed process's."""

log = logging.getLogger("jaxvae")


def folder() -> Path:
    """`$JAXVAE_CACHE`, or `jaxvae` in `$XDG_CACHE_HOME` (`~/.cache` by default)."""
    if own := os.environ.get("JAXVAE_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "jaxvae"


def fingerprint(path: Path) -> list[Any]:
    """Name, size and modification time of a file: what shows that its content has changed."""
    status = path.stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def cached(
    name: str, count: int, made_from: Any, decode: Callable[[], dict[str, Split]]
) -> dict[str, Split]:
    """The splits that `decode` returns, from the cache where it holds them.

    Several processes may do this at once: each then decodes, and the last rename wins.

    Args:
        name: of the data set, for the file's name and the log.
        count: the number of images, for the log.
        made_from: JSON values that determine the result: where from, files, sizes, times.
        decode: makes the splits: `train` and perhaps others, each with uint8 or uint16 images.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, made_from]).encode()).hexdigest()[:24]
    plain = "".join(c if c.isalnum() else "_" for c in name[:40])  # file systems allow 255 bytes
    path = folder() / f"{plain}-{digest}.npz"
    try:
        if path.is_file():
            return _read(path)
    except Exception as error:  # a flipped bit may surface as almost any error
        log.warning("cached images %s are damaged (%s): decoding again", path, error)

    log.info("decoding %s (%d images), once; kept in %s", name, count, path)
    splits = decode()
    try:
        _write(path, splits)
    except OSError as error:
        log.warning("cannot keep the decoded images of %s for the next run: %s", name, error)
    return splits


def _read(path: Path) -> dict[str, Split]:
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("compressed, so not written here")  # it could grow without limit
        # ZipFile.read checks the CRC-32 of the whole array; np.load would stop where its header
        # says that the array ends, which may be damaged itself. A lost array is a KeyError.
        images, labels = (
            {
                key: np.lib.format.read_array(
                    io.BytesIO(archive.read(f"{key}_{kind}.npy")), allow_pickle=False
                )
                for key in SPLITS
            }
            for kind in ("images", "labels")
        )
    splits = {
        key: Split(images[key], labels[key] if labels[key].size else None)
        for key in SPLITS
        if images[key].size
    }
    for split in (splits["train"], *splits.values()):
        good = split.images.dtype in (np.uint8, np.uint16) and split.images.ndim == 4
        if split.labels is not None:
            good &= split.labels.dtype == np.int32 and split.labels.shape == split.images.shape[:1]
        if not good:
            raise ValueError("it holds other arrays than images and their labels")
    return splits


def _write(path: Path, splits: dict[str, Split]) -> None:
    """Write the file, whole or not at all, and remove what killed processes have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob("*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another process has just removed it
            if time.time() - old.stat().st_mtime > STALE_SECONDS:
                old.unlink()

    # Always the same arrays, so that a missing one shows; an empty one stands for None.
    nothing = np.zeros(0, np.uint8)
    arrays = {}
    for key in SPLITS:
        split = splits.get(key, Split(nothing, None))
        arrays[f"{key}_images"] = split.images
        arrays[f"{key}_labels"] = nothing if split.labels is None else split.labels
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
