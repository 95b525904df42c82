"""MNIST, its relatives and CIFAR-10 from their archives, without TensorFlow.

The archives are fetched on the first use of a set's name, or lie in a folder of one's own;
`published` says where they come from. Images, labels and their order are those of TensorFlow
Datasets (TFDS), bit for bit, so that a run does not depend on where they were read from. EMNIST's
images are therefore transposed, as they are in its files.
"""

import hashlib
import logging
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data import cache, cifar, download, idx
from jaxvae.data.found import Found
from jaxvae.data.published import SETS, Set
from jaxvae.data.splits import Source, Split

KINDS = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}
"""The IDX files of a split, and how their names go on."""
IDX = (
    r"(?:(?P<set>emnist-\w+)-)?(?P<part>(train|test|t10k)-(images|labels))[.-]idx[13]-ubyte(\.gz)?"
)
"""The usual names of IDX files; some programs write a point where the archives have a hyphen."""

log = logging.getLogger("jaxvae")


def find(name: str) -> Found:
    """The set `name` of `published.SETS`, as it is known before it is fetched."""
    published = SETS[name]
    size = "32x32x3" if name == "cifar10" else "28x28x1"
    return Found(
        name,
        f"images of {size} (height x width x channels; uint8); {len(published.classes)} classes;"
        f" {published.title} from its archives",
        published.counts,
        {},
        (),
        lambda: load(name),
    )


def load(name: str) -> Source:
    """The set `name` of `published.SETS`. Its archives are fetched unless it was decoded before.

    Raises:
        FileNotFoundError: no server gives them; the message says which files to put where.
        OSError: there is no room to keep them.
    """
    published = SETS[name]
    splits = cache.cached(
        name, sum(published.counts.values()), _made_from(published), lambda: _decode(name)
    )
    description = f"{published.title} from its archives"
    return Source(name, splits["train"], splits["test"], published.classes, description)


def load_path(path: Path) -> Source | None:
    """The images of a folder of IDX files, of CIFAR-10's .bin files or of its .tar.gz, or those of
    the .tar.gz itself; None for a folder or a file that is none of these.

    All images of the files are there, in the order of TFDS.

    Raises:
        UsageError: files of the set are missing or damaged, or files of several sets are there.
        OSError: one cannot be opened.
    """
    classes = SETS["cifar10"].classes
    if not path.is_dir():
        if not (path.name.startswith("cifar") and path.name.endswith(".tar.gz")):
            return None
        splits = cifar.read_archive(path)
    elif any((path / name).is_file() for names in cifar.PARTS.values() for name in names):
        splits = cifar.read_folder(path)
    elif (path / cifar.ARCHIVE).is_file():
        splits = cifar.read_archive(path / cifar.ARCHIVE)
    elif found := [m for m in (re.fullmatch(IDX, p.name) for p in path.iterdir()) if m]:
        splits, classes = _read_idx_folder(path, found)
    else:
        return None
    name, splits = path.resolve().name, _in_order(splits)
    return Source(name, splits["train"], splits["test"], classes, f"images of {name}")


def entries() -> list[dict[str, Any]]:
    """Each set of `published.SETS` as `jaxvae.data.available` lists it."""
    listed = []
    for name, published in SETS.items():
        folder, how = _folder(published), f"--data.source {name}"
        is_decoded = cache.place(name, _made_from(published)).is_file()
        ready = is_decoded or download.here(published.files, folder)
        listed.append(
            {
                "name": name,
                "ready": ready,
                "location": str(cache.folder() if is_decoded else folder),
                "images": published.counts,
                "how": how if ready else f"{how} (fetches {published.size / 1e6:.0f} MB first)",
            }
        )
    return listed


def tfds_order(n: int, split: str) -> np.ndarray:
    """The order in which TFDS stores n examples whose keys are 0..n-1, integers (n,).

    It sorts them by the MD5 of the split's name and the key in decimals: tensorflow_datasets/core,
    hashing.py and shuffle.py (https://github.com/tensorflow/datasets).
    """
    salted = hashlib.md5(split.encode(), usedforsecurity=False)

    def hashed(key: int) -> bytes:
        own = salted.copy()
        own.update(b"%d" % key)
        return own.digest()

    return np.array(sorted(range(n), key=hashed))


