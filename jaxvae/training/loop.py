"""The training loop: epochs of compiled chunks, validation, checkpoints, metrics, figures.

A run is a population of one member; what differs for several is said where it does.
"""

import contextlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import data as datasets
from jaxvae import processes, runs
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Parallel, Population
from jaxvae.evaluation import Trained
from jaxvae.from_json import from_json
from jaxvae.runs import code, guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import collapse, devices, members, start
from jaxvae.training import program as programs
from jaxvae.training.epoch import (
    NonFiniteError,
    Progress,
    Training,
    basis,
    epoch_rows,
    train_epoch,
)
from jaxvae.training.interrupt import StopRequest
from jaxvae.training.listener import Listener
from jaxvae.training.metrics import (
    Rows,
    first_epochs,
    read_population,
    rows_of,
    without_member,
    write_rows,
)
from jaxvae.training.monitor import Standing
from jaxvae.training.reporting import Reporter
from jaxvae.training.state import TrainState
from jaxvae.training.summary import first_line, population_curves, stale, summary_of
from jaxvae.training.trackers import Trackers

log = logging.getLogger("jaxvae")


class Task(NamedTuple):
    """What is to be trained, and where to."""

    experiment: Experiment
    folder: Path
    population: Population = Population()
    resume: bool = False
    quiet: bool = False
    parallel: Parallel = Parallel()
    may_change: Collection[str] = ()
    init_from: start.Beginning | None = None
    listener: Listener | None = None  # of a run alone
    dataset: datasets.Dataset | None = None  # that of the experiment, where it was read before

    @property
    def alone(self) -> bool:
        """Whether there is one member, the experiment itself."""
        return self.population == Population()


def train(
    experiment: Experiment,
    folder: str | Path,
    resume: bool = False,
    quiet: bool = False,
    parallel: Parallel = Parallel(),  # noqa: B008
    may_change: Collection[str] = (),
    population: Population = Population(),  # noqa: B008
    init_from: str | Path | start.Beginning | None = None,
) -> dict[str, Any]:
    """Train, and leave a run folder; return what its summary.json holds.

    Of a population all members are trained at once, each as if it were alone, to float tolerance;
    `extract` makes one a run of its own. One that is not finite is left out from that epoch on.

    Args:
        experiment: the recipe.
        folder: the run folder: a new one, or with `resume` one of a run.
        resume: continue exactly where the latest checkpoint stands; from the start without one. A
            run that has finished takes no step more, and is summarised again, and drawn where a
            figure is missing or of before.
        quiet: print nothing.
        parallel: on which devices; in a distributed run every process calls this function.
        may_change: settings, of `guards.CHANGEABLE`, in which a resumed run may differ from before.
        population: how many seeds, and what to sweep; by default the experiment alone.
        init_from: a run folder whose parameters, statistics and codebooks, of its best checkpoint,
            the run begins with where path and shape agree, on whatever images; everything else is
            new. A run that is resumed began with it, if it is given. As a `start.Beginning` it may
            say that the copy of that run's own code is trusted.

    Raises:
        UsageError: a setting that the data, the devices, Optax or what is installed do not allow,
            or with `resume` settings, images or a beginning that differ from the run's, or another
            process trains there, or nothing of `init_from` agrees; nothing is written.
        FileExistsError: `folder` is not empty and `resume` is False.
        FileNotFoundError: no data.
        NonFiniteError: the loss or its gradient is not finite, of every member; the last good
            checkpoint stays.
        Interrupted: SIGTERM or SIGINT came; the state after the chunk that ran is saved.
        RunError: a checkpoint cannot be written, or none can be read.
    """
    origin = start.Beginning(Path(init_from)) if isinstance(init_from, str | Path) else init_from
    return carry_out(
        Task(experiment, Path(folder), population, resume, quiet, parallel, may_change, origin)
    )


