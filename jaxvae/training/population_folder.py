"""The run folder of a population: its rows of metrics, and how a member becomes a run alone."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from jaxvae import runs
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Optimizer, Population
from jaxvae.from_json import from_json
from jaxvae.runs import guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training.epoch import Progress
from jaxvae.training.members import (
    initial_states,
    members,
    root_keys,
    stacked,
    swept,
)
from jaxvae.training.state import Monitor

Rows = list[dict[str, float]]


def read_population(folder: Path) -> Population | None:
    """The population that a run folder holds; None if it holds a single run.

    Raises:
        UsageError: not a run folder, or a damaged config.json.
    """
    saved = runs.saved_config(folder).get("population")
    try:
        return None if saved is None else from_json(Population(), saved, "population.")
    except UsageError as error:
        raise UsageError(f"{folder / 'config.json'}: {error}") from error


def read_rows(folder: Path, epochs: int) -> Rows:
    """The first epochs of a population's metrics.csv, a row per member and epoch."""
    rows = runs.read_metrics(folder / "metrics.csv")
    whole = ("member", "finite")
    rows = [row | {name: int(row[name]) for name in whole} for row in rows]
    return [row for row in rows if row["epoch"] <= epochs]


def rows_of(rows: Rows, member: int) -> Rows:
    """A member's rows as if it had been trained alone: until it was not finite."""
    return [
        {name: value for name, value in row.items() if name not in ("member", "finite")}
        for row in rows
        if row["member"] == member and row["finite"]
    ]


def monitors_of(rows: Rows, settings: Optimizer) -> list[Monitor]:
    """A member's monitor after each of its epochs."""
    monitors, monitor = [], Monitor()
    for row in rows:
        monitor = monitor.update(int(row["epoch"]), row["val_loss"], settings)
        monitors.append(monitor)
    return monitors


def extract(
    folder: str | Path, member: int, out: str | Path, like: Experiment | None = None
) -> dict[str, Any]:
    """Make a member of a population a run folder of its own; return what its summary.json holds.

    The run has the member's seed, beta and learning rate, its metrics, and its best and latest
    checkpoints: it is evaluated and resumed as if it had been trained alone. Of a member that was
    not finite at some epoch, the best checkpoint alone is left.

    Args:
        folder: the run folder of the population.
        member: counts from 0, in the order of `members`.
        out: a new folder.
        like: the population's experiment, needed only when it has classes of its own.

    Raises:
        UsageError: not a population, or it has no such member.
        FileExistsError: `out` is not empty.
        FileNotFoundError: the population has no complete checkpoint.
        RunError: the member was not finite in its first epoch.
    """
    folder, out = Path(folder), Path(out)
    population = read_population(folder)
    if population is None:
        raise UsageError(f"{folder}: a single run, not a population")
    experiment, stored_shape, info = runs.read_config(folder, like)
    everyone = members(experiment, population)
    require(0 <= member < len(everyone), "member", member, f"in 0..{len(everyone) - 1}")
    guards.refuse_existing(out)

    base, keys = everyone[0], root_keys(everyone)
    module = base.model.build(info)
    abstract = jax.eval_shape(lambda: initial_states(base, module, info, keys))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        states, progress = checkpoints.restore("latest", abstract)
    rows = rows_of(read_rows(folder, progress["epoch"]), member)
    if not rows:
        raise runs.RunError(f"{folder}: member {member} was not finite in epoch 1")
    own = everyone[member]
    monitors = monitors_of(rows, own.optimizer)
    kept = {monitors[-1].best_epoch: states.best}
    if len(rows) == progress["epoch"]:
        kept[len(rows)] = stacked(states.latest)  # equal to its best where that is the last epoch
    rows = rows[: max(kept)]

    sums = {name.removeprefix("train_"): 0.0 for name in rows[0] if name.startswith("train_")}
    with Checkpoints(out / "checkpoints") as checkpoints:
        for epoch, state in sorted(kept.items()):
            progress = asdict(Progress(sums | {"grad_norm": 0.0}, monitor=monitors[epoch - 1]))
            alone = jax.tree.map(lambda x: x[member], state)
            is_best = epoch == monitors[epoch - 1].best_epoch
            checkpoints.save(alone, progress, is_best)
    summary = {
        "experiment": own.name,
        "status": f"member {member} of {folder}",
        "folder": str(out),
        **swept(own, [*population.values()]),
        "beta_eff": own.beta_eff(math.prod(info.shape)),
        "epochs": len(rows),
        "steps": int(rows[-1]["step"]),
        "best": rows[monitors[-1].best_epoch - 1],
        "last": rows[-1],
    }
    runs.write_metrics(out / "metrics.csv", rows)
    runs.write_json(out / "summary.json", summary)
    config = runs.describe(own, stored_shape, info, runs.saved_config(folder).get("images"))
    runs.write_json(out / "config.json", config)  # now it is a run
    return summary
