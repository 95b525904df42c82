"""Files that are either complete or not there."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and vanishes when not.

    No two writers have the same one, whether they are threads, processes or machines.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Digits, so that a run's next life knows what a process that was killed has left.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().int}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
