"""The page of a run, or of one member of a population: from its folder, or as training ends."""

import contextlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvae import data, report, runs
from jaxvae.checks import UsageError
from jaxvae.config import Data, Experiment
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained
from jaxvae.training.extract import alone
from jaxvae.training.load import load
from jaxvae.training.members import one_of
from jaxvae.training.metrics import Rows, read_population, rows_of


def write_page(
    folder: Path,
    out: Path | None = None,
    member: int | None = None,
    checkpoint: str = "best",
    like: Experiment | None = None,
    trust_code: bool = False,
    dataset: Dataset | None = None,
) -> Path:
    """Write the page of a run folder; return where it is.

    Args:
        folder: the run folder.
        out: the file; by default report.html in the run folder.
        member: of a population; by default the one of the lowest validation loss.
        checkpoint: `best` or `latest`.
        like, trust_code: as for `jaxvae.training.load.load`.
        dataset: what it was trained on, where it was read already.

    Raises:
        UsageError: not a run folder, no such member, or as `load`.
        FileNotFoundError: it has no checkpoint, or its data are gone.
    """
    read = _read if dataset is None else lambda _: dataset
    with reported(folder, member, checkpoint, like, trust_code, read) as run:
        return report.write(run, out or folder / report.FILE)


def _read(settings: Data) -> Dataset:
    return data.load(settings, known=True)


@contextlib.contextmanager
def reported(
    folder: Path,
    member: int | None = None,
    checkpoint: str = "best",
    like: Experiment | None = None,
    trust_code: bool = False,
    read: Callable[[Data], Dataset] = _read,
) -> Iterator[report.Reported]:
    """A run, or a member of a population, and what a page needs of it; `read` reads its data.

    Otherwise as `write_page`.
    """
    summary, words, which = runs.read_summary(folder), "", member
    if read_population(folder) is not None:
        which = _best(summary) if member is None else member
        words = _words(summary, which, member is None)
        summary |= _of_member(summary, which)
    with alone(folder, which, like, trust_code) as own:
        trained, step = load(own, checkpoint, like, trust_code)
        dataset = read(trained.experiment.data)
        rows = runs.read_metrics(own / "metrics.csv")
        called = _called(folder, which)
        yield report.Reported(folder, trained, dataset, rows, summary, step, words, called, which)


def page_at_end(
    folder: Path,
    final: Trained,
    everyone: Sequence[Experiment],
    dataset: Dataset,
    rows: Rows,
    summary: Mapping[str, Any],
) -> Path:
    """The page of a training that has ended, of what is in memory.

    Args:
        folder: the run folder.
        final: the best state; of several members with an axis of them.
        everyone: the members.
        dataset: what they were trained on.
        rows: of metrics.csv, with their members.
        summary: as summary.json has it.
    """
    which, words, called, number = 0, "", _called(folder), None
    if len(everyone) > 1:
        which = _best(summary)
        final = one_of(final, everyone, which)
        words = _words(summary, which, chosen=True)
        summary = {**summary, **_of_member(summary, which)}
        called, number = _called(folder, which), which
    own = rows_of(rows, which)
    run = report.Reported(folder, final, dataset, own, summary, None, words, called, number)
    return report.write(run, folder / report.FILE)


def _called(folder: Path, member: int | None = None) -> str:
    """A run as commands name it; a page that is sent to others has no absolute path in it."""
    name = shlex.quote(folder.name if folder.is_absolute() else str(folder))
    return name if member is None else f"{name} --member {member}"


def _best(summary: Mapping[str, Any]) -> int:
    """The member of the lowest validation loss, of those that stayed finite."""
    best = runs.best_member(summary.get("members", ()))
    if best is None:
        raise UsageError(
            "member: must be given: none is known to have ended an epoch and stayed finite"
        )
    return int(best["member"])


def _of_member(summary: Mapping[str, Any], member: int) -> dict[str, Any]:
    return next((m for m in summary.get("members", ()) if m["member"] == member), {})


def _words(summary: Mapping[str, Any], member: int, chosen: bool) -> str:
    of = f" of {summary['num_members']}" if "num_members" in summary else ""
    which = f"member {member}{of}, counted from 0"
    return f"{which}: the one of the lowest validation loss" if chosen else which
