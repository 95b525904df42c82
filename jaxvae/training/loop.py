"""The training loop: epochs of compiled chunks, validation, checkpoints, metrics, figures."""

import contextlib
import json
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import numpy as np

from jaxvae import data as datasets
from jaxvae import processes, runs
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Parallel, Train
from jaxvae.evaluation import Trained
from jaxvae.from_json import from_json
from jaxvae.runs import guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import devices
from jaxvae.training import program as programs
from jaxvae.training.epoch import NonFiniteError, Progress, basis, epoch_row, train_epoch
from jaxvae.training.interrupt import StopRequest
from jaxvae.training.program import Program
from jaxvae.training.reporting import EventWriter, Reporter
from jaxvae.training.state import Monitor, TrainState


def train(
    experiment: Experiment,
    folder: str | Path,
    resume: bool = False,
    quiet: bool = False,
    parallel: Parallel = Parallel(),  # noqa: B008
    may_change: Collection[str] = (),
) -> dict[str, Any]:
    """Train, and leave a run folder; return what its summary.json holds.

    Args:
        experiment: the recipe.
        folder: the run folder: a new one, or with `resume` one of a run.
        resume: continue exactly where the latest checkpoint stands; from the start without one. A
            run that has finished takes no step more, and is summarised and drawn again.
        quiet: print nothing.
        parallel: on which devices; in a distributed run every process calls this function.
        may_change: settings, of `guards.CHANGEABLE`, in which a resumed run may differ from before.

    Raises:
        UsageError: a setting that the data, the devices or Optax do not allow, or with `resume`
            settings or images that differ from the run's, or another process trains there; nothing
            is written.
        FileExistsError: `folder` is not empty and `resume` is False.
        FileNotFoundError: no data.
        NonFiniteError: the loss or its gradient is not finite; the last good checkpoint stays.
        Interrupted: SIGTERM or SIGINT came; the state after the chunk that ran is saved.
        RunError: a checkpoint cannot be written, or none can be read.
    """
    folder = Path(folder)
    guards.refuse_unchangeable(may_change)

    def refuse() -> None:
        claim.enter_context(guards.held(folder))
        if resume:
            guards.refuse_population(folder)
            guards.refuse_changes(experiment, folder, may_change)
            guards.remove_unfinished(folder)
        else:
            guards.refuse_existing(folder, "give another --out, or continue it with --resume")

    with contextlib.ExitStack() as claim, StopRequest() as stop:
        processes.first_decides(refuse)
        try:
            processes.refuse_other_folder(folder)
            return _train(experiment, folder, resume, quiet, parallel, may_change, stop)
        except (NonFiniteError, runs.Interrupted) as error:
            _write_summary(folder, runs.ended_early(experiment, error))
            raise type(error)(f"{folder}: {error}") from None


