"""One epoch of a run: compiled chunks, checkpoints on the way, and the rows it leaves behind."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae import processes, runs
from jaxvae.config import Experiment
from jaxvae.evaluation import in_order, not_finite
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training.interrupt import StopRequest
from jaxvae.training.members import States
from jaxvae.training.metrics import Rows
from jaxvae.training.monitor import Monitor, Standing
from jaxvae.training.program import Program
from jaxvae.training.reporting import Reporter
from jaxvae.training.state import TrainState
from jaxvae.training.step import beta_eff_at


class NonFiniteError(runs.RunError):
    """Training stopped because a term of the loss, or its gradient, is not finite."""


class Training(NamedTuple):
    """What training works with: one member is a run alone, several are a population."""

    everyone: Sequence[Experiment]
    program: Program
    checkpoints: Checkpoints
    reporter: Reporter
    stop: StopRequest

    @property
    def experiment(self) -> Experiment:
        return self.everyone[0]

    def save(
        self, state: TrainState, best: TrainState | None, progress: "Progress", epoch: int = 0
    ) -> None:
        """A checkpoint, which is the best so far where a run alone improved in `epoch`.

        Of a population the checkpoint itself holds the best state of each member.
        """
        if best is None:
            improved = bool(epoch) and progress.standings[0].improved(epoch)
            self.checkpoints.save(state, asdict(progress), is_best=improved)
        else:
            self.checkpoints.save(States(state, best), asdict(progress))


@dataclass(frozen=True)
class Progress:
    """Where a run stands besides its state, in plain numbers: a checkpoint holds both."""

    sums: dict[str, list[float]]  # of the metrics of the epoch's steps so far, of each member
    standings: list[Standing]  # of each member
    basis: dict[str, list[Any]] = field(default_factory=dict)  # of the monitors' numbers
    seconds: float = 0.0  # spent on the epoch's steps so far

    def on(self, basis: dict[str, list[Any]], epoch: int) -> "Progress":
        """The same, but what rests on another basis begins anew after `epoch` epochs."""

        def renewed(standing: Standing) -> Standing:
            monitor = standing.monitor
            if self.basis.get("loss", basis["loss"]) != basis["loss"]:
                monitor = Monitor(best_epoch=epoch, lr_scale=monitor.lr_scale)
            if self.basis.get("rate", basis["rate"]) != basis["rate"]:
                monitor = Monitor(monitor.best_loss, monitor.best_epoch)
            return replace(standing, monitor=monitor)

        return replace(self, basis=basis, standings=[renewed(s) for s in self.standings])

    def after_epoch(self, standings: list[Standing]) -> "Progress":
        """At the beginning of the next epoch."""
        zeros = {name: [0.0] * len(standings) for name in self.sums}
        return Progress(zeros, standings, self.basis)


def basis(experiment: Experiment) -> dict[str, list[Any]]:
    """What a resumed run may change so that losses, or learning rates, cannot be compared."""
    objective, optimizer = experiment.objective, experiment.optimizer
    rate = [optimizer.learning_rate, optimizer.schedule, optimizer.decay, optimizer.patience]
    return {"loss": [objective.beta, objective.warmup_steps], "rate": rate}


def train_epoch(
    run: Training, state: TrainState, best: TrainState | None, progress: Progress, epoch: int
) -> tuple[TrainState, Progress]:
    """Advance to the end of the epoch, or to `max_steps`, with checkpoints on the way.

    Raises:
        Interrupted: the run was asked to stop; the state is saved.
    """
    settings, steps = run.experiment.train, run.program.steps_per_epoch
    first, end = (epoch - 1) * steps, epoch * steps
    last = end if settings.max_steps is None else min(end, settings.max_steps)
    step, every = int(state.step), settings.checkpoint_steps
    run.reporter.start_epoch(epoch, step - first, steps)
    while step < last:
        until = last if every is None else min(last, (step // every + 1) * every)
        state, progress = _advance(run, state, progress, step, until)
        stopped = int(state.step) < until
        step = int(state.step)
        if step < end and (stopped or step == settings.max_steps or every is not None):
            _validate(run, state, f"step {step} (epoch {epoch})")
            run.save(state, best, progress)
        if stopped:
            raise runs.Interrupted(f"interrupted at step {step} (epoch {epoch}), which is saved")
    return state, progress


def _advance(
    run: Training, state: TrainState, progress: Progress, step: int, until: int
) -> tuple[TrainState, Progress]:
    """From `step` to `until`, chunk by chunk, within one epoch, or till it is asked to stop.

    A chunk's metrics are fetched while the next one runs, so that the device need not wait.
    """
    program, experiment = run.program, run.experiment
    began, before = perf_counter(), progress.seconds
    epoch = step // program.steps_per_epoch + 1
    first = (epoch - 1) * program.steps_per_epoch

    def fetched(sums: dict[str, jax.Array], step: int) -> Progress:
        arrived = _numbers(sums)  # waits for the device
        if not any(finite_members(arrived)):
            if experiment.train.chunk_steps > 1:
                step = int(state.step)  # chunks end there, and later ones take no step
            _refuse_non_finite(run, arrived, f"step {step} (epoch {epoch})")
        seconds, taken = before + perf_counter() - began, step - first
        seen = taken * experiment.data.batch_size * len(run.everyone)
        means = {name: float(np.nanmean(values)) / taken for name, values in arrived.items()}
        run.reporter.advance(taken, means, seen / seconds)
        return replace(progress, sums=arrived, seconds=seconds)

    sums, running = program.sums(progress.sums), None
    with contextlib.closing(program.chunks(step, until)) as chunks:
        for source, num_steps in chunks:
            if processes.any_process(bool(run.stop)):
                break
            state, sums = program.advance(state, sums, source, num_steps)
            if running is not None:
                fetched(*running)
            step += num_steps
            running = sums, step
            if jax.process_count() > 1:  # which agree on `stop` while their devices rest
                jax.block_until_ready(sums)
    return state, progress if running is None else fetched(*running)


def epoch_rows(run: Training, state: TrainState, progress: Progress, epoch: int) -> Rows:
    """Validate, and return the epoch's row of metrics.csv for each member."""
    steps, seconds, step = run.program.steps_per_epoch, progress.seconds, int(state.step)
    validation = _validate(run, state, f"epoch {epoch}")
    rates = np.atleast_1d(jax.device_get(state.learning_rate))
    rows = []
    for i, member in enumerate(run.everyone):
        train = in_order({name: values[i] / steps for name, values in progress.sums.items()})
        val = in_order({name: values[i] for name, values in validation.items()})
        grad_norm = train.pop("grad_norm")
        finite = all(map(math.isfinite, [*train.values(), grad_norm, *val.values()]))
        rows.append(
            {
                "member": i,
                "epoch": epoch,
                "step": step,
                **{f"train_{name}": value for name, value in train.items()},
                **{f"val_{name}": value for name, value in val.items()},
                "beta_eff": beta_eff_at(member, run.program.num_pixels, step - 1),
                "learning_rate": float(rates[i]),
                "grad_norm": grad_norm,
                "seconds": seconds,
                "images_per_second": steps * member.data.batch_size / seconds,
                "finite": int(finite),
            }
        )
    return rows


