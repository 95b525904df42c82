"""Files fetched from the servers that publish them, once, checked by their SHA-256.

What has come of a file is kept as NAME.part until all of it is there, and a download that broke
off goes on from it. A file of the right name is therefore a whole one, unless somebody changed it,
which its digest shows.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from jaxvae import __version__

WAIT = 8.0
"""Seconds until it is said that no server answers, all mirrors of a file together."""
ATTEMPTS = 20
"""How often a mirror is asked for a file, as long as each time brings some of it."""
PIECE = 2**16
"""Bytes that are read from a server at once, at most."""

log = logging.getLogger("jaxvae")


class File(NamedTuple):
    """A published file: its name, where it is (mirrors, the best first), its bytes and digest."""

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


class Unreachable(FileNotFoundError):
    """No server gave the file; the message says of each why."""


class Broken(Exception):
    """A server did not give what was asked for; the message says why."""


def here(files: Sequence[File], folder: Path) -> bool:
    """Whether files of these names and sizes are in the folder; their content is not looked at."""
    return all(_size(folder / file.name) == file.size for file in files)


def fetch(files: Sequence[File], folder: Path, wait: float = WAIT) -> list[Path]:
    """The paths of the files in `folder`, fetched where they are missing or damaged.

    Several processes may do this at once: one fetches, and the others wait for it.

    Args:
        files: what is wanted.
        folder: where files are kept; made where it is missing.
        wait: seconds until a server that does not answer is given up, over all mirrors.

    Raises:
        Unreachable: no mirror gave a file with the right digest.
        OSError: the folder cannot be written to, or the disk is full.
    """
    if missing := [file for file in files if not _is_whole(folder / file.name, file)]:
        folder.mkdir(parents=True, exist_ok=True)
        size = sum(file.size for file in missing)
        for path in (folder / file.name for file in missing):
            if path.exists():
                log.warning("%s is damaged: fetching it again", path)
        names = ", ".join(file.name for file in missing)
        log.info("fetching %s (%.1f MB) into %s", names, size / 1e6, folder)
        with _held(folder), _bar(size) as show:
            for file in missing:
                _fetch(file, folder, wait, show)
    return [folder / file.name for file in files]


Show = Callable[[int], None]
"""Told by how many bytes what is there has grown."""


def _fetch(file: File, folder: Path, wait: float, show: Show) -> None:
    path, part = folder / file.name, folder / f"{file.name}.part"
    if _is_whole(path, file):  # another process was quicker
        return show(file.size)
    show(_size(part))
    failures = {}
    for url in file.urls:
        for _ in range(ATTEMPTS):
            before = _size(part)
            try:
                if before < file.size:
                    _receive(url, file, part, wait / len(file.urls), show)
                if _is_whole(part, file):
                    return os.replace(part, path)
                failures[url] = "other bytes than those published"
                show(-_size(part))
                part.unlink()
                if before == 0:  # all of them came from here
                    break
            except Broken as error:
                failures[url] = str(error)
                if _size(part) <= before:
                    break
    reasons = "; ".join(f"{url}: {reason}" for url, reason in failures.items())
    raise Unreachable(f"cannot fetch {file.name} ({reasons})")


def _receive(url: str, file: File, part: Path, wait: float, show: Show) -> None:
    """Append to `part` what is missing of the file, or write it anew where the server begins anew.

    Raises:
        Broken: the server ends too early, does not answer, or sends more than the file has.
        OSError: the disk is full, or the like.
    """
    end = _size(part)
    for at, piece in _pieces(url, end, wait):
        with part.open("ab") as out:
            if at != end:
                out.truncate(at)
                show(at - end)
            end = at + len(piece)
            if end > file.size:
                out.truncate(0)
                show(-at)
                raise Broken(f"more than the {file.size} bytes of the file")
            out.write(piece)
            show(len(piece))
    if end < file.size:
        raise Broken(f"ended after {end} of {file.size} bytes")


def _pieces(url: str, start: int, wait: float) -> Iterator[tuple[int, bytes]]:
    """The bytes of a URL from `start` on, or from 0 if the server will have it so, each piece with
    its position.

    Raises:
        Broken: anything went wrong between here and the server.
    """
    try:
        with _opened(url, start, wait) as answer:
            at = 0
            if answer.status == 206:
                at = start
                if not (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
                    raise Broken("it answers with another part of the file than was asked for")
            while piece := answer.read1(PIECE):  # what is there: nothing is lost
                yield at, piece
                at += len(piece)
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if type(error) is URLError else error  # not HTTPError, which is one
        reason = " ".join(str(cause).split())[:200]
        raise Broken(reason or type(error).__name__) from error


def _opened(url: str, start: int, wait: float) -> HTTPResponse:
    """The answer of the server, within `wait` seconds, which are those of each later read too.

    Looking up a name has no timeout of its own, and each address of it has one: hence the thread.

    Raises:
        OSError, HTTPException: there is none.
    """
    wanted = {"Range": f"bytes={start}-"} if start else {}
    request = Request(url, headers={"User-Agent": f"jaxvae/{__version__}", **wanted})
    answers: queue.SimpleQueue[HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(urlopen(request, timeout=wait))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=wait + 0.1)  # the socket's own timeout comes first
    except queue.Empty:
        raise TimeoutError(f"no answer within {wait:.3g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_whole(path: Path, file: File) -> bool:
    """Whether a file has the bytes that were published."""
    if _size(path) != file.size:
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.sha256


def _size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.is_file() else 0


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold a folder alone, as soon as no other process does; the lock ends with the process."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("waiting for another process, which fetches files into %s", folder)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems cannot
            log.warning("%s: cannot be locked (%s): fetch into it only once", folder, error)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Show]:
    """A progress bar of so many bytes on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(20), DownloadColumn())
    bar = Progress(
        *columns,
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("fetching", total=total)
        yield lambda count: bar.advance(task, count)
