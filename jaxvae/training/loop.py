"""The training loop: epochs of compiled chunks, validation, checkpoints, metrics, figures."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae import data as datasets
from jaxvae import runs
from jaxvae.config import Experiment, Train, require
from jaxvae.evaluation import Trained, in_order, not_finite
from jaxvae.training import program as programs
from jaxvae.training.checkpoint import Checkpoints
from jaxvae.training.program import Program
from jaxvae.training.reporting import EventWriter, Reporter
from jaxvae.training.state import Monitor, TrainState
from jaxvae.training.step import beta_at


class NonFiniteError(runs.RunError):
    """Training stopped because a term of the loss, or its gradient, is not finite."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands besides its state, in plain numbers: a checkpoint holds both."""

    sums: dict[str, float]  # of the metrics of the epoch's steps so far
    seconds: float = 0.0  # spent on them
    monitor: Monitor = field(default_factory=Monitor)


def train(
    experiment: Experiment, folder: str | Path, resume: bool = False, quiet: bool = False
) -> dict[str, Any]:
    """Train, and leave a run folder; return what its summary.json holds.

    Args:
        experiment: the recipe.
        folder: the run folder: a new one, or with `resume` one that holds a checkpoint.
        resume: continue exactly where the latest checkpoint stands.
        quiet: print nothing.

    Raises:
        UsageError: a setting that the data or Optax do not allow, or with `resume` one that differs
            from the run's; nothing is written.
        FileExistsError: `folder` is not empty and `resume` is False.
        FileNotFoundError: no data, or nothing to resume from.
        NonFiniteError: the loss or its gradient is not finite; the last good checkpoint stays.
    """
    folder = Path(folder)
    try:
        return _train(experiment, folder, resume, quiet)
    except NonFiniteError as error:
        failed = {"experiment": experiment.name, "status": f"failed: {error}"}
        runs.write_json(folder / "summary.json", failed)
        raise


