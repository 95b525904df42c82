"""Members of one experiment that differ in seed, beta and learning rate, trained by one program."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
from matplotlib.figure import Figure

from jaxvae import data as datasets
from jaxvae import figures, runs
from jaxvae.checks import require
from jaxvae.config import Experiment, Optimizer, Population
from jaxvae.evaluation import in_order
from jaxvae.runs import guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training.epoch import NonFiniteError
from jaxvae.training.interrupt import StopRequest
from jaxvae.training.members import Program, States, build, members, swept
from jaxvae.training.population_folder import (
    Rows,
    read_population,
    read_rows,
    rows_of,
)
from jaxvae.training.reporting import Reporter
from jaxvae.training.state import Monitor, TrainState
from jaxvae.training.step import beta_eff_at

TERMS = ("val_loss", "val_recon", "val_kl")


@dataclass(frozen=True)
class Standing:
    """What the epochs so far say about a member."""

    monitor: Monitor = field(default_factory=Monitor)
    failed_epoch: int | None = None  # the first that was not finite

    def update(self, row: dict[str, float], settings: Optimizer) -> "Standing":
        """After an epoch's row; nothing counts any more after one that is not finite."""
        epoch = int(row["epoch"])
        if self.failed_epoch is not None:
            return self
        if not row["finite"]:
            return replace(self, failed_epoch=epoch)
        return replace(self, monitor=self.monitor.update(epoch, row["val_loss"], settings))

    def improved(self, epoch: int) -> bool:
        """Whether `epoch`, the last one, is the best."""
        return self.failed_epoch is None and self.monitor.best_epoch == epoch

    def is_stale(self, epoch: int, patience: int | None) -> bool:
        """Whether early stopping would have stopped the member before `epoch`."""
        stopped = patience is not None and epoch - 1 - self.monitor.best_epoch >= patience
        return stopped or self.failed_epoch is not None


