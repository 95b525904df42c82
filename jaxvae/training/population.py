"""Members of one experiment that differ in seed, beta and learning rate, trained by one program."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import data as datasets
from jaxvae import figures, runs
from jaxvae.config import Experiment, Population, UsageError, require
from jaxvae.data import Dataset
from jaxvae.data.batches import batch_index, epoch_order, steps_per_epoch
from jaxvae.data.preprocess import image_shape
from jaxvae.evaluation import in_order, make_evaluate
from jaxvae.training.loop import NonFiniteError, _refuse_changes
from jaxvae.training.checkpoint import Checkpoints
from jaxvae.training.members import (
    AXES,
    Rows,
    States,
    base_and_factors,
    initial_states,
    members,
    read_population,
    read_rows,
    refuse_existing,
    root_keys,
    rows_of,
    stacked,
    swept,
)
from jaxvae.training.optimizer import make_optimizer, make_schedule
from jaxvae.training.reporting import Reporter
from jaxvae.training.state import Monitor, TrainState, build_model
from jaxvae.training.step import Metrics, TrainStep, beta_at, make_train_step

TERMS = ("val_loss", "val_recon", "val_kl")


class Program(NamedTuple):
    """Compiled functions of a population; arrays have a leading axis of members.

    advance(state, sums, order, num_steps) -> state, sums: steps within an epoch; it consumes the
        state and the sums that it is given.
    validate(variables) -> means over the validation images.
    order(epoch) -> each member's order of the training images, (k, n); epochs count from 0.
    keep(latest, best, improved) -> best: the latest state of the members that improved, (k,).
    """

    advance: Callable[..., tuple[TrainState, Metrics]]
    validate: Callable[[Any], Metrics]
    order: Callable[[int], jax.Array]
    keep: Callable[..., TrainState]
    metrics: tuple[str, ...]
    steps_per_epoch: int
    num_pixels: int
    compile_seconds: float


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
        resume: continue exactly where the latest checkpoint, at the end of an epoch, stands.
        quiet: print nothing.

    Raises:
        UsageError: a setting that is not allowed, or with `resume` one that differs from the
            population's; nothing is written.
        FileExistsError: `folder` is not empty and `resume` is False.
        FileNotFoundError: no data, or nothing to resume from.
        NonFiniteError: no member is finite any more; the last good checkpoint stays.
    """
    folder = Path(folder)
    for name in ("max_steps", "checkpoint_steps", "tensorboard"):
        value = getattr(experiment.train, name)
        require(not value, f"train.{name}", value, "left out: a population is saved each epoch")
    everyone = members(experiment, population)
    if resume:
        saved = read_population(folder)
        require(saved == population, "population", population, f"that of {folder}, {saved}")
        _refuse_changes(experiment, folder)
    else:
        refuse_existing(folder)
    try:
        return _train(experiment, population, everyone, folder, resume, quiet)
    except NonFiniteError as error:
        failed = {"experiment": experiment.name, "status": f"failed: {error}"}
        runs.write_json(folder / "summary.json", failed)
        raise


