"""CIFAR-10 in its binary version: a folder of .bin files, or the .tar.gz that holds them.

A record is a label and 3072 pixels, the red ones first (https://www.cs.toronto.edu/~kriz/cifar.html).
The version for Python is pickled, and pickles run code: it is not read.
"""

import gzip
import tarfile
import zlib
from pathlib import Path

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.idx import check_labels
from jaxvae.data.splits import Split

ARCHIVE = "cifar-10-binary.tar.gz"
"""The name of the archive."""
PARTS = {
    "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test": ("test_batch.bin",),
}
"""The files of each split, in order."""
CLASSES = 10
"""Labels are below this."""
SHAPE = (3, 32, 32)
"""Channels, height and width of an image."""
RECORD = 1 + 3 * 32 * 32
"""Bytes of a label and an image."""
LARGEST = 200_000_000
"""Bytes that an unpacked archive has at most: CIFAR-10's six files have 184,380,000."""
PYTHON = "data_batch_1"
"""A file of the pickled version, in its archive and beside it."""


def read_folder(folder: Path) -> dict[str, Split]:
    """The splits `train` and `test` of the .bin files in a folder.

    Raises:
        UsageError: one is missing, is no file of whole records, or has labels outside of 0..9.
        OSError: one cannot be read.
    """
    contents = {}
    for name in (name for names in PARTS.values() for name in names):
        path = folder / name
        if not path.is_file():
            raise UsageError(f"{folder}: CIFAR-10 needs {name}, which is not in this folder")
        contents[name] = path.read_bytes()
    return _splits(contents, folder)


def read_archive(path: Path) -> dict[str, Split]:
    """The same of the archive. Nothing is unpacked to disk, and other members are not read.

    Raises:
        UsageError: as `read_folder`; or it is no such archive, or holds more than CIFAR-10.
        OSError: it cannot be opened.
    """
    wanted = {name for names in PARTS.values() for name in names}
    contents: dict[str, bytes] = {}
    with path.open("rb") as file:
        try:
            # As a stream, so that nothing is read twice, and through a limit: a header may announce
            # anything, and a name be as long as a bomb.
            unpacked = _Limited(gzip.GzipFile(fileobj=file, mode="rb"))
            with tarfile.open(fileobj=unpacked, mode="r|") as archive:  # type: ignore[call-overload]
                for member in archive:
                    archive.members = []  # tarfile remembers every one
                    name = member.name.rpartition("/")[2]
                    if name == PYTHON:
                        raise ValueError("it is the version for Python, pickled; take the other")
                    # Of a sparse file the holes, which may be of any size, are not in the archive.
                    if name not in wanted or not member.isreg() or member.issparse():
                        continue
                    content = archive.extractfile(member)
                    assert content is not None  # of a regular file
                    if name in contents:
                        raise ValueError(f"it holds {name} twice")
                    contents[name] = content.read()
        except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
            raise UsageError(f"{path}: not a readable archive of CIFAR-10 ({error})") from error
    if missing := [name for name in sorted(wanted) if name not in contents]:
        raise UsageError(f"{path}: CIFAR-10 needs {', '.join(missing)}, which it does not hold")
    return _splits(contents, path)


class _Limited:
    """A file of which at most `LARGEST` bytes are read, and nothing behind its end.

    tarfile would go on there: it skips what a header announces, 2^80 bytes say, block by block.
    """

    def __init__(self, file: gzip.GzipFile):
        self._file, self._left, self._ended = file, LARGEST, False

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        if size > self._left:
            raise ValueError(f"it holds more than {LARGEST} bytes")
        piece = self._file.read(size)
        if not piece and self._ended:
            raise EOFError("it ends within a member")
        self._ended = not piece
        self._left -= len(piece)
        return piece


def _splits(contents: dict[str, bytes], where: Path) -> dict[str, Split]:
    splits = {}
    for key, names in PARTS.items():
        images, labels = zip(*(_records(contents[n], str(where / n)) for n in names), strict=True)
        splits[key] = Split(np.concatenate(images), np.concatenate(labels))
    return splits


def _records(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (n, 32, 32, 3), and labels, int32 (n,), of a file."""
    if not content or len(content) % RECORD:
        raise UsageError(
            f"{name}: has {len(content)} bytes: must be a multiple of {RECORD}, label and image"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    check_labels(records[:, 0], CLASSES, name)
    images = records[:, 1:].reshape(-1, *SHAPE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int32)