def _train(experiment: Experiment, folder: Path, resume: bool, quiet: bool) -> dict[str, Any]:
    """What `train` does, except for noting a failure in the run folder."""
    began = perf_counter()
    if resume:
        runs.refuse_population(folder)
        runs.refuse_changes(experiment, folder)
    else:
        runs.refuse_existing(folder, "give another --out, or continue it with --resume")
    dataset = datasets.load(experiment.data)
    program, state = programs.build(experiment, dataset)
    stored_shape = dataset.train.images.shape[1:]
    trained = Trained(experiment, program.model, state.variables, stored_shape)
    num_parameters = sum(x.size for x in jax.tree.leaves(state.params))

    settings, steps = experiment.train, program.steps_per_epoch
    progress = Progress(sums=dict.fromkeys(program.metrics, 0.0))
    rows: list[dict[str, float]] = []
    status = "finished"
    with (
        Checkpoints(folder / "checkpoints") as checkpoints,
        Reporter(settings.epochs, quiet) as reporter,
        EventWriter(folder if settings.tensorboard else None) as events,
    ):
        if resume:
            state, saved = checkpoints.restore(checkpoints.find("latest"), state)
            require(
                settings.max_steps is None or settings.max_steps > int(state.step),
                "train.max_steps",
                settings.max_steps,
                f"None or above the {int(state.step)} steps that {folder} has taken",
            )
            require(
                settings.epochs * steps > int(state.step),
                "train.epochs",
                settings.epochs,
                f"above the {int(state.step) // steps} epochs that {folder} has finished",
            )
            progress = Progress(saved["sums"], saved["seconds"], Monitor(**saved["monitor"]))
            rows = runs.read_metrics(folder / "metrics.csv")[: int(state.step) // steps]
        runs.write_json(folder / "config.json", runs.describe(experiment, stored_shape))
        reporter.say(
            f"{experiment.name}: {dataset.description}; {len(dataset.train.images)} training "
            f"images, {num_parameters:,} parameters, beta_eff "
            f"{experiment.beta_eff(program.num_pixels):.4g}; compiled in "
            f"{program.compile_seconds:.1f} s; writing to {folder} (nats per image, * best so far)"
        )
        for epoch in range(int(state.step) // steps + 1, settings.epochs + 1):
            if _is_stale(progress.monitor, epoch, settings):
                status = f"stopped early: no improvement since epoch {progress.monitor.best_epoch}"
                break
            state, progress = _train_epoch(
                experiment, program, state, progress, epoch, checkpoints, reporter
            )
            if int(state.step) < epoch * steps:
                status = f"stopped at train.max_steps = {settings.max_steps}"
                break
            row = _epoch_row(experiment, program, state, progress, epoch, checkpoints)
            monitor = progress.monitor.update(epoch, row["val_loss"], experiment.optimizer)
            rows.append(row)
            runs.write_metrics(folder / "metrics.csv", rows)
            events.write(row)
            reporter.end_epoch(row, is_best=monitor.best_epoch == epoch)

            state = replace(state, lr_scale=jnp.asarray(monitor.lr_scale, float))
            progress = Progress(dict.fromkeys(program.metrics, 0.0), 0.0, monitor)
            checkpoints.save(state, asdict(progress), row["val_loss"])
            if settings.figures_every and epoch % settings.figures_every == 0:
                from jaxvae import pictures  # Matplotlib takes 0.4 s to import

                now = trained._replace(variables=state.variables)
                pictures.write_progress(now, dataset, rows, folder / "figures", epoch)
        best_state = state
        if rows:
            best_state, _ = checkpoints.restore(checkpoints.find("best"), state)

    summary = {
        "experiment": experiment.name,
        "status": status,
        "folder": str(folder),
        "dataset": dataset.description,
        "images": {
            "train": len(dataset.train.images),
            "validation": len(dataset.validation.images),
            "test": len(dataset.test.images),
            "test_is_validation": dataset.test is dataset.validation,
        },
        "num_parameters": num_parameters,
        "beta_eff": experiment.beta_eff(program.num_pixels),
        "epochs": len(rows),
        "steps": int(state.step),
        "best": next((r for r in rows if r["epoch"] == progress.monitor.best_epoch), None),
        "last": rows[-1] if rows else None,
        "seconds": sum(row["seconds"] for row in rows),
        "compile_seconds": program.compile_seconds,
        "total_seconds": perf_counter() - began,  # without the last figures
        "device": jax.devices()[0].device_kind,
    }
    runs.write_json(folder / "summary.json", summary)
    if rows and settings.figures_every is not None:
        best = trained._replace(variables=best_state.variables)
        from jaxvae import pictures

        reporter.say(f"drawing figures in {folder / 'figures'}")
        try:
            pictures.write_all(best, dataset, rows, folder / "figures")
        except ValueError as error:
            raise runs.RunError(f"{folder}: trained, but cannot be drawn: {error}") from error
    return summary


def _train_epoch(
    experiment: Experiment,
    program: Program,
    state: TrainState,
    progress: Progress,
    epoch: int,
    checkpoints: Checkpoints,
    reporter: Reporter,
) -> tuple[TrainState, Progress]:
    """Advance to the end of the epoch, or to `max_steps`, with checkpoints on the way."""
    settings, order = experiment.train, program.order(epoch - 1)
    first, end = (epoch - 1) * program.steps_per_epoch, epoch * program.steps_per_epoch
    last = end if settings.max_steps is None else min(end, settings.max_steps)
    step, every = int(state.step), settings.checkpoint_steps
    reporter.start_epoch(epoch, step - first, program.steps_per_epoch)
    while step < last:
        stop = last if every is None else min(last, (step // every + 1) * every)
        state, progress = _advance(
            experiment, program, state, progress, order, step, stop, checkpoints, reporter
        )
        step = stop
        if step < end and (step == settings.max_steps or every is not None):
            _validate(program, state, f"step {step} (epoch {epoch})", checkpoints)
            checkpoints.save(state, asdict(progress))
    return state, progress


def _advance(
    experiment: Experiment,
    program: Program,
    state: TrainState,
    progress: Progress,
    order: jax.Array,
    step: int,
    stop: int,
    checkpoints: Checkpoints,
    reporter: Reporter,
) -> tuple[TrainState, Progress]:
    """From `step` to `stop`, chunk by chunk, within one epoch.

    A chunk's metrics are fetched while the next one runs, so that the device need not wait.
    """
    began, before = perf_counter(), progress.seconds
    epoch = step // program.steps_per_epoch + 1
    first = (epoch - 1) * program.steps_per_epoch

    def fetched(sums: dict[str, jax.Array], step: int) -> Progress:
        host_sums = {name: float(value) for name, value in sums.items()}  # waits for the device
        if not_finite(host_sums):
            step = int(state.step)  # chunks end there, and later ones take no step
        _refuse_non_finite(host_sums, f"step {step} (epoch {epoch})", checkpoints)
        seconds, taken = before + perf_counter() - began, step - first
        means = {name: value / taken for name, value in host_sums.items()}
        reporter.advance(taken, means, taken * experiment.data.batch_size / seconds)
        return replace(progress, sums=host_sums, seconds=seconds)

    sums = {name: jnp.asarray(value, float) for name, value in progress.sums.items()}
    running = None
    while step < stop:
        num_steps = min(experiment.train.chunk_steps, stop - step)
        state, sums = program.advance(state, sums, order, num_steps)
        if running is not None:
            fetched(*running)
        step += num_steps
        running = sums, step
    return state, progress if running is None else fetched(*running)


def _epoch_row(
    experiment: Experiment,
    program: Program,
    state: TrainState,
    progress: Progress,
    epoch: int,
    checkpoints: Checkpoints,
) -> dict[str, float]:
    """Validate, and return the epoch's row of metrics.csv."""
    validation = _validate(program, state, f"epoch {epoch}", checkpoints)
    steps = program.steps_per_epoch
    means = {name: value / steps for name, value in progress.sums.items()}
    grad_norm = means.pop("grad_norm")
    return {
        "epoch": epoch,
        "step": int(state.step),
        **{f"train_{name}": value for name, value in in_order(means).items()},
        **{f"val_{name}": value for name, value in validation.items()},
        "beta_eff": float(beta_at(experiment, program.num_pixels, int(state.step) - 1)),
        "learning_rate": float(optax.tree.get(state.opt_state, "learning_rate")),
        "grad_norm": grad_norm,
        "seconds": progress.seconds,
        "images_per_second": steps * experiment.data.batch_size / progress.seconds,
    }


def _validate(
    program: Program, state: TrainState, after: str, checkpoints: Checkpoints
) -> dict[str, float]:
    """Means over the validation images. A state is saved only after this has found them finite."""
    means = in_order(program.validate(state.variables))
    _refuse_non_finite(means, f"the validation after {after}", checkpoints)
    return means


def _is_stale(monitor: Monitor, epoch: int, settings: Train) -> bool:
    """Whether `early_stopping` epochs before this one passed without a new best."""
    patience = settings.early_stopping
    return patience is not None and epoch - 1 - monitor.best_epoch >= patience


def _refuse_non_finite(values: dict[str, float], where: str, checkpoints: Checkpoints) -> None:
    if bad := not_finite(values):
        steps = checkpoints.steps()
        kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint yet"
        raise NonFiniteError(
            f"not finite at {where}: {', '.join(bad)}; {kept}. A new run with a lower "
            "optimizer.learning_rate or with optimizer.clip_norm may do better"
        )
