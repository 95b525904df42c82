"""Archives of images, handed over as they are: unpacked once, into the cache."""

import contextlib
import errno
import hashlib
import json
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from jaxvae.checks import UsageError, reason
from jaxvae.data import cache
from jaxvae.data.headers import SUFFIXES

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Names of archives, in any case."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO)
"""Errors that are none of the archive."""


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def unpacked(path: Path) -> Path:
    """The folder of the cache that an archive's images were unpacked to, complete or not there.

    Only image files are unpacked, and neither links nor anything else. Where everything is in one
    folder, it is that one.

    Raises:
        UsageError: it is damaged, a member would land outside of the folder, or it needs more room
            than there is.
    """
    made_from = json.dumps(["archive", *cache.fingerprint(path.resolve())])
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:24]
    folder = cache.folder() / "archives" / digest / _stem(path)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
            complete = Path(temporary) / folder.name
            complete.mkdir()
            try:
                _unpack(path, complete)
            except UsageError:
                raise
            except Exception as error:  # zlib, lzma, tarfile and zipfile each raise their own
                if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                    raise
                raise UsageError(f"{path}: not a readable archive ({reason(error)})") from error
            with contextlib.suppress(OSError):  # another process may have done the same
                complete.rename(folder)
    while len(below := [*folder.iterdir()]) == 1 and below[0].is_dir():
        folder = below[0]
    return folder


def _stem(path: Path) -> str:
    ending = next(e for e in ENDINGS if path.name.lower().endswith(e))
    return path.name[: -len(ending)] or "images"


def _unpack(path: Path, folder: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            sizes = {
                entry.filename: entry.file_size
                for entry in archive.infolist()
                if not entry.is_dir() and not stat.S_ISLNK(entry.external_attr >> 16)
            }
            _write(path, folder, sizes, archive.open)
        return
    with tarfile.open(path) as tar:
        members = {member.name: member for member in tar if member.isfile()}
        sizes = {name: member.size for name, member in members.items()}
        # An archive ends in zeros; one that was cut off between two members looks complete.
        assert tar.fileobj is not None
        tar.fileobj.seek(tar.offset)
        if not tar.fileobj.read(1):
            raise UsageError(f"{path}: not a readable archive (it is cut off)")

        def opened(name: str) -> IO[bytes]:
            file = tar.extractfile(members[name])
            assert file is not None  # it is a plain file
            return file

        _write(path, folder, sizes, opened)


def _write(
    path: Path, folder: Path, sizes: dict[str, int], opened: Callable[[str], IO[bytes]]
) -> None:
    """The images among the members, no larger than they are said to be."""
    images = {
        name: size for name, size in sizes.items() if PurePosixPath(name).suffix.lower() in SUFFIXES
    }
    for name in images:
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise UsageError(f"{path}: its member {name!r} would land outside of its folder")
    if not images:
        raise UsageError(f"{path}: no images ({', '.join(SUFFIXES)}) in this archive")
    room = shutil.disk_usage(folder).free
    if sum(images.values()) > room:
        raise UsageError(
            f"{path}: its images take {sum(images.values()):,} bytes, and {folder.parent} has"
            f" {room:,} left; set JAXVAE_CACHE to another folder"
        )
    for name, size in images.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened(name) as source, target.open("wb") as file:
            content = source.read(size + 1)
            if len(content) != size:
                raise UsageError(f"{path}: {name!r} has another size than the archive says")
            file.write(content)
