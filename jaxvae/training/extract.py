"""A member of a population as a run alone."""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxvae import runs
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Optimizer
from jaxvae.from_json import from_json
from jaxvae.runs import code, guards, measured
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training.epoch import Progress
from jaxvae.training.members import (
    States,
    first_best,
    initial_states,
    members,
    root_keys,
    stacked,
    swept,
    taken,
)
from jaxvae.training.metrics import Rows, read_population, read_rows, rows_of
from jaxvae.training.monitor import Monitor, Standing


def monitors_of(rows: Rows, settings: Optimizer) -> list[Monitor]:
    """A member's monitor after each of its epochs."""
    monitors, monitor = [], Monitor()
    for row in rows:
        monitor = monitor.update(int(row["epoch"]), row["val_loss"], settings)
        monitors.append(monitor)
    return monitors


def extract(
    folder: str | Path,
    member: int,
    out: str | Path,
    like: Experiment | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Make a member of a population a run folder of its own; return what its summary.json holds.

    The run has the member's seed, beta and learning rate, its metrics, what `evaluate` measured on
    it, and its best and latest checkpoints: it is evaluated and resumed as if it had been trained
    alone. Of a member that was not finite at some epoch, the best checkpoint alone is left.

    Args:
        folder: the run folder of the population.
        member: counts from 0, in the order of `members`.
        out: a new folder.
        like, trust_code: as for `jaxvae.training.load.load`, where it has classes of its own; its
            copy of their code is copied too.

    Raises:
        UsageError: not a population, or it has no such member.
        FileExistsError: `out` is not empty.
        FileNotFoundError: the population has no complete checkpoint.
        RunError: the member was not finite in its first epoch.
    """
    return extract_each(folder, {member: out}, like, trust_code)[member]


def extract_each(
    folder: str | Path,
    outs: Mapping[int, str | Path],
    like: Experiment | None = None,
    trust_code: bool = False,
) -> dict[int, dict[str, Any]]:
    """`extract` of several members, each to a folder; summaries by member.

    The checkpoint, which is that of all members, is read once. Where one cannot be taken out, those
    before it stay, whole.
    """
    folder = Path(folder)
    population = read_population(folder)
    if population is None:
        raise UsageError(f"{folder}: a single run, not a population")
    like = code.experiment_for(folder, like, trust_code)
    experiment, stored_shape, info = runs.read_config(folder, like)
    everyone = members(experiment, population)
    for member, out in outs.items():
        require(0 <= member < len(everyone), "member", member, f"in 0..{len(everyone) - 1}")
        guards.refuse_existing(Path(out))

    base, keys = everyone[0], root_keys(everyone)
    module = base.model.build(info)

    def beginning() -> States:
        state = initial_states(base, module, info, keys)
        return States(state, first_best(state))

    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        states, record = checkpoints.restore("latest", jax.eval_shape(beginning))
    whole = _Whole(
        folder,
        [*population.values()],
        info.shape,
        states,
        from_json(Progress({}, []), record, "progress."),
        read_rows(folder / "metrics.csv"),
    )
    found = {}
    for member, out in outs.items():
        own, out = everyone[member], Path(out)
        found[member] = _write_checkpoints(whole, own, member, out)
        config = runs.describe(own, stored_shape, info, runs.saved_config(folder).get("images"))
        config["sub_batch"] = own.train.sub_batch or guards.parts_as_before(own, folder)
        if (origin := runs.origin_of(folder)) is not None:
            config["init_from"] = origin
        config |= code.carry(folder, out)
        runs.write_json(out / "config.json", config)  # now it is a run
        measured.carry(folder, out, member)
    return found


class _Whole(NamedTuple):
    """A population as it stands: its latest checkpoint, what is recorded with it, its metrics."""

    folder: Path
    sweep: list[str]
    shape: tuple[int, ...]
    states: States
    progress: Progress
    rows: Rows


def _write_checkpoints(whole: _Whole, own: Experiment, member: int, out: Path) -> dict[str, Any]:
    """A member's checkpoints, metrics.csv and summary.json, which is returned."""
    states = whole.states
    if not whole.rows:
        raise runs.RunError(f"{whole.folder}: no epoch has ended yet")
    steps = int(whole.rows[0]["step"] // whole.rows[0]["epoch"])
    epochs = int(states.step) // steps
    rows = [row for row in rows_of(whole.rows, member) if row["epoch"] <= epochs]
    if not rows:
        raise runs.RunError(f"{whole.folder}: member {member} was not finite in epoch 1")
    monitors = monitors_of(rows, own.optimizer)
    kept = {monitors[-1].best_epoch * steps: states.best}
    if len(rows) == epochs:
        kept[int(states.step)] = stacked(states.latest)  # its best where that is the last epoch
    rows = rows[: max(kept) // steps]

    with Checkpoints(out / "checkpoints") as checkpoints:
        for step, state in sorted(kept.items()):
            monitor = monitors[step // steps - 1]
            sums = {
                name: [values[member] if step == int(states.step) else 0.0]
                for name, values in whole.progress.sums.items()
            }
            alone = taken(state, member)
            is_best = step == monitor.best_epoch * steps
            checkpoints.save(alone, asdict(Progress(sums, [Standing(monitor)])), is_best)
    summary = {
        "experiment": own.name,
        "status": f"member {member} of {whole.folder}",
        "folder": str(out),
        **swept(own, whole.sweep),
        "beta_eff": own.beta_eff(math.prod(whole.shape)),
        "epochs": len(rows),
        "steps": int(rows[-1]["step"]),
        "best": rows[monitors[-1].best_epoch - 1],
        "last": rows[-1],
    }
    runs.write_metrics(out / "metrics.csv", rows)
    runs.write_json(out / "summary.json", summary)
    return summary


@contextlib.contextmanager
def alone(
    folder: Path, member: int | None, like: Experiment | None = None, trust_code: bool = False
) -> Iterator[Path]:
    """The folder of a run; of a population that of one member, taken out as long as this lasts.

    Args:
        folder: the run folder.
        member: of a population; None: it is a single run.
        like, trust_code: as for `extract`.

    Raises:
        UsageError: as `extract`; a member of a single run, or none of a population.
    """
    population = read_population(folder)
    if population is None:
        require(member is None, "member", member, "left out: a single run, not a population")
        yield folder
    elif member is None:
        raise UsageError(f"{folder}: a population: give the number of one member, --member 0")
    else:
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary, "run")
            extract(folder, member, out, like, trust_code)
            yield out