def _in_order(splits: dict[str, Split]) -> dict[str, Split]:
    return {key: split.take(tfds_order(len(split.images), key)) for key, split in splits.items()}


def _folder(published: Set) -> Path:
    return cache.folder() / "archives" / published.folder


def _made_from(published: Set) -> list[Any]:
    return ["archives", published.title, [file.sha256 for file in published.files]]


def _decode(name: str) -> dict[str, Split]:
    """The splits of a set, in the order of TFDS."""
    published = SETS[name]
    folder = _folder(published)
    names = ", ".join(file.name for file in published.files)
    try:
        paths = download.fetch(published.files, folder)
    except download.Unreachable as error:
        raise FileNotFoundError(
            f"data.source = {name!r}: {error}. Put {names} into {folder}, or set TFDS_DATA_DIR to a"
            " folder that has the set prepared; --data.source digits needs nothing"
        ) from error
    except OSError as error:
        raise OSError(
            f"data.source = {name!r}: cannot keep its {published.size / 1e6:.0f} MB in {folder}"
            f" ({error.strerror or error}); set JAXVAE_CACHE to another folder"
        ) from error
    splits = _read(name, paths)
    for key, count in published.counts.items():
        if count < (there := len(splits[key].images)):  # of EMNIST's letters
            log.info("%s: the first %d of %d %s images, those of TFDS", name, count, there, key)
            splits[key] = splits[key].take(np.arange(count))
    return _in_order(splits)


def _read(name: str, paths: list[Path]) -> dict[str, Split]:
    """The splits of a set's archives, in the order of their files."""
    classes = len(SETS[name].classes)
    if name == "cifar10":
        return cifar.read_archive(paths[0])
    if name.startswith("emnist/"):
        return _read_emnist(paths[0], name.replace("/", "-"), classes)
    return {
        "train": idx.read_split(paths[0], paths[1], classes),
        "test": idx.read_split(paths[2], paths[3], classes),
    }


def _read_emnist(path: Path, name: str, classes: int) -> dict[str, Split]:
    """One configuration's splits from the archive of all: gzipped IDX files in a zip."""
    splits = {}
    with zipfile.ZipFile(path) as archive:
        for key in ("train", "test"):
            members = [f"gzip/{name}-{key}-{kind}-{end}.gz" for kind, end in KINDS.items()]
            with archive.open(members[0]) as images, archive.open(members[1]) as labels:
                splits[key] = idx.to_split(
                    idx.Named(images, f"{path}: {members[0]}"),
                    idx.Named(labels, f"{path}: {members[1]}"),
                    classes,
                )
    return splits


def _read_idx_folder(
    folder: Path, found: list[re.Match[str]]
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """The splits and classes of the set whose IDX files, by their names, are in a folder."""
    own = sorted({match["set"] or "" for match in found})
    if len(own) > 1:
        names = ", ".join(name or "train-images-..." for name in own)
        raise UsageError(f"{folder}: holds IDX files of several sets ({names}): must be of one")
    name = own[0].replace("-", "/") or "mnist"
    if name not in SETS:
        raise UsageError(f"{folder}: {own[0]!r} is no set of EMNIST")
    classes = SETS[name].classes

    # Of a file and its .gz, the latter: it has a checksum.
    files = {match["part"]: folder / match[0] for match in sorted(found, key=lambda m: m[0])}
    splits = {}
    for key, part in (("train", "train"), ("test", "test" if own[0] else "t10k")):
        for kind, end in KINDS.items():
            if f"{part}-{kind}" not in files:
                needed = "-".join([*filter(None, own), part, kind, end])
                raise UsageError(f"{folder}: needs {needed} or {needed}.gz beside its other files")
        images, labels = (files[f"{part}-{kind}"] for kind in KINDS)
        splits[key] = idx.read_split(images, labels, len(classes))
    return splits, classes
