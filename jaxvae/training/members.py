"""The members of a population: their experiments, their states, and the program of them all."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import noise
from jaxvae.checks import require
from jaxvae.config import Experiment, Population
from jaxvae.data import Dataset
from jaxvae.data.batches import batch_index, epoch_order, steps_per_epoch
from jaxvae.data.preprocess import Shape, image_shape
from jaxvae.evaluation import make_evaluate
from jaxvae.training.devices import compile_within_memory
from jaxvae.training.optimizer import make_optimizer, make_schedule
from jaxvae.training.state import TrainState, build_model, initial_state, refuse_too_large
from jaxvae.training.step import Factors, Metrics, TrainStep, make_train_step, metric_names

# Of a population's state: all members are at the same step, the rest has a leading axis of members.
AXES = TrainState(step=None, params=0, batch_stats=0, opt_state=0, ema=0, lr_scale=0)  # type: ignore[arg-type]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class States:
    """What a population's checkpoint holds. Every leaf but `latest.step` has an axis of members."""

    latest: TrainState
    best: TrainState  # of each member, after the epoch of its lowest validation loss

    @property
    def step(self) -> jax.Array:
        """Steps that every member has taken, a scalar."""
        return self.latest.step


def members(experiment: Experiment, population: Population) -> tuple[Experiment, ...]:
    """The experiment of each member: seeds x betas x learning rates, the last fastest.

    Raises:
        UsageError: a value that the field does not allow, or betas for a model without a KL.
    """
    values = population.values()
    betas = values.get("objective.beta", (experiment.objective.beta,))
    allowed = f"without objective.beta for model.family = {experiment.model.family!r}: no KL"
    no_effect = "objective.beta" in values and experiment.model.family != "VAE"
    require(not no_effect, "population.sweep", population.sweep, allowed)
    return tuple(
        replace(
            experiment,
            seed=int(seed),
            objective=replace(experiment.objective, beta=beta),
            optimizer=replace(experiment.optimizer, learning_rate=learning_rate),
        )
        for seed, beta, learning_rate in itertools.product(
            values.get("seed", range(experiment.seed, experiment.seed + population.seeds)),
            betas,
            values.get("optimizer.learning_rate", (experiment.optimizer.learning_rate,)),
        )
    )


def swept(member: Experiment) -> dict[str, float]:
    """The fields in which members may differ, by dotted name."""
    return {
        "seed": member.seed,
        "objective.beta": member.objective.beta,
        "optimizer.learning_rate": member.optimizer.learning_rate,
    }


def base_and_factors(everyone: Sequence[Experiment]) -> tuple[Experiment, Factors]:
    """One experiment, and by what its beta and learning rate are multiplied for each member, (k,).

    The base has the largest of each, so that factors are finite where a beta is 0.
    """
    betas = [member.objective.beta for member in everyone]
    rates = [member.optimizer.learning_rate for member in everyone]
    beta, rate = max(betas), max(rates)
    first = everyone[0]
    base = replace(
        first,
        objective=replace(first.objective, beta=beta),
        optimizer=replace(first.optimizer, learning_rate=rate),
    )
    factors = Factors(
        beta=jnp.asarray([b / beta if beta else 1.0 for b in betas], float),
        learning_rate=jnp.asarray([r / rate for r in rates], float),
    )
    return base, factors


def root_keys(everyone: Sequence[Experiment]) -> jax.Array:
    """The root key of each member, (k,)."""
    return jnp.stack([noise.root(member.seed) for member in everyone])


def initial_states(
    base: Experiment,
    model: Any,
    optimizer: optax.GradientTransformation,
    stored_shape: Shape,
    keys: jax.Array,
) -> States:
    """The states of all members before the first step, from their root keys (k,)."""
    state = jax.vmap(
        lambda key: initial_state(base, model, optimizer, stored_shape, key), out_axes=AXES
    )(keys)
    return States(state, jax.tree.map(jnp.copy, stacked(state)))


def stacked(state: TrainState) -> TrainState:
    """A population's latest state with `step`, too, once per member."""
    return replace(state, step=jnp.broadcast_to(state.step, state.lr_scale.shape))


class Program(NamedTuple):
    """Compiled functions of a population; arrays have a leading axis of members.

    chunks(step, stop) -> for each chunk of steps from `step` to `stop`, of one epoch, each member's
        order of the training images, (k, n), and its number of steps.
    advance(state, sums, order, num_steps) -> state, sums: so many steps; it consumes the state and
        the sums that it is given.
    validate(variables) -> means over the validation images.
    keep(latest, best, improved) -> best: the latest state of the members that improved, (k,).
    """

    chunks: Callable[[int, int], Iterator[tuple[jax.Array, int]]]
    advance: Callable[..., tuple[TrainState, Metrics]]
    validate: Callable[[Any], Metrics]
    keep: Callable[..., TrainState]
    metrics: tuple[str, ...]
    steps_per_epoch: int
    num_pixels: int
    compile_seconds: float


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


def keep_best(latest: TrainState, best: TrainState, improved: jax.Array) -> TrainState:
    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(improved.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, stacked(latest), best)


def build(everyone: Sequence[Experiment], dataset: Dataset) -> tuple[Program, States]:
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
    initial = functools.partial(initial_states, base, model, optimizer, stored_shape, keys)
    refuse_too_large(jax.eval_shape(initial))
    states = jax.jit(initial)()

    began = perf_counter()
    order = jax.jit(lambda epoch: jax.vmap(lambda k: epoch_order(k, epoch, num_examples))(keys))
    orders = order(0)
    one = jax.tree.map(lambda x: x[0], stacked(states.latest))
    metrics = metric_names(train_step, one, stored_shape, keys[0])
    sums = {name: jnp.zeros(len(everyone)) for name in metrics}
    advance = compile_within_memory(
        jax.jit(make_population_advance(train_step, batch_size, steps), donate_argnums=(0, 1)),
        *(states.latest, sums, images, orders, keys, factors, jnp.int32(1)),
    )
    evaluate = compile_within_memory(
        jax.jit(jax.vmap(make_evaluate(base, model), in_axes=(0, None, 0, 0))),
        *(states.latest.variables, validation_images, keys, factors.beta),
    )

    def chunks(step: int, stop: int) -> Iterator[tuple[jax.Array, int]]:
        of_epoch = order(step // steps)
        for first in range(step, stop, base.train.chunk_steps):
            yield of_epoch, min(base.train.chunk_steps, stop - first)

    program = Program(
        chunks=chunks,
        advance=lambda state, sums, order, num_steps: advance(
            state, sums, images, order, keys, factors, jnp.int32(num_steps)
        ),
        validate=lambda variables: evaluate(variables, validation_images, keys, factors.beta),
        keep=jax.jit(keep_best, donate_argnums=1),
        metrics=metrics,
        steps_per_epoch=steps,
        num_pixels=math.prod(image_shape(base.data, stored_shape)),
        compile_seconds=perf_counter() - began,
    )
    return program, states