def make_population_advance(
    train_step: TrainStep, batch_size: int, steps_per_epoch: int
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`advance(state, sums, images, order, keys, factors, num_steps) -> state, sums`.

    As `make_advance`, for k members at the same step: `state` and `sums` are stacked, `order` is
    (k, n), `keys` (k,). One loop around the step of all members, since a loop under `vmap` would
    select between the old and the new state of every member in every step.
    """
    step_all = jax.vmap(train_step, in_axes=(AXES, 0, 0, 0, 0), out_axes=(AXES, 0))

    def advance(
        state: TrainState,
        sums: Metrics,
        images: jax.Array,
        order: jax.Array,
        keys: jax.Array,
        factors: Any,
        num_steps: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        def one(_: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, sums = carry
            step = state.step % steps_per_epoch
            index = jax.vmap(lambda order: batch_index(order, step, batch_size))(order)
            state, metrics = step_all(state, images[index], index, keys, factors)
            return state, jax.tree.map(jnp.add, sums, metrics)

        return jax.lax.fori_loop(0, num_steps, one, (state, sums))

    return advance


def _keep(latest: TrainState, best: TrainState, improved: jax.Array) -> TrainState:
    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(improved.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, stacked(latest), best)


def _build(everyone: Sequence[Experiment], dataset: Dataset) -> tuple[Program, States]:
    """Compile a population over a data set; return its program and its states before step 0."""
    base, factors = base_and_factors(everyone)
    batch_size = base.data.batch_size
    num_examples, height, width, channels = dataset.train.images.shape
    stored_shape = (height, width, channels)
    steps = steps_per_epoch(num_examples, batch_size)
    model, optimizer = build_model(base, stored_shape), make_optimizer(base.optimizer)
    schedule = make_schedule(base.optimizer, steps, base.train.epochs)
    train_step = make_train_step(base, model, optimizer, schedule)

    keys = root_keys(everyone)
    images = jnp.asarray(dataset.train.images)
    validation_images = jnp.asarray(dataset.validation.images)
    states = jax.jit(lambda: initial_states(base, model, optimizer, stored_shape, keys))()

    began = perf_counter()
    order = jax.jit(lambda epoch: jax.vmap(lambda k: epoch_order(k, epoch, num_examples))(keys))
    orders = order(0)
    one = jax.tree.map(lambda x: x[0], stacked(states.latest))
    batch = images[:batch_size], orders[0, :batch_size]
    _, metrics = jax.eval_shape(train_step, one, *batch, keys[0])
    if missing := {"loss", "recon", "kl"} - set(metrics):
        raise UsageError(f"objective.terms: lacks {', '.join(sorted(missing))}")
    sums = {name: jnp.zeros(len(everyone)) for name in metrics}
    advance = (
        jax.jit(make_population_advance(train_step, batch_size, steps), donate_argnums=(0, 1))
        .lower(states.latest, sums, images, orders, keys, factors, jnp.int32(1))
        .compile()
    )
    evaluate = (
        jax.jit(jax.vmap(make_evaluate(base, model), in_axes=(0, None, 0, 0)))
        .lower(states.latest.variables, validation_images, keys, factors.beta)
        .compile()
    )
    program = Program(
        advance=lambda state, sums, order, num_steps: advance(
            state, sums, images, order, keys, factors, jnp.int32(num_steps)
        ),
        validate=lambda variables: evaluate(variables, validation_images, keys, factors.beta),
        order=order,
        keep=jax.jit(_keep, donate_argnums=1),
        metrics=tuple(metrics),
        steps_per_epoch=steps,
        num_pixels=math.prod(image_shape(base.data, stored_shape)),
        compile_seconds=perf_counter() - began,
    )
    return program, states


def _train(
    experiment: Experiment,
    population: Population,
    everyone: Sequence[Experiment],
    folder: Path,
    resume: bool,
    quiet: bool,
) -> dict[str, Any]:
    """What `train_population` does, once it is known that it may."""
    began = perf_counter()
    dataset = datasets.load(experiment.data)
    program, states = _build(everyone, dataset)
    num_parameters = sum(x.size for x in jax.tree.leaves(states.latest.params)) // len(everyone)
    settings, steps = experiment.train, program.steps_per_epoch
    monitors = [Monitor() for _ in everyone]
    failed: list[int | None] = [None for _ in everyone]  # the epoch that was not finite
    rows: Rows = []
    status = "finished"
    with (
        Checkpoints(folder / "checkpoints") as checkpoints,
        Reporter(settings.epochs, quiet) as reporter,
    ):
        if resume:
            saved: Any = states
            states, progress = checkpoints.restore(checkpoints.find("latest"), saved)
            done = progress["epoch"]
            allowed = f"above the {done} epochs that {folder} has finished"
            require(settings.epochs > done, "train.epochs", settings.epochs, allowed)
            monitors = [Monitor(**monitor) for monitor in progress["monitors"]]
            failed = progress["failed"]
            rows = read_rows(folder, done)
        config = runs.describe(experiment, dataset.train.images.shape[1:])
        config["population"] = asdict(population)
        runs.write_json(folder / "config.json", config)
        reporter.say(
            f"{experiment.name}: {len(everyone)} members; {dataset.description}; "
            f"{len(dataset.train.images)} training images, {num_parameters:,} parameters each; "
            f"compiled in {program.compile_seconds:.1f} s; writing to {folder} (nats per image)"
        )
        for epoch in range(int(states.step) // steps + 1, settings.epochs + 1):
            if _all_stale(monitors, failed, epoch, settings.early_stopping):
                last = max(monitor.best_epoch for monitor in monitors)
                status = f"stopped early: no member improved since epoch {last}"
                break
            latest, of_epoch = _train_epoch(everyone, program, states.latest, epoch, reporter)
            improved = []
            for member, row in enumerate(of_epoch):
                if failed[member] is None:
                    rows.append(row)
                    if row["finite"]:
                        monitors[member] = monitors[member].update(
                            epoch, row["val_loss"], experiment.optimizer
                        )
                    else:
                        failed[member] = epoch
                improved.append(failed[member] is None and monitors[member].best_epoch == epoch)
            runs.write_metrics(folder / "metrics.csv", rows)
            if all(failed):
                kept = f"the checkpoint of epoch {epoch - 1} is kept" if epoch > 1 else "none yet"
                raise NonFiniteError(f"no member is finite after epoch {epoch}; checkpoint: {kept}")
            reporter.say(_line(rows, epoch, settings.epochs, sum(improved), failed))
            lr_scale = jnp.asarray([monitor.lr_scale for monitor in monitors], float)
            latest = replace(latest, lr_scale=lr_scale)
            best = program.keep(latest, states.best, jnp.asarray(improved))
            states = States(latest, best)
            to_save: Any = states
            progress = {"epoch": epoch, "monitors": [asdict(m) for m in monitors], "failed": failed}
            checkpoints.save(to_save, progress)

    epochs = int(states.step) // steps
    each = [
        {
            "member": i,
            **swept(member),
            "beta_eff": member.beta_eff(program.num_pixels),
            "failed_epoch": failed[i],
            "best": next((r for r in own if r["epoch"] == monitors[i].best_epoch), None),
            "last": own[-1] if own else None,
        }
        for i, member in enumerate(everyone)
        for own in [rows_of(rows, i)]
    ]
