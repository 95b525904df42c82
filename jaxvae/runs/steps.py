"""Which checkpoints a folder has, by names and records: Orbax takes a second to import."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

RECORD = "record/metadata"
"""Where Orbax keeps the JSON of a checkpoint, below its folder."""


def complete_steps(folder: Path) -> list[int]:
    """Steps that have a complete checkpoint, damaged or not, ascending: one that is unfinished has
    another name."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def recorded_best(folder: Path) -> int | None:
    """The step of the best checkpoint by validation, as the latest readable record says."""
    for step in reversed(complete_steps(folder)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads((folder / str(step) / RECORD).read_text())
            best: int | None = checked(record)["best_step"]
            return best
    return None


def checked(record: dict[str, Any]) -> dict[str, Any]:
    """The record without its digest.

    Raises:
        ValueError: they do not match.
    """
    if record.pop("digest") != digest(record):
        raise ValueError("its record does not match its digest")
    return record


def digest(value: Any) -> str:
    """Of what JSON can hold."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