def carry_out(task: Task) -> dict[str, Any]:
    """As `train`, and somebody may listen."""
    experiment, folder, population, resume = task[:4]
    may_change, init_from = task.may_change, task.init_from
    guards.refuse_unchangeable(may_change)
    guards.refuse_absent(experiment)
    everyone = _members(task)

    def refuse() -> None:
        claim.enter_context(guards.held(folder))
        if resume:
            saved = read_population(folder) or Population()
            alone = saved == Population()
            kept = "left out: a single run" if alone else f"that of the run, {saved}"
            require(saved == population, "population", population, kept)
            code.warn_of_other(folder, experiment)
            guards.refuse_exported(folder)
            guards.refuse_changes(experiment, folder, may_change)
            guards.refuse_other_origin(folder, None if init_from is None else init_from.folder)
            guards.remove_unfinished(folder)
        else:
            guards.refuse_existing(folder, "give another --out, or continue it with --resume")
            if init_from is not None:  # early: what follows reads data and compiles
                guards.refuse_population(init_from.folder)

    with contextlib.ExitStack() as claim, StopRequest() as stop:
        processes.first_decides(refuse)
        try:
            processes.refuse_other_folder(folder)
            return _train(task, everyone, stop, claim)
        except (NonFiniteError, runs.Interrupted) as error:
            _write_summary(folder, runs.ended_early(experiment, error))
            raise type(error)(f"{folder}: {error}") from None


def _members(task: Task) -> tuple[Experiment, ...]:
    """The experiments that are trained.

    Raises:
        UsageError: something that several members cannot have.
    """
    if task.alone:
        return (task.experiment,)
    experiment, together = task.experiment, "left out with several members, which share one device"
    given = task.parallel, tuple(task.may_change)
    require(given == (Parallel(), ()), "--parallel, --may-change", given, together)
    streaming = experiment.data.streaming
    require(not streaming, "data.streaming", streaming, "left out: a population holds its images")
    require(task.listener is None, "callbacks", task.listener, "left out with several members")
    track = experiment.train.track
    require(not track, "train.track", track, "left out: a population is not tracked")
    return members.members(experiment, task.population)


