"""The members of a population: their experiments, their states, and the program of them all."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import data, noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Population, with_number
from jaxvae.data import Dataset
from jaxvae.data.batches import batch_index, order_of_epoch, steps_per_epoch
from jaxvae.evaluation import make_batch_sums, make_evaluate
from jaxvae.info import Info
from jaxvae.training.devices import compile_within_memory
from jaxvae.training.program import abstract_examples, initialised, to_initialise_from
from jaxvae.training.state import TrainState, initial_state, refuse_too_large
from jaxvae.training.step import Metrics, TrainStep, make_train_step, metric_names

# Of a population's state: all members are at the same step, the rest has a leading axis of members.
AXES = TrainState(step=None, params=0, collections=0, opt_state=0, ema=0, lr_scale=0)  # type: ignore[arg-type]


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
    """The experiment of each member: seeds x values of each field that is swept, the last fastest.

    Raises:
        UsageError: a field that is no number, a value that it does not allow, or betas for a model
            without a KL.
    """
    values = population.values()
    allowed = f"without objective.beta for model.family = {experiment.model.family!r}: no KL"
    no_effect = "objective.beta" in values and experiment.model.family != "VAE"
    require(not no_effect, "population.sweep", population.sweep, allowed)
    seeds = values.pop("seed", range(experiment.seed, experiment.seed + population.seeds))
    found = []
    for seed, *numbers in itertools.product(seeds, *values.values()):
        member = replace(experiment, seed=int(seed))
        for name, number in zip(values, numbers, strict=True):
            member = with_number(member, name, number)
        found.append(member)
    return tuple(found)


def swept(member: Experiment, names: Sequence[str] = ()) -> dict[str, float]:
    """The fields in which members may differ, by dotted name: the usual ones and `names`."""
    usual = ("seed", "objective.beta", "optimizer.learning_rate")
    return {name: value_of(member, name) for name in dict.fromkeys((*usual, *names))}


def value_of(member: Experiment, name: str) -> float:
    """The value of a field, by dotted name."""
    value: Any = functools.reduce(getattr, name.split("."), member)  # type: ignore[arg-type]
    return value


def numbers_of(everyone: Sequence[Experiment], names: Sequence[str]) -> dict[str, jax.Array]:
    """The value of each swept field, (members,); seeds are in the keys."""
    return {
        name: jnp.asarray([value_of(member, name) for member in everyone], float)
        for name in names
        if name != "seed"
    }


def root_keys(everyone: Sequence[Experiment]) -> jax.Array:
    """The root key of each member, (k,)."""
    return jnp.stack([noise.root(member.seed) for member in everyone])


def initial_states(base: Experiment, module: Any, info: Info, keys: jax.Array) -> States:
    """The states of all members before the first step, from their root keys (k,)."""
    state = jax.vmap(lambda key: initial_state(base, module, info, key), out_axes=AXES)(keys)
    return States(state, jax.tree.map(jnp.copy, stacked(state)))


def stacked(state: TrainState) -> TrainState:
    """A population's latest state with `step`, too, once per member."""
    return replace(state, step=jnp.broadcast_to(state.step, state.lr_scale.shape))


def refuse_constants(
    train_step: TrainStep,
    state: TrainState,
    examples: Examples,
    key: jax.Array,
    numbers: Mapping[str, jax.Array],
) -> None:
    """A field can be swept that enters arithmetic alone; which do, is found by tracing a step.

    Raises:
        UsageError: one decides what the program is.
    """
    one = jax.ShapeDtypeStruct((), jnp.result_type(float))
    for name in numbers:
        try:
            jax.eval_shape(train_step, state, examples, key, {name: one})
        except (jax.errors.ConcretizationTypeError, TypeError) as error:
            raise UsageError(
                f"population.sweep: {name}: decides what the program is, so that one program cannot"
                " take several values of it; train a run for each"
            ) from error


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
    info: Info
    metrics: tuple[str, ...]
    steps_per_epoch: int
    compile_seconds: float


