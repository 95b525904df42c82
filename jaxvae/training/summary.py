"""What a run and a population say of themselves: the first line, summary.json, a figure."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxvae.config import Experiment
from jaxvae.data import Dataset
from jaxvae.training.epoch import Progress, Training
from jaxvae.training.members import swept
from jaxvae.training.metrics import Rows, rows_of
from jaxvae.training.monitor import Standing
from jaxvae.training.state import TrainState

TERMS = ("val_loss", "val_recon", "val_kl")
COLOURED = 10
"""Members at most of which each has a colour of its own."""
NOTICEABLE = 0.01
"""Of all that a validation loss fell, so much in the last quarter of the epochs is still a fall."""


def first_line(run: Training, dataset: Dataset, state: TrainState, folder: Path) -> str:
    """What is trained, on what, and where it is kept."""
    experiment, program, count = run.experiment, run.program, len(run.everyone)
    each = f"{count} members; " if count > 1 else ""
    beta = f", beta_eff {experiment.beta_eff(program.num_pixels):.4g}" if count == 1 else " each"
    kind = "examples" if program.info.maximum is None else "images"
    of_device = experiment.data.batch_size // program.runner.mesh.size
    is_divided = program.sub_batch < of_device
    in_parts = f"; batches in parts of {program.sub_batch}" if is_divided else ""
    return (
        f"{experiment.name}: {each}{dataset.description}; {len(dataset.train.images):,} training "
        f"{kind}, {num_parameters(run, state):,} parameters{beta}; {program.runner.describe()}; "
        f"compiled in {program.compile_seconds:.1f} s; writing to {folder} (nats per "
        f"{kind[:-1]}"
        f"{', * best so far' if count == 1 else ''}){in_parts}"
    )


def stale(standings: Sequence[Standing], patience: int | None) -> str:
    """Why no member goes on."""
    if len(standings) == 1:
        return f"stopped early: no improvement since epoch {standings[0].monitor.best_epoch}"
    return f"stopped early: no member improved in {patience} epochs"


def summary_of(
    run: Training,
    dataset: Dataset,
    state: TrainState,
    progress: Progress,
    rows: Rows,
    names: Sequence[str],
) -> dict[str, Any]:
    """What a training came to. `names` are the fields that a population sweeps."""
    program, experiment = run.program, run.experiment
    of_first = [row for row in rows if row["member"] == 0]
    common = {
        "experiment": experiment.name,
        "status": "finished",
        "folder": "",
        "dataset": dataset.description,
        "data": list(dataset.said),
        "images": {
            "train": len(dataset.train.images),
            "validation": len(dataset.validation.images),
            "test": len(dataset.test.images),
            "test_is_validation": dataset.test is dataset.validation,
        },
        "num_parameters": num_parameters(run, state),
        "beta_eff": experiment.beta_eff(program.num_pixels),
        "epochs": int(state.step) // program.steps_per_epoch,
        "steps": int(state.step),
        "seconds": sum(row["seconds"] for row in of_first),
        "compile_seconds": program.compile_seconds,
        "total_seconds": 0.0,
        "device": jax.devices()[0].device_kind,
        "runner": program.runner.describe(),
    }
    each = [
        {
            "member": i,
            **swept(member, names),
            "beta_eff": member.beta_eff(program.num_pixels),
            "failed_epoch": standing.failed_epoch,
            **best_and_last(rows_of(rows, i), standing),
        }
        for i, (member, standing) in enumerate(zip(run.everyone, progress.standings, strict=True))
    ]
    if program.members is None:
        ends = {name: each[0][name] for name in ("best", "last")}
        return common | ends | {"still_falling": still_falling(rows)}
    by_setting: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    varied = [name for name in swept(experiment, names) if name != "seed"]
    for member in each:
        by_setting.setdefault(tuple(member[name] for name in varied), []).append(member)
    del common["beta_eff"]
    return common | {
        **_statistics(each),
        "settings": [
            {**dict(zip(varied, values, strict=True)), **_statistics(of_setting)}
            for values, of_setting in by_setting.items()
        ],
        "members": each,
    }


def num_parameters(run: Training, state: TrainState) -> int:
    """Of the model and the objective together, of one member."""
    return sum(x.size for x in jax.tree.leaves(state.params)) // len(run.everyone)


def best_and_last(rows: Rows, standing: Standing) -> dict[str, Any]:
    """The rows of a member's best epoch and of its last; None where a callback's number is none."""

    def plain(row: dict[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in row.items()}

    best = next((row for row in rows if row["epoch"] == standing.monitor.best_epoch), None)
    return {
        "best": None if best is None else plain(best),
        "last": plain(rows[-1]) if rows else None,
    }


def still_falling(rows: Rows) -> dict[str, float] | None:
    """By how many nats the validation loss of a run alone fell in a quarter of its epochs, up to
    the best one.

    None: hardly, or the best epoch is none of the last two, or there is one epoch only.
    """
    losses = [row["val_loss"] for row in rows]
    if not losses or not all(map(math.isfinite, losses)):
        return None
    at, last = losses.index(min(losses)), max(1, len(losses) // 4)
    fell = min(losses[: max(1, at + 1 - last)]) - losses[at]
    if at + 2 < len(losses) or fell <= NOTICEABLE * (losses[0] - losses[at]):
        return None
    return {"nats": fell, "epochs": last}


def _statistics(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over the members that stayed finite; None where none has
    ended an epoch."""
    finite = [member for member in each if member["failed_epoch"] is None]

    def spread(values: list[float]) -> dict[str, float]:
        std = statistics.stdev(values) if len(values) > 1 else 0.0
        return {"mean": statistics.fmean(values), "std": std}

    found: dict[str, Any] = {"num_members": len(each), "num_finite": len(finite)}
    for which in ("best", "last"):
        rows = [member[which] for member in finite if member[which] is not None]
        found[which] = {t: spread([r[t] for r in rows]) for t in TERMS} if rows else None
    return found


def population_curves(
    everyone: Sequence[Experiment], names: Sequence[str], rows: Rows, folder: Path
) -> None:
    """Every member's validation loss, named by what differs: each member where they are few, else
    by all but the seed, where more differs. Where betas differ, it is that of beta 1, recon + KL,
    since others cannot be compared."""
    from jaxvae import figures  # Matplotlib takes 0.4 s to import
    from jaxvae.evaluation import written

    fields = [swept(member, names) for member in everyone]
    betas_differ = len({f["objective.beta"] for f in fields}) > 1
    differ = [name for name in fields[0] if len({f[name] for f in fields}) > 1]
    few = len(everyone) <= COLOURED
    shown = [name for name in differ if name != "seed" or few] or ["seed"]
    curves = []
    for i, of_member in enumerate(fields):
        label = ", ".join(f"{_title(name)} {of_member[name]:g}" for name in shown)
        own = rows_of(rows, i)
        losses = [r["val_recon"] + r["val_kl"] if betas_differ else r["val_loss"] for r in own]
        curves.append((label, [r["epoch"] for r in own], losses))
    title = "Validation loss" + (" at beta 1 (recon + KL)" if betas_differ else "")
    one = everyone[0]
    data = written.data_name(one.data.source)
    text = written.footer(one, folder.parent, f"{len(everyone)} members", data)
    figure = figures.validation_curves(curves, title)
    written.save(figure, folder / "population", one.train.figure_formats, text)


def _title(name: str) -> str:
    """objective.beta: beta; optimizer.learning_rate: learning rate; critics keep their names."""
    _, *rest = name.split(".")
    return " ".join(rest or [name]).replace("_", " ")