def _train(
    task: Task,
    everyone: Sequence[Experiment],
    stop: StopRequest,
    to_close: contextlib.ExitStack,
) -> dict[str, Any]:
    """What `train` does, once it is known that it may, except for noting how it failed."""
    began, first = perf_counter(), processes.is_first()
    experiment, folder, resume = task.experiment, task.folder, task.resume
    dataset = datasets.load(experiment.data) if task.dataset is None else task.dataset
    stored_shape, images = dataset.train.images.shape[1:], datasets.fingerprint(dataset)
    _refuse_disagreement(task, images)
    if resume:
        guards.refuse_other_images(folder, stored_shape, images, task.may_change)
    names = [*task.population.values()]
    chosen = guards.parts_as_before(experiment, folder) if resume else None
    if first:
        log.info("compiling: some seconds, up to a minute for a large model")
    program, state = programs.build(
        experiment, dataset, task.parallel, None if task.alone else everyone, names, chosen
    )
    trained = Trained(experiment, program.model, state.variables, stored_shape, program.info)

    def at(state: TrainState) -> Trained:
        return trained._replace(variables=devices.local(state.variables))

    def kept(state: TrainState) -> Trained:  # the next step takes the state's own arrays
        return trained._replace(variables=jax.tree.map(jnp.copy, at(state).variables))

    origin = runs.origin_of(folder) if resume else None
    if task.init_from is not None and not resume:
        state, origin = start.begin(program, experiment, state, *task.init_from)
    config = runs.describe(experiment, stored_shape, program.info, images)
    config["sub_batch"] = program.sub_batch  # which the experiment may leave open
    if not task.alone:
        config["population"] = asdict(task.population)
    if first and not resume:  # before any checkpoint, which could not be read without it
        config |= code.keep(folder, experiment)
        runs.write_json(folder / "config.json", config | _noted(origin))
    processes.wait_for_all("compiled")

    settings, steps = experiment.train, program.steps_per_epoch
    standings = [Standing() for _ in everyone]
    zeros = {name: [0.0] * len(everyone) for name in program.metrics}
    progress = Progress(zeros, standings, basis(experiment))
    rows: Rows = []
    status = "finished"
    with (
        Checkpoints(folder / "checkpoints") as checkpoints,
        Reporter(
            settings.epochs, task.quiet or not first, len(everyone), settings.max_steps
        ) as reporter,
    ):
        run = Training(everyone, program, checkpoints, reporter, stop)
        resumed = resume and bool(checkpoints.steps())
        if resume and not resumed:
            guards.refuse_lost_checkpoints(folder)
            if origin is not None:
                theirs = task.init_from or start.Beginning(Path(origin["run"]))
                state, origin = start.begin(program, experiment, state, *theirs)
        best = None if task.alone else members.first_best(state)
        if resumed:
            state, best, progress = _resumed(task, run, state, best, progress)
            rows = first_epochs(folder / "metrics.csv", int(state.step) // steps, task.alone)
        if first and resume:
            config |= code.keep(folder, experiment)
            runs.write_json(folder / "config.json", config | _noted(origin))
            (folder / "summary.json").unlink(missing_ok=True)  # of before
        tracked = settings.track if first else ()
        trackers = to_close.enter_context(
            Trackers(tracked, folder, config, int(state.step) // steps + 1)
        )
        reporter.say(first_line(run, dataset, state, folder))
        for line in start.lines(origin) if origin is not None and int(state.step) == 0 else ():
            reporter.say(line)
        if task.listener is not None:
            task.listener.begin(kept(state), dataset)
        for epoch in range(int(state.step) // steps + 1, settings.epochs + 1):
            if all(s.is_stale(epoch, settings.early_stopping) for s in progress.standings):
                status = stale(progress.standings, settings.early_stopping)
                break
            state, progress = train_epoch(run, state, best, progress, epoch)
            if int(state.step) < epoch * steps:
                status = f"stopped at train.max_steps = {settings.max_steps}"
                break
            of_epoch = epoch_rows(run, state, progress, epoch)
            before = progress.standings
            progress = progress.after_epoch(
                [
                    standing.update(row, member.optimizer)
                    for standing, row, member in zip(before, of_epoch, everyone, strict=True)
                ]
            )
            reason = None
            if task.listener is not None:
                columns, reason = task.listener.epoch(kept(state), without_member(of_epoch[0]))
                of_epoch[0] |= columns
            standing = zip(of_epoch, before, strict=True)
            rows += [row for row, s in standing if s.failed_epoch is None]
            if first:
                write_rows(folder / "metrics.csv", rows, task.alone)
            trackers.row(without_member(of_epoch[0]))
            reporter.end_epoch(of_epoch, progress.standings)
            for line in collapse.begun(of_epoch, rows[: -len(of_epoch)]):
                reporter.say(line)

            state, best = _closed(run, state, best, progress, epoch)
            run.save(state, best, progress, epoch)
            if settings.figures_every and epoch % settings.figures_every == 0:
                if first:
                    _draw_epoch(task, at(state), dataset, everyone, names, rows)
                    trackers.figures(folder / "figures" / f"epoch-{epoch:04d}", epoch)
                processes.wait_for_all(f"figures of epoch {epoch}")
            if processes.any_process(reason is not None):
                status = f"stopped by a callback: {reason or 'of another process'}"
                break
        last_best = best or (checkpoints.restore("best", state)[0] if rows else state)

    final = at(last_best)
    validation, standings = dataset.validation, progress.standings
    active = collapse.active_of_members(final, validation, everyone, standings, task.alone)
    for line in collapse.lines(active, task.alone):
        reporter.say(line)
    summary = summary_of(run, dataset, state, progress, rows, names) | {
        "status": status,
        "folder": str(folder),
        "total_seconds": perf_counter() - began,  # without the last figures
    }
    summary = collapse.noted(summary, active, task.alone) | _noted(origin)
    _write_summary(folder, summary)
    if first and rows and settings.figures_every is not None and not _is_drawn(task):
        reporter.say(f"drawing figures in {folder / 'figures'}")
        _draw(task, (final, last_best.step), dataset, everyone, names, rows)
        trackers.figures(folder / "figures", int(rows[-1]["epoch"]))
    if first and rows and settings.report:
        reporter.say(_page(folder, final, everyone, dataset, rows, summary))
    processes.wait_for_all("the end")
    return summary


def _page(folder: Path, *run: Any) -> str:
    """Write the page of a run that has ended, and say so; the run is whole without it."""
    from jaxvae.training.page import page_at_end

    try:
        return f"wrote {page_at_end(folder, *run)}: open it in a browser"
    except Exception as error:
        return f"no report.html was written: {type(error).__name__}: {error}"


def _noted(origin: dict[str, Any] | None) -> dict[str, Any]:
    """What config.json and summary.json hold of the run that this one began with."""
    return {} if origin is None else {"init_from": origin}


def _resumed(
    task: Task, run: Training, state: TrainState, best: TrainState | None, progress: Progress
) -> tuple[TrainState, TrainState | None, Progress]:
    """Where the latest checkpoint stands."""
    if best is None:
        state, saved = run.checkpoints.restore("latest", state)
    else:
        both, saved = run.checkpoints.restore("latest", members.States(state, best))
        state, best = both.latest, both.best
    taken, settings, steps = int(state.step), task.experiment.train, run.program.steps_per_epoch
    require(
        settings.max_steps is None or settings.max_steps >= taken,
        "train.max_steps",
        settings.max_steps,
        f"None or at least the {taken} steps that {task.folder} has taken",
    )
    epochs, further = divmod(taken, steps)
    begun = f" and begun the next, {further} of {steps} steps" if further else ""
    require(
        settings.epochs * steps >= taken,
        "train.epochs",
        settings.epochs,
        f"at least {epochs + bool(further)}: {task.folder} has trained {epochs} epochs{begun}",
    )
    progress = from_json(progress, saved, "progress.")
    progress = progress.on(basis(task.experiment), taken // steps)
    run.checkpoints.set_aside_after(taken)
    return _scaled(run, state, progress), best, progress


def _closed(
    run: Training, state: TrainState, best: TrainState | None, progress: Progress, epoch: int
) -> tuple[TrainState, TrainState | None]:
    """The state at the beginning of the next epoch, and of a population each member's best one."""
    state = _scaled(run, state, progress)
    if best is not None:
        improved = jax.numpy.asarray([s.improved(epoch) for s in progress.standings])
        best = members.keep_best(state, best, improved)
    return state, best


def _scaled(run: Training, state: TrainState, progress: Progress) -> TrainState:
    """The state with the learning rate's factor that the plateau schedule has come to."""
    factors = [standing.monitor.lr_scale for standing in progress.standings]
    return replace(state, lr_scale=run.program.per_member(factors))


def _is_drawn(task: Task) -> bool:
    """Whether the figures are of the last epoch: the last of them was written after its row, in
    every format."""
    last = task.folder / "figures" / ("reconstructions" if task.alone else "population")
    drawn = [last.with_suffix(f".{k}") for k in ("png", *task.experiment.train.figure_formats)]
    ended = (task.folder / "metrics.csv").stat().st_mtime_ns
    return all(file.is_file() and file.stat().st_mtime_ns >= ended for file in drawn)


def _draw_epoch(
    task: Task,
    trained: Trained,
    dataset: datasets.Dataset,
    everyone: Sequence[Experiment],
    names: Sequence[str],
    rows: Rows,
) -> None:
    """The curves so far, and pictures of the model after the last epoch of `rows`; of a population
    those of its best member at that epoch, the one that the table names."""
    from jaxvae.evaluation import written  # Matplotlib takes 0.4 s to import

    folder, epoch = task.folder / "figures", int(rows[-1]["epoch"])
    if task.alone:
        written.write_progress(trained, dataset, rows, folder, epoch)
        return
    population_curves(everyone, names, rows, folder)
    best = runs.best_row([row for row in rows if row["epoch"] == epoch and row["finite"]])
    if best is not None:
        which = int(best["member"])
        one, own = members.one_of(trained, everyone, which), rows_of(rows, which)
        written.write_progress(one, dataset, own, folder, epoch, which)


def _draw(
    task: Task,
    final: tuple[Trained, jax.Array],
    dataset: datasets.Dataset,
    everyone: Sequence[Experiment],
    names: Sequence[str],
    rows: Rows,
) -> None:
    """The figures of a run that has ended, of the model after some step."""
    from jaxvae.evaluation import written

    folder = task.folder / "figures"
    if not task.alone:
        population_curves(everyone, names, rows, folder)
        return
    try:
        trained, step = final
        written.write_all(trained, dataset, rows, folder, written.epoch_of(rows, int(step)))
    except ValueError as error:
        raise runs.RunError(f"{task.folder}: trained, but cannot be drawn: {error}") from error


def _refuse_disagreement(task: Task, images: dict[str, Any]) -> None:
    """Every process has been given the same settings, the same images and the same beginning.

    Raises:
        UsageError: one has not, in every process.
    """
    if jax.process_count() == 1:
        return
    experiment, init_from = task.experiment, task.init_from and str(task.init_from.folder)
    own = {"experiment": asdict(experiment), "images": images, "init_from": init_from}
    first = json.loads(processes.from_first(json.dumps(own)))
    plain = ("images", "init_from")
    different = {name: (first[name], own[name]) for name in plain if first[name] != own[name]}
    if first["experiment"] != json.loads(json.dumps(own["experiment"])):
        different |= guards.differences(from_json(experiment, first["experiment"]), experiment)
    if processes.any_process(bool(different)):
        listed = [f"{name} ({one!r}, here {two!r})" for name, (one, two) in different.items()]
        here = f"this one in {', '.join(listed)}" if listed else "another one, which says in what"
        raise UsageError(f"processes differ from the first: {here}")


def _write_summary(folder: Path, summary: dict[str, Any]) -> None:
    if processes.is_first():
        runs.write_json(folder / "summary.json", summary)