def make_population_advance(
    train_step: TrainStep, batch_size: int, steps_per_epoch: int
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`advance(state, sums, x, labels, order, keys, numbers, num_steps) -> state, sums`.

    As `make_advance`, for k members at the same step: `state` and `sums` are stacked, `order` is
    (k, n), `keys` (k,). One loop around the step of all members, since a loop under `vmap` would
    select between the old and the new state of every member in every step.
    """
    step_all = jax.vmap(train_step, in_axes=(AXES, 0, 0, 0), out_axes=(AXES, 0))

    def advance(
        state: TrainState,
        sums: Metrics,
        x: jax.Array,
        labels: jax.Array,
        order: jax.Array,
        keys: jax.Array,
        numbers: Mapping[str, jax.Array],
        num_steps: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        def one(_: jax.Array, carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, sums = carry
            step = state.step % steps_per_epoch
            index = jax.vmap(lambda order: batch_index(order, step, batch_size))(order)
            examples = Examples(x[index], labels[index], index)
            state, metrics = step_all(state, examples, keys, numbers)
            return state, jax.tree.map(jnp.add, sums, metrics)

        return jax.lax.fori_loop(0, num_steps, one, (state, sums))

    return advance


def keep_best(latest: TrainState, best: TrainState, improved: jax.Array) -> TrainState:
    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(improved.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, stacked(latest), best)


def build(
    everyone: Sequence[Experiment], dataset: Dataset, names: Sequence[str] = ()
) -> tuple[Program, States]:
    """Compile a population over a data set; return its program and its states before step 0.

    Args:
        everyone: the members.
        dataset: their data.
        names: fields in which they differ besides the seed.
    """
    base, train = everyone[0], dataset.train
    batch_size = base.data.batch_size
    info = data.info(dataset, base.data)
    steps = steps_per_epoch(info.num_examples, batch_size)
    module = base.model.build(info)
    train_step = make_train_step(base, module, info, steps)

    keys, numbers = root_keys(everyone), numbers_of(everyone, names)
    resident = jnp.asarray(train.images), jnp.asarray(train.every_label)
    held_out = jnp.asarray(dataset.validation.images), jnp.asarray(dataset.validation.every_label)
    initial = functools.partial(initial_states, base, module, info, keys)
    refuse_too_large(jax.eval_shape(initial))
    states = jax.jit(initial)()
    firsts = [to_initialise_from(member, train) for member in everyone]
    if firsts[0] is not None:
        begin = jax.vmap(functools.partial(initialised, base, module, info), (AXES, 0, 0), AXES)
        first = jax.tree.map(lambda *parts: np.stack(parts), *firsts)
        latest = jax.jit(begin)(states.latest, first, keys)
        states = States(latest, jax.tree.map(jnp.copy, stacked(latest)))

    began = perf_counter()
    order = jax.jit(
        lambda epoch: jax.vmap(
            lambda k: order_of_epoch(base.data.labelled, train.every_label, k, epoch, batch_size)
        )(keys)
    )
    orders = order(0)
    one = jax.tree.map(lambda x: x[0], stacked(states.latest))
    examples = abstract_examples(train)
    metrics = metric_names(train_step, one, examples, keys[0])
    refuse_constants(train_step, one, examples, keys[0], numbers)
    sums = {name: jnp.zeros(len(everyone)) for name in metrics}
    advance = compile_within_memory(
        jax.jit(make_population_advance(train_step, batch_size, steps), donate_argnums=(0, 1)),
        *(states.latest, sums, *resident, orders, keys, numbers, jnp.int32(1)),
    )
    evaluate_one = make_evaluate(make_batch_sums(base, module, info), batch_size)
    evaluate = compile_within_memory(
        jax.jit(jax.vmap(evaluate_one, in_axes=(0, None, None, 0, 0))),
        *(states.latest.variables, *held_out, keys, numbers),
    )

    def chunks(step: int, stop: int) -> Iterator[tuple[jax.Array, int]]:
        of_epoch = order(step // steps)
        for first in range(step, stop, base.train.chunk_steps):
            yield of_epoch, min(base.train.chunk_steps, stop - first)

    program = Program(
        chunks=chunks,
        advance=lambda state, sums, order, num_steps: advance(
            state, sums, *resident, order, keys, numbers, jnp.int32(num_steps)
        ),
        validate=lambda variables: evaluate(variables, *held_out, keys, numbers),
        keep=jax.jit(keep_best, donate_argnums=1),
        info=info,
        metrics=metrics,
        steps_per_epoch=steps,
        compile_seconds=perf_counter() - began,
    )
    return program, states
