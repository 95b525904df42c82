"""One epoch of a run: compiled chunks, checkpoints on the way, and the row it leaves behind."""

import contextlib
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

import jax

from jaxvae import processes, runs
from jaxvae.config import Experiment
from jaxvae.evaluation import in_order, not_finite
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training.interrupt import StopRequest
from jaxvae.training.program import Program
from jaxvae.training.reporting import Reporter
from jaxvae.training.state import Monitor, TrainState
from jaxvae.training.step import beta_eff_at


class NonFiniteError(runs.RunError):
    """Training stopped because a term of the loss, or its gradient, is not finite."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands besides its state, in plain numbers: a checkpoint holds both."""

    sums: dict[str, float]  # of the metrics of the epoch's steps so far
    basis: dict[str, list[Any]] = field(default_factory=dict)  # of the monitor's numbers
    monitor: Monitor = field(default_factory=Monitor)
    seconds: float = 0.0  # spent on the epoch's steps so far

    def on(self, basis: dict[str, list[Any]], epoch: int) -> "Progress":
        """The same, but what rests on another basis begins anew after `epoch` epochs."""
        monitor = self.monitor
        if self.basis.get("loss", basis["loss"]) != basis["loss"]:
            monitor = Monitor(best_epoch=epoch, lr_scale=monitor.lr_scale)
        if self.basis.get("rate", basis["rate"]) != basis["rate"]:
            monitor = Monitor(monitor.best_loss, monitor.best_epoch)
        return replace(self, basis=basis, monitor=monitor)


def basis(experiment: Experiment) -> dict[str, list[Any]]:
    """What a resumed run may change so that losses, or learning rates, cannot be compared."""
    objective, optimizer = experiment.objective, experiment.optimizer
    rate = [optimizer.learning_rate, optimizer.schedule, optimizer.decay, optimizer.patience]
    return {"loss": [objective.beta, objective.warmup_steps], "rate": rate}


def train_epoch(
    experiment: Experiment,
    program: Program,
    state: TrainState,
    progress: Progress,
    epoch: int,
    checkpoints: Checkpoints,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[TrainState, Progress]:
    """Advance to the end of the epoch, or to `max_steps`, with checkpoints on the way.

    Raises:
        Interrupted: `stop` became true; the state is saved.
    """
    settings = experiment.train
    first, end = (epoch - 1) * program.steps_per_epoch, epoch * program.steps_per_epoch
    last = end if settings.max_steps is None else min(end, settings.max_steps)
    step, every = int(state.step), settings.checkpoint_steps
    reporter.start_epoch(epoch, step - first, program.steps_per_epoch)
    while step < last:
        until = last if every is None else min(last, (step // every + 1) * every)
        state, progress = _advance(
            experiment, program, state, progress, step, until, checkpoints, reporter, stop
        )
        stopped = int(state.step) < until
        step = int(state.step)
        if step < end and (stopped or step == settings.max_steps or every is not None):
            _validate(program, state, f"step {step} (epoch {epoch})", checkpoints)
            checkpoints.save(state, asdict(progress))
        if stopped:
            raise runs.Interrupted(f"interrupted at step {step} (epoch {epoch}), which is saved")
    return state, progress


def _advance(
    experiment: Experiment,
    program: Program,
    state: TrainState,
    progress: Progress,
    step: int,
    until: int,
    checkpoints: Checkpoints,
    reporter: Reporter,
    stop: StopRequest,
) -> tuple[TrainState, Progress]:
    """From `step` to `until`, chunk by chunk, within one epoch, or till it is asked to stop.

    A chunk's metrics are fetched while the next one runs, so that the device need not wait.
    """
    began, before = perf_counter(), progress.seconds
    epoch = step // program.steps_per_epoch + 1
    first = (epoch - 1) * program.steps_per_epoch

    def fetched(sums: dict[str, jax.Array], step: int) -> Progress:
        arrived = jax.device_get(sums)  # waits for the device; all metrics at once
        host_sums = {name: float(value) for name, value in arrived.items()}
        if not_finite(host_sums) and experiment.train.chunk_steps > 1:
            step = int(state.step)  # chunks end there, and later ones take no step
        _refuse_non_finite(host_sums, f"step {step} (epoch {epoch})", checkpoints)
        seconds, taken = before + perf_counter() - began, step - first
        means = {name: value / taken for name, value in host_sums.items()}
        reporter.advance(taken, means, taken * experiment.data.batch_size / seconds)
        return replace(progress, sums=host_sums, seconds=seconds)

    sums, running = program.sums(progress.sums), None
    with contextlib.closing(program.chunks(step, until)) as chunks:
        for source, num_steps in chunks:
            if processes.any_process(bool(stop)):
                break
            state, sums = program.advance(state, sums, source, num_steps)
            if running is not None:
                fetched(*running)
            step += num_steps
            running = sums, step
            if jax.process_count() > 1:  # which agree on `stop` while their devices rest
                jax.block_until_ready(sums)
    return state, progress if running is None else fetched(*running)


def epoch_row(
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
        "beta_eff": beta_eff_at(experiment, program.num_pixels, int(state.step) - 1),
        "learning_rate": float(state.learning_rate),
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


def _refuse_non_finite(values: dict[str, float], where: str, checkpoints: Checkpoints) -> None:
    if bad := not_finite(values):
        steps = checkpoints.steps()
        kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint yet"
        raise NonFiniteError(
            f"not finite at {where}: {', '.join(bad)}; {kept}. A new run with a lower "
            "optimizer.learning_rate or with optimizer.clip_norm may do better"
        )
