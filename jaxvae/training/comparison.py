"""The page of several runs, from their folders: each is loaded, looked at, and let go."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jaxvae import data, runs
from jaxvae.config import Data, Experiment
from jaxvae.data import Dataset
from jaxvae.report import comparison
from jaxvae.runs import listing
from jaxvae.training.metrics import Rows, read_population, read_rows, rows_of
from jaxvae.training.page import reported

log = logging.getLogger("jaxvae")

NOT_SEEN = (ValueError, OSError, runs.RunError)
"""What a run is without pictures for: no checkpoint, or a damaged one, its data gone, classes of
its own that are not at hand. The page says it."""


class Given(NamedTuple):
    """A run folder, and an experiment of its classes, needed only where it has its own."""

    folder: Path
    like: Experiment | None = None


def write_comparison(given: Sequence[Given], out: Path, trust_code: bool = False) -> dict[str, Any]:
    """Write the page of some runs; return what `listing.compared` says of them.

    Of a run that cannot be loaded the page has its settings and its numbers, and says why not more.

    Args:
        given: the runs, two at least; of a population its best member is compared.
        out: the file.
        trust_code: execute the runs' own copies of the files that define their classes.

    Raises:
        UsageError: as `listing.compared`.
    """
    found = listing.compared([run.folder for run in given])
    # Runs that are compared often have the same data, which need not be read again.
    load = functools.lru_cache(maxsize=1)(functools.partial(data.load, known=True))

    # Test examples, which are all that is drawn, are the same in batches of any size, whatever
    # labels the training examples keep.
    def read(settings: Data) -> Dataset:
        return load(replace(settings, batch_size=1, labelled=None))

    each = [
        _compared(run, standing.get("member"), trust_code, read)
        for run, standing in zip(given, found["runs"], strict=True)
    ]
    comparison.write(found, each, out)
    return found


def _compared(run: Given, best: int | None, trust_code: bool, read: Any) -> comparison.Compared:
    """One run; of a population the member `best`."""
    population = read_population(run.folder)
    rows = read_rows(run.folder / "metrics.csv", alone=population is None)
    which = 0 if best is None else best
    member = ""
    if population is not None:
        why = "none has a finite loss" if best is None else "the one of the lowest validation loss"
        count = len({row["member"] for row in rows})
        member = f"member {which} of {count}, counted from 0: {why}"
    try:
        with reported(run.folder, best, "best", run.like, trust_code, read) as loaded:
            seen: comparison.Seen | str = comparison.look(loaded)
    except NOT_SEEN as error:
        seen = str(error)
        log.warning("%s: no pictures: %s", run.folder, error)
    members = _members(run.folder, rows)
    others = [rows_of(rows, int(m)) for m in sorted({row["member"] for row in rows} - {which})]
    return comparison.Compared(run.folder, rows_of(rows, which), member, members, others, seen)


def _members(folder: Path, rows: Rows) -> list[comparison.Member]:
    """Those that have a best epoch, each with the numbers in which it differs from others."""
    population = read_population(folder)
    of = {m["member"]: m for m in runs.read_summary(folder).get("members", ())}
    found = []
    for member in sorted({int(row["member"]) for row in rows}):
        best = runs.best_row(rows_of(rows, member))
        if best is None:
            continue
        words = ""
        if population is not None:
            names = [*population.values(), *(["seed"] if population.seeds > 1 else [])]
            own = {n: of[member][n] for n in names if n in of.get(member, {})}
            listed = ", ".join(f"{n.rpartition('.')[2]} {x:g}" for n, x in own.items())
            words = f"member {member}{f': {listed}' if listed else ''}"
        found.append(comparison.Member(words, best))
    return found
