"""What was measured on a run, kept in its folder: evaluation.json.

A record is one group of measures under its options. Measured again under the same ones it takes the
old record's place; what differs in an option, such as the examples, stands beside it.
"""

import contextlib
import dataclasses
import fcntl
import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jaxvae import __version__
from jaxvae.checks import UsageError
from jaxvae.evaluation.subject import Examined, Measuring
from jaxvae.from_json import from_json
from jaxvae.runs.folder import read_json, write_json

log = logging.getLogger("jaxvae")

FILE = "evaluation.json"
TERMS = "terms"
"""The group of the objective's terms, which are always measured."""


@dataclass(frozen=True)
class Record:
    """What one group came to.

    group: its name, or `TERMS`.
    options: checkpoint, source, split, limit, `member` of a population, and the settings that the
        group heeds.
    values, notes: as `jaxvae.evaluation.subject.Findings` has them.
    checkpoint_step: of the checkpoint that was measured.
    images: how many examples.
    date: when, in UTC, as ISO 8601 has it.
    jaxvae: the version that measured.
    """

    group: str
    options: dict[str, Any]
    values: dict[str, float]
    notes: tuple[str, ...]
    checkpoint_step: int
    images: int
    date: str = dataclasses.field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    jaxvae: str = __version__

    @property
    def which(self) -> tuple[str, str]:
        """What it shares with the record whose place it takes."""
        return self.group, json.dumps(self.options, sort_keys=True)


def of_groups(
    examined: Examined, settings: Measuring, options: dict[str, Any], step: int, images: int
) -> list[Record]:
    """A record of each group that was measured."""
    return [
        Record(name, options | heeded(name, settings), group.values, group.notes, step, images)
        for name, group in examined.found.items()
    ]


def heeded(group: str, settings: Measuring) -> dict[str, Any]:
    """Those settings that a group has a use for, without what is not given."""
    from jaxvae.evaluation.groups import HEEDS  # whose libraries take a second to import

    found = {name: getattr(settings, name) for name in HEEDS[group]}
    return {name: value for name, value in found.items() if value is not None and value != ()}


def keep(folder: Path, records: Iterable[Record]) -> Path | None:
    """Put records into a run folder; return the file, or None where it cannot be written.

    That is said and no error: what was measured, maybe for minutes, is in the caller's hands, and
    the run may be another's.
    """
    path = folder / FILE
    try:
        with _alone(folder):
            standing = {record.which: record for record in read(folder)}
            for record in records:
                standing.pop(record.which, None)  # the last one is the newest
                standing[record.which] = record
            write_json(path, [dataclasses.asdict(record) for record in standing.values()])
    except (OSError, UsageError) as error:
        log.warning("what was measured is not kept in the run: %s", error)
        return None
    return path


def read(folder: Path) -> list[Record]:
    """The records of a run folder, the newest last; none where nothing was measured.

    Raises:
        UsageError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return []
    found = read_json(path)
    if not isinstance(found, list):
        raise UsageError(f"{path}: must be a list of records; mend it, or remove it")
    try:
        like = Record("", {}, {}, (), 0, 0)
        return [from_json(like, record, f"[{i}].") for i, record in enumerate(found)]
    except UsageError as error:
        raise UsageError(f"{path}: {error}; mend it, or remove it") from error


def read_or_say(folder: Path) -> list[Record]:
    """As `read`; where the file cannot be read that is said, and there are no records."""
    try:
        return read(folder)
    except UsageError as error:
        log.warning("what was measured is left out: %s", error)
        return []


def carry(folder: Path, out: Path, member: int | None = None, step: int | None = None) -> None:
    """Take records along to a folder that is made from a run's; none where they cannot be read.

    Args:
        folder: the run's.
        out: the other one.
        member: of a population: only those of this member, which is the run of `out`.
        step: only those of this checkpoint, which is the only one that `out` has.
    """
    taken = []
    for record in read_or_say(folder):
        if record.options.get("member") == member and step in (None, record.checkpoint_step):
            options = {name: value for name, value in record.options.items() if name != "member"}
            options |= {} if step is None else {"checkpoint": "best"}  # there is no other
            taken.append(dataclasses.replace(record, options=options))
    if taken:
        keep(out, taken)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other process reads and writes this file; the lock ends with the process."""
    with (folder / "config.json").open() as always_there:
        with contextlib.suppress(OSError):  # some network file systems cannot lock
            fcntl.flock(always_there, fcntl.LOCK_EX)
        yield