def _numbers(values: Mapping[str, Any]) -> dict[str, list[float]]:
    """Arrays of the devices as numbers of each member; all are fetched at once."""
    arrived = jax.device_get(dict(values))
    return {name: np.atleast_1d(value).astype(float).tolist() for name, value in arrived.items()}


def finite_members(values: Mapping[str, Sequence[float]]) -> list[bool]:
    """Of each member whether all its numbers are finite."""
    return np.isfinite(np.array(list(values.values()))).all(axis=0).tolist()


def _validate(run: Training, state: TrainState, after: str) -> dict[str, list[float]]:
    """Means over the validation images. A state is saved only after this has found them finite."""
    means = _numbers(run.program.validate(state.variables))
    if not any(finite_members(means)):
        _refuse_non_finite(run, means, f"the validation after {after}")
    return means


def _refuse_non_finite(run: Training, values: Mapping[str, Sequence[float]], where: str) -> None:
    """Of no member they are finite."""
    bad = not_finite({name: sum(numbers) for name, numbers in values.items()})
    steps = run.checkpoints.steps()
    kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "no checkpoint yet"
    whom = f" of any of {len(run.everyone)} members" if len(run.everyone) > 1 else ""
    raise NonFiniteError(
        f"not finite at {where}{whom}: {', '.join(bad)}; {kept}. A new run with a lower "
        "optimizer.learning_rate or with optimizer.clip_norm may do better"
    )