def _train(
    experiment: Experiment,
    folder: Path,
    resume: bool,
    quiet: bool,
    parallel: Parallel,
    may_change: Collection[str],
    stop: StopRequest,
) -> dict[str, Any]:
    """What `train` does, once it is known that it may, except for noting how it failed."""
    began, first = perf_counter(), processes.is_first()
    dataset = datasets.load(experiment.data)
    stored_shape, images = dataset.train.images.shape[1:], datasets.fingerprint(dataset)
    _refuse_disagreement(experiment, images)
    if resume:
        guards.refuse_other_images(folder, stored_shape, images, may_change)
    program, state = programs.build(experiment, dataset, parallel)
    trained = Trained(experiment, program.model, state.variables, stored_shape, program.info)
    config = runs.describe(experiment, stored_shape, program.info, images)
    if first and not resume:  # before any checkpoint, which could not be read without it
        runs.write_json(folder / "config.json", config)
    processes.wait_for_all("compiled")
    num_parameters = sum(x.size for x in jax.tree.leaves(state.params))

    settings, steps = experiment.train, program.steps_per_epoch
    progress = Progress(dict.fromkeys(program.metrics, 0.0), basis(experiment))
    rows: list[dict[str, float]] = []
    status = "finished"
    with (
        Checkpoints(folder / "checkpoints") as checkpoints,
        Reporter(settings.epochs, quiet or not first) as reporter,
        EventWriter(folder if settings.tensorboard and first else None) as events,
    ):
        if resume and not checkpoints.steps():
            guards.refuse_lost_checkpoints(folder)
        elif resume:
            state, saved = checkpoints.restore("latest", state)
            taken = int(state.step)
            require(
                settings.max_steps is None or settings.max_steps >= taken,
                "train.max_steps",
                settings.max_steps,
                f"None or at least the {taken} steps that {folder} has taken",
            )
            require(
                settings.epochs * steps >= taken,
                "train.epochs",
                settings.epochs,
                f"at least {-(-taken // steps)}, since {folder} has taken {taken} steps",
            )
            progress = from_json(progress, saved, "progress.")
            progress = progress.on(basis(experiment), taken // steps)
            state = _scaled(state, progress.monitor, program)
            rows = runs.first_epochs(folder / "metrics.csv", taken // steps)
            checkpoints.set_aside_after(taken)
        if first and resume:
            runs.write_json(folder / "config.json", config)
            (folder / "summary.json").unlink(missing_ok=True)  # of before
        reporter.say(
            f"{experiment.name}: {dataset.description}; {len(dataset.train.images)} training "
            f"images, {num_parameters:,} parameters, beta_eff "
            f"{experiment.beta_eff(program.num_pixels):.4g}; {program.runner.describe()}; "
            f"compiled in {program.compile_seconds:.1f} s; writing to {folder} (nats per image, * "
            "best so far)"
        )
        for epoch in range(int(state.step) // steps + 1, settings.epochs + 1):
            if _is_stale(progress.monitor, epoch, settings):
                status = f"stopped early: no improvement since epoch {progress.monitor.best_epoch}"
                break
            state, progress = train_epoch(
                experiment, program, state, progress, epoch, checkpoints, reporter, stop
            )
            if int(state.step) < epoch * steps:
                status = f"stopped at train.max_steps = {settings.max_steps}"
                break
            row = epoch_row(experiment, program, state, progress, epoch, checkpoints)
            monitor = progress.monitor.update(epoch, row["val_loss"], experiment.optimizer)
            rows.append(row)
            if first:
                runs.write_metrics(folder / "metrics.csv", rows)
            events.write(row)
            reporter.end_epoch(row, is_best=monitor.best_epoch == epoch)

            state = _scaled(state, monitor, program)
            progress = Progress(dict.fromkeys(program.metrics, 0.0), progress.basis, monitor)
            checkpoints.save(state, asdict(progress), is_best=monitor.best_epoch == epoch)
            if settings.figures_every and epoch % settings.figures_every == 0:
                if first:
                    from jaxvae.evaluation import pictures  # Matplotlib takes 0.4 s to import

                    now = trained._replace(variables=devices.local(state.variables))
                    pictures.write_progress(now, dataset, rows, folder / "figures", epoch)
                processes.wait_for_all(f"figures of epoch {epoch}")
        best_state = checkpoints.restore("best", state)[0] if rows else state

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
        "runner": program.runner.describe(),
    }
    _write_summary(folder, summary)
    if first and rows and settings.figures_every is not None:
        best = trained._replace(variables=devices.local(best_state.variables))
        from jaxvae.evaluation import pictures

        reporter.say(f"drawing figures in {folder / 'figures'}")
        try:
            pictures.write_all(best, dataset, rows, folder / "figures")
        except ValueError as error:
            raise runs.RunError(f"{folder}: trained, but cannot be drawn: {error}") from error
    processes.wait_for_all("the end")
    return summary


def _refuse_disagreement(experiment: Experiment, images: dict[str, Any]) -> None:
    """Every process has been given the same settings and the same images.

    Raises:
        UsageError: one has not, in every process.
    """
    if jax.process_count() == 1:
        return
    own = {"experiment": asdict(experiment), "images": images}
    first = json.loads(processes.from_first(json.dumps(own)))
    different = {} if first["images"] == images else {"images": (first["images"], images)}
    if first["experiment"] != json.loads(json.dumps(own["experiment"])):
        different |= guards.differences(from_json(experiment, first["experiment"]), experiment)
    if processes.any_process(bool(different)):
        listed = [f"{name} ({one!r}, here {two!r})" for name, (one, two) in different.items()]
        here = f"this one in {', '.join(listed)}" if listed else "another one, which says in what"
        raise UsageError(f"processes differ from the first: {here}")


def _write_summary(folder: Path, summary: dict[str, Any]) -> None:
    if processes.is_first():
        runs.write_json(folder / "summary.json", summary)


def _scaled(state: TrainState, monitor: Monitor, program: Program) -> TrainState:
    """The state with the learning rate's factor that the plateau schedule has come to."""
    lr_scale = program.runner.put(np.asarray(monitor.lr_scale, state.lr_scale.dtype))
    return replace(state, lr_scale=lr_scale)


def _is_stale(monitor: Monitor, epoch: int, settings: Train) -> bool:
    """Whether `early_stopping` epochs before this one passed without a new best."""
    patience = settings.early_stopping
    return patience is not None and epoch - 1 - monitor.best_epoch >= patience
