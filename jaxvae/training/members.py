"""The members of a population: their experiments, what differs, and their states."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Population, with_number
from jaxvae.evaluation import Trained
from jaxvae.info import Info
from jaxvae.training.state import AXES, TrainState, initial_state
from jaxvae.training.step import Resident, TrainStep

Advanced = tuple[TrainState, dict[str, jax.Array]]
Advance = Callable[..., Advanced]


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


def initial_states(base: Experiment, module: Any, info: Info, keys: jax.Array) -> TrainState:
    """The states of all members before the first step, from their root keys (k,)."""
    return jax.vmap(lambda key: initial_state(base, module, info, key), out_axes=AXES)(keys)


def first_best(state: TrainState) -> TrainState:
    """The best state of each member before the first epoch: a copy."""
    return jax.tree.map(jnp.copy, stacked(state))


def stacked(state: TrainState) -> TrainState:
    """A population's latest state with `step`, too, once per member."""
    return replace(state, step=jnp.broadcast_to(state.step, state.lr_scale.shape))


def refuse_constants(
    experiment: Experiment,
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
            traced = jax.make_jaxpr(train_step)(state, examples, key, {name: one}).jaxpr
        except (jax.errors.ConcretizationTypeError, TypeError) as error:
            raise UsageError(
                f"population.sweep: {name}: decides what the program is, so that one program cannot"
                " take several values of it; train a run for each"
            ) from error
        number = traced.invars[-1]
        used = any(number is var for equation in traced.eqns for var in equation.invars)
        between_epochs = name == "optimizer.decay" and experiment.optimizer.schedule == "plateau"
        if not used and not between_epochs:
            raise UsageError(f"population.sweep: {name}: has no effect with the other settings")


def in_turn(advance: Advance) -> Advance:
    """`advance(state, sums, source, key, numbers, num_steps)` of one member, for all of them: the
    next takes its steps after the one before has taken all of its own.

    One member fills a CPU, and its arrays stay in the caches, which those of many do not fit
    (docs/performance.md). The step is that of the member that came furthest: one that is not
    finite stops.
    """

    def of_all(
        state: TrainState,
        sums: dict[str, jax.Array],
        source: Resident,
        key: jax.Array,
        numbers: Mapping[str, jax.Array],
        num_steps: jax.Array,
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        begun = state.step

        def of_one(i: jax.Array, all_: Advanced) -> Advanced:
            states, sums = all_
            own = source._replace(order=source.order[i])
            before = replace(taken(stacked(states), i), step=begun)
            after = advance(before, taken(sums, i), own, key[i], taken(numbers, i), num_steps)
            furthest = jnp.maximum(states.step, after[0].step)
            states, sums = jax.tree.map(
                lambda every, new: every.at[i].set(new), (stacked(states), sums), after
            )
            return replace(states, step=furthest), sums

        return jax.lax.fori_loop(0, len(key), of_one, (state, sums))

    return of_all


def taken(tree: Any, i: jax.Array | int) -> Any:
    """What member `i` has of arrays with a first axis of members."""
    return jax.tree.map(lambda x: x[i], tree)


def one_of(trained: Trained, everyone: Sequence[Experiment], i: int) -> Trained:
    """Member `i` of a model whose variables have an axis of members."""
    return trained._replace(experiment=everyone[i], variables=taken(trained.variables, i))


@functools.partial(jax.jit, donate_argnums=1)
def keep_best(latest: TrainState, best: TrainState, improved: jax.Array) -> TrainState:
    """The latest state of the members that improved, (k,), the best one of the others."""

    def choose(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(improved.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, stacked(latest), best)