def train_population(
    experiment: Experiment,
    population: Population,
    folder: str | Path,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train all members at once, and leave a run folder; return what its summary.json holds.

    Each member is what it would be if trained alone, to float tolerance; `extract` makes it a run
    of its own. Training goes on until early stopping would have stopped every member. A member that
    is not finite is left out from that epoch on.

    Args:
        experiment: the recipe.
        population: how many seeds, and what to sweep.
        folder: the run folder: a new one, or with `resume` one that holds a population.
        resume: continue exactly where the latest checkpoint, at the end of an epoch, stands. One
            that has finished takes no step more, and is summarised and drawn again.
        quiet: print nothing.

    Raises:
        UsageError: a setting that is not allowed, or with `resume` one that differs from the
            population's; nothing is written.
        FileExistsError: `folder` is not empty and `resume` is False.
        FileNotFoundError: no data.
        NonFiniteError: no member is finite any more; the last good checkpoint stays.
        RunError: a checkpoint cannot be written, or none can be read.
        Interrupted: SIGTERM or SIGINT came; the epoch that ran is finished and saved.
    """
    folder = Path(folder)
    for name in ("max_steps", "checkpoint_steps", "tensorboard"):
        value = getattr(experiment.train, name)
        require(not value, f"train.{name}", value, "left out: a population is saved each epoch")
    streaming = experiment.data.streaming
    require(not streaming, "data.streaming", streaming, "left out: a population holds its images")
    everyone = members(experiment, population)
    with guards.held(folder), StopRequest() as stop:
        if resume:
            saved = read_population(folder)
            kept = "left out: a single run" if saved is None else f"that of the run, {saved}"
            require(saved == population, "population", population, kept)
            guards.refuse_changes(experiment, folder)
            guards.remove_unfinished(folder)
        else:
            guards.refuse_existing(folder)
        try:
            return _train(experiment, population, everyone, folder, resume, quiet, stop)
        except (NonFiniteError, runs.Interrupted) as error:
            runs.write_json(folder / "summary.json", runs.ended_early(experiment, error))
            raise type(error)(f"{folder}: {error}") from None


def _train(
    experiment: Experiment,
    population: Population,
    everyone: Sequence[Experiment],
    folder: Path,
    resume: bool,
    quiet: bool,
    stop: StopRequest,
) -> dict[str, Any]:
    """What `train_population` does, once it is known that it may."""
    began = perf_counter()
    dataset = datasets.load(experiment.data)
    stored_shape, images = dataset.train.images.shape[1:], datasets.fingerprint(dataset)
    if resume:
        guards.refuse_other_images(folder, stored_shape, images)
    names = [*population.values()]
    program, states = build(everyone, dataset, names)
    num_parameters = sum(x.size for x in jax.tree.leaves(states.latest.params)) // len(everyone)
    config = runs.describe(experiment, stored_shape, program.info, images)
    config["population"] = asdict(population)
    if not resume:  # before any checkpoint, which could not be read without it
        runs.write_json(folder / "config.json", config)
    settings, steps = experiment.train, program.steps_per_epoch
    standings = [Standing() for _ in everyone]
    rows: Rows = []
    status = "finished"
    with (
        Checkpoints(folder / "checkpoints") as checkpoints,
        Reporter(settings.epochs, quiet) as reporter,
    ):
        if resume and not checkpoints.steps():
            guards.refuse_lost_checkpoints(folder)
        elif resume:
            states, progress = checkpoints.restore("latest", states)
            done = progress["epoch"]
            allowed = f"at least the {done} epochs that {folder} has finished"
            require(settings.epochs >= done, "train.epochs", settings.epochs, allowed)
            standings = [
                Standing(Monitor(**member["monitor"]), member["failed_epoch"])
                for member in progress["members"]
            ]
            rows = read_rows(folder, done)
            checkpoints.set_aside_after(int(states.step))
        if resume:
            runs.write_json(folder / "config.json", config)
            (folder / "summary.json").unlink(missing_ok=True)  # of before
        reporter.say(
            f"{experiment.name}: {len(everyone)} members; {dataset.description}; "
            f"{len(dataset.train.images)} training images, {num_parameters:,} parameters each; "
            f"compiled in {program.compile_seconds:.1f} s; writing to {folder} (nats per image)"
        )
        for epoch in range(int(states.step) // steps + 1, settings.epochs + 1):
            if all(s.is_stale(epoch, settings.early_stopping) for s in standings):
                status = f"stopped early: no member improved in {settings.early_stopping} epochs"
                break
            latest, of_epoch = _train_epoch(everyone, program, states.latest, epoch, reporter)
            rows += [r for r, s in zip(of_epoch, standings, strict=True) if s.failed_epoch is None]
            runs.write_metrics(folder / "metrics.csv", rows)
            standings = [
                s.update(r, m.optimizer)
                for r, s, m in zip(of_epoch, standings, everyone, strict=True)
            ]
            if all(s.failed_epoch is not None for s in standings):
                kept = f"checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "no checkpoint"
                raise NonFiniteError(f"no member is finite at the end of epoch {epoch}; {kept}")
            reporter.say(_line(of_epoch, standings, settings.epochs))

            lr_scale = jnp.asarray([s.monitor.lr_scale for s in standings], float)
            latest = replace(latest, lr_scale=lr_scale)
            improved = jnp.asarray([s.improved(epoch) for s in standings])
            states = States(latest, program.keep(latest, states.best, improved))
            progress = {"epoch": epoch, "members": [asdict(s) for s in standings]}
            checkpoints.save(states, progress)
            if stop and epoch < settings.epochs:
                raise runs.Interrupted(f"interrupted after epoch {epoch}, which is saved")

    each: list[dict[str, Any]] = [
        {
            "member": i,
            **swept(member, names),
            "beta_eff": member.beta_eff(math.prod(program.info.shape)),
            "failed_epoch": standing.failed_epoch,
            "best": next((r for r in own if r["epoch"] == standing.monitor.best_epoch), None),
            "last": own[-1] if own else None,
        }
        for i, (member, standing) in enumerate(zip(everyone, standings, strict=True))
        for own in [rows_of(rows, i)]
    ]
    by_setting: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    varied = [name for name in swept(experiment, names) if name != "seed"]
    for member in each:
        by_setting.setdefault(tuple(member[name] for name in varied), []).append(member)
    summary = {
        "experiment": experiment.name,
        "status": status,
        "folder": str(folder),
        "dataset": dataset.description,
        "num_parameters": num_parameters,
        "epochs": int(states.step) // steps,
        "steps": int(states.step),
        **_statistics(each),
        "settings": [
            {**dict(zip(varied, values, strict=True)), **_statistics(of_setting)}
            for values, of_setting in by_setting.items()
        ],
        "members": each,
        "seconds": sum(row["seconds"] for row in rows if row["member"] == 0),
        "compile_seconds": program.compile_seconds,
        "total_seconds": perf_counter() - began,
        "device": jax.devices()[0].device_kind,
    }
    runs.write_json(folder / "summary.json", summary)
    if settings.figures_every is not None:
        figures.save(_curves(everyone, names, rows), folder / "figures" / "population.png")
    return summary


def _train_epoch(
    everyone: Sequence[Experiment],
    program: Program,
    state: TrainState,
    epoch: int,
    reporter: Reporter,
) -> tuple[TrainState, Rows]:
    """An epoch of all members, chunk by chunk, and its row of metrics.csv for each."""
    steps, settings = program.steps_per_epoch, everyone[0]
    sums = {name: jnp.zeros(len(everyone)) for name in program.metrics}
    reporter.start_epoch(epoch, 0, steps)
    done, began = 0, perf_counter()
    for order, num_steps in program.chunks(epoch * steps - steps, epoch * steps):
        state, sums = program.advance(state, sums, order, num_steps)
        done += num_steps
        means = {name: float(jnp.nanmean(value)) / done for name, value in sums.items()}
        seen = done * settings.data.batch_size * len(everyone)
        reporter.advance(done, means, seen / (perf_counter() - began))
    seconds = perf_counter() - began
    validation = program.validate(state.variables)
    rates = state.learning_rate
    rows = []
    for i, member in enumerate(everyone):
        train = in_order({name: float(value[i]) / steps for name, value in sums.items()})
        val = in_order({name: float(value[i]) for name, value in validation.items()})
        grad_norm = train.pop("grad_norm")
        finite = all(map(math.isfinite, [*train.values(), grad_norm, *val.values()]))
        rows.append(
            {
                "member": i,
                "epoch": epoch,
                "step": int(state.step),
                **{f"train_{name}": value for name, value in train.items()},
                **{f"val_{name}": value for name, value in val.items()},
                "beta_eff": beta_eff_at(member, math.prod(program.info.shape), int(state.step) - 1),
                "learning_rate": float(rates[i]),
                "grad_norm": grad_norm,
                "seconds": seconds,
                "images_per_second": steps * member.data.batch_size / seconds,
                "finite": int(finite),
            }
        )
    return state, rows


def _line(of_epoch: Rows, standings: Sequence[Standing], epochs: int) -> str:
    """What an epoch says of all members."""
    epoch, seconds = int(of_epoch[0]["epoch"]), of_epoch[0]["seconds"]
    finite = [r for r, s in zip(of_epoch, standings, strict=True) if s.failed_epoch is None]
    losses = [row["val_loss"] for row in finite]
    improved = sum(standing.improved(epoch) for standing in standings)
    lost = f", {len(standings) - len(finite)} not finite" if len(finite) < len(standings) else ""
    return (
        f"epoch {epoch:{len(str(epochs))}d}/{epochs}  val loss {min(losses):.5g} to "
        f"{max(losses):.5g}, mean {statistics.fmean(losses):.5g} ({improved} of "
        f"{len(standings)} improved{lost})  {seconds:.2f} s"
    )


def _statistics(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation (n - 1) over the members that stayed finite."""
    finite = [member for member in each if member["failed_epoch"] is None]

    def spread(values: list[float]) -> dict[str, float]:
        std = statistics.stdev(values) if len(values) > 1 else 0.0
        return {"mean": statistics.fmean(values), "std": std}

    found: dict[str, Any] = {"num_members": len(each), "num_finite": len(finite)}
    for which in ("best", "last"):
        rows = [member[which] for member in finite]
        found[which] = {t: spread([r[t] for r in rows]) for t in TERMS} if rows else None
    return found


def _curves(everyone: Sequence[Experiment], names: Sequence[str], rows: Rows) -> Figure:
    """Every member's validation loss; named by what differs, by the seed only where all else is
    equal. Where betas differ, it is that of beta 1, recon + KL, since others cannot be compared."""
    fields = [swept(member, names) for member in everyone]
    betas_differ = len({f["objective.beta"] for f in fields}) > 1
    differ = [name for name in fields[0] if len({f[name] for f in fields}) > 1]
    shown = [name for name in differ if name != "seed"] or ["seed"]
    curves = []
    for i, of_member in enumerate(fields):
        label = ", ".join(f"{_title(name)} {of_member[name]:g}" for name in shown)
        own = rows_of(rows, i)
        losses = [r["val_recon"] + r["val_kl"] if betas_differ else r["val_loss"] for r in own]
        curves.append((label, [r["epoch"] for r in own], losses))
    title = "Validation loss" + (" at beta 1 (recon + KL)" if betas_differ else "")
    return figures.validation_curves(curves, title)


def _title(name: str) -> str:
    """objective.beta: beta; optimizer.learning_rate: learning rate; critics keep their names."""
    _, *rest = name.split(".")
    return " ".join(rest or [name]).replace("_", " ")
