"""What a run executes: data on the devices, and its compiled functions."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import data, noise
from jaxvae.batch import Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, Model, Parallel
from jaxvae.data import Dataset, Split
from jaxvae.data.batches import epoch_order, order_of_epoch, steps_per_epoch
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import preprocess
from jaxvae.data.streaming import stream
from jaxvae.evaluation.at_once import evaluated_at_once, most_at_once
from jaxvae.evaluation.evaluate import (
    evaluate_streamed,
    has_terms_across,
    make_batch_sums,
    make_evaluate,
    uses_observed,
)
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.training import devices, members
from jaxvae.training.devices import BATCHES, EXAMPLES, WHOLE, Runner
from jaxvae.training.parts import settled
from jaxvae.training.state import AXES, TrainState, initial_state, refuse_too_large, state_of
from jaxvae.training.step import Resident, Streamed, make_advance, make_train_step, metric_names

INITIAL = 1000
"""Most training examples that initial variables are taken from."""

Validate = Callable[[Any], Mapping[str, jax.Array | float]]
Chunks = Callable[[int, int], Generator[tuple[Resident | Streamed, int], None, None]]

STREAMED_BYTES = 2**21
"""Most that a chunk of streamed images takes on the devices, but for a single batch.

The device waits for an epoch's first chunk, and then computes one while the next is read.
"""


class Program(NamedTuple):
    """Functions of a run, compiled once, and the numbers that describe it.

    chunks(step, stop) -> the source of each chunk of steps from `step` to `stop`, of one epoch, and
        its number of steps.
    advance(state, sums, source, num_steps) -> state, sums: so many steps; it consumes the state
        that it is given.
    validate(variables) -> means over the validation images.

    Of several members every array but the step has a first axis of members.
    """

    chunks: Chunks
    advance: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    validate: Validate
    runner: Runner
    model: Any
    info: Info
    metrics: tuple[str, ...]  # what `sums` holds
    steps_per_epoch: int
    compile_seconds: float
    sub_batch: int  # images of a batch that a device takes at once
    members: int | None = None  # None: a run alone, whose arrays have no axis of members

    @property
    def num_pixels(self) -> int:
        """Numbers in an example as the model sees it."""
        return math.prod(self.info.shape)

    def sums(self, values: Mapping[str, Sequence[float]] | None = None) -> dict[str, jax.Array]:
        """The metrics' sums so far of each member, on the devices; by default those of no steps."""
        values = values or dict.fromkeys(self.metrics, (0.0,) * (self.members or 1))
        return {name: self.per_member(numbers) for name, numbers in values.items()}

    def per_member(self, numbers: Sequence[float]) -> jax.Array:
        """A number of each member, on the devices."""
        return per_member(self.runner, numbers, self.members)


def per_member(runner: Runner, numbers: Sequence[float], count: int | None) -> jax.Array:
    """Numbers on the devices, (count,), or () of a run alone, of the type that steps compute."""
    array = np.asarray(numbers, jnp.result_type(float))
    return runner.put(array.reshape(() if count is None else (count,)))


def build(
    experiment: Experiment,
    dataset: Dataset,
    parallel: Parallel = Parallel(),  # noqa: B008
    everyone: Sequence[Experiment] | None = None,
    names: Sequence[str] = (),
    before: int | None = None,
) -> tuple[Program, TrainState]:
    """Compile an experiment over a data set; return its program and its state before step 0.

    Args:
        experiment: the recipe.
        dataset: its data.
        parallel: on which devices; several members are on one.
        everyone: the members of a population; None: the experiment alone.
        names: fields in which members differ besides the seed.
        before: as for `settled`.

    Raises:
        UsageError: a setting that the data, the model, the devices or Optax do not allow.
    """
    batch_size, train = experiment.data.batch_size, dataset.train
    refuse_outside_unit(experiment, train)
    runner = devices.choose(parallel, batch_size)
    info = data.info(dataset, experiment.data)
    steps = steps_per_epoch(info.num_examples, batch_size)
    module = experiment.model.build(info)
    refuse_ignored(experiment, module, info)
    on_cpu = runner.mesh.devices.flat[0].platform == "cpu"
    own = abstract_examples(train, batch_size // runner.mesh.size)
    in_parts = settled(experiment, module, info, on_cpu, own, before)
    train_step = make_train_step(in_parts, module, info, steps)

    count: int | None = None
    initial: Callable[..., TrainState] = initial_state
    key = runner.make(lambda: noise.root(experiment.seed))
    if everyone is not None:
        count, initial = len(everyone), members.initial_states
        key = runner.make(lambda: members.root_keys(everyone))
    numbers = runner.put(members.numbers_of(everyone or (), names))
    begin = functools.partial(initial, experiment, module, info, key)
    refuse_too_large(jax.eval_shape(begin))
    state = runner.make(begin)
    examples = to_initialise_from(everyone or (experiment,), train)
    if examples is not None:
        from_data = make_from_data(experiment, module, info)
        if count is None:
            examples = jax.tree.map(lambda x: x[0], examples)
        else:
            from_data = jax.vmap(from_data, (AXES, 0, 0), AXES)
        compiled = jax.jit(from_data, out_shardings=runner.sharding())
        state = compiled(state, runner.put(examples), key)

    began = time.perf_counter()
    chunks = make_chunks(experiment, train, runner, key)
    with contextlib.closing(chunks(0, 1)) as parts:
        source, _ = next(parts)
    one, one_key = state, key
    if count is not None:
        one, one_key = jax.tree.map(lambda x: x[0], members.stacked(state)), key[0]
    example = abstract_examples(train, batch_size)
    metrics = metric_names(train_step, one, example, one_key)  # also refuses what no step can take
    members.refuse_constants(experiment, train_step, one, example, one_key, numbers)
    sums = {name: per_member(runner, (0.0,) * (count or 1), count) for name in metrics}
    divided: Any = WHOLE
    if isinstance(source, Streamed):
        divided = Streamed(Examples(BATCHES, BATCHES, BATCHES), WHOLE)  # type: ignore[arg-type]
    several = count is not None
    in_turn = several and on_cpu
    steps_of = make_advance(
        *(train_step, batch_size, steps, experiment.train.chunk_steps),
        members=several and not in_turn,
    )
    advance = runner.compile(
        members.in_turn(steps_of) if in_turn else steps_of,
        *(state, sums, source, key, numbers, np.int32(1)),
        specs=(WHOLE, WHOLE, divided, WHOLE, WHOLE, WHOLE),
        donate=(0,),  # not the sums, which are read while the next chunk runs
    )
    across = has_terms_across(experiment, module, info)
    most = most_at_once(experiment, module, info, on_cpu)
    at_once = runner.mesh.size * evaluated_at_once(len(own.index), most, across)
    program = Program(
        chunks=chunks,
        advance=lambda state, sums, source, num_steps: advance(
            state, sums, source, key, numbers, np.int32(num_steps)
        ),
        validate=make_validate(
            make_batch_sums(experiment, module, info),
            across,
            dataset.validation,
            at_once,
            runner,
            (state.variables, key, numbers),
        ),
        runner=runner,
        model=module,
        info=info,
        metrics=metrics,
        steps_per_epoch=steps,
        compile_seconds=time.perf_counter() - began,
        sub_batch=in_parts.train.sub_batch or batch_size,
        members=count,
    )
    return program, state


def refuse_outside_unit(experiment: Experiment, split: Split) -> None:
    """Raise a UsageError where a Bernoulli likelihood is given values that are no probabilities."""
    images = split.images
    if experiment.objective.likelihood != "bernoulli" or images.dtype.kind == "u":
        return
    allowed = "another one, such as 'gaussian', for standardised values (or --data.no-standardise)"
    standardise = experiment.data.standardise
    require(not standardise, "objective.likelihood", "bernoulli", allowed)
    low, high = float(np.nanmin(images[:])), float(np.nanmax(images[:]))
    allowed = f"another one for values from {low:.4g} to {high:.4g}, such as 'gaussian'"
    require(0 <= low <= high <= 1, "objective.likelihood", "bernoulli", allowed)


def refuse_ignored(experiment: Experiment, module: Any, info: Info) -> None:
    """Raise a UsageError where values are missing, and the loss counts what stands for them."""
    if info.missing and not uses_observed(experiment, module, info):
        raise UsageError(
            f"objective {type(experiment.objective).__name__}: its loss does not depend on"
            " batch.observed, and some values of the data are missing (NaN): it must leave them"
            " out, or they must be filled in first"
        )


def abstract_examples(split: Split, batch_size: int) -> Examples:
    """A batch of a split, as shapes and types."""
    x = jax.ShapeDtypeStruct((batch_size, *split.images.shape[1:]), split.images.dtype)
    number = jax.ShapeDtypeStruct((batch_size,), np.int32)
    return Examples(x, number, number)


def to_initialise_from(everyone: Sequence[Experiment], split: Split) -> Examples | None:
    """Training examples in the order of each member's first epoch, (members, n, ...), where the
    model begins with data. Most models do not, and read nothing here."""
    if type(everyone[0].model).initialise is Model.initialise:
        return None
    order_of = jax.jit(epoch_order, static_argnums=2)
    firsts = []
    for member in everyone:
        order = order_of(noise.root(member.seed), 0, len(split.images))
        index = np.asarray(order)[:INITIAL].astype(np.int32)
        firsts.append(Examples(split.images[index], split.every_label[index], index))
    return jax.tree.map(lambda *parts: np.stack(parts), *firsts)


def make_from_data(experiment: Experiment, module: Any, info: Info) -> Callable[..., TrainState]:
    """`from_data(state, examples, key)`: the state before step 0, with what the model takes from
    these training examples."""

    def from_data(state: TrainState, examples: Examples, key: jax.Array) -> TrainState:
        batch = preprocess(experiment.data, examples, Noise(key, 0, examples.index), info)
        variables = {"params": state.params["model"], **state.collections}
        own = noise.stream(key, "initialise")
        variables = experiment.model.initialise(module, variables, batch, own)
        return state_of(experiment, variables, state.params["objective"])

    return from_data


def make_chunks(experiment: Experiment, split: Split, runner: Runner, key: jax.Array) -> Chunks:
    """`Program.chunks` over the training examples, in the order that each key gives an epoch."""
    batch_size, chunk_steps = experiment.data.batch_size, experiment.train.chunk_steps
    images, labels = split.images, split.every_label
    steps = steps_per_epoch(len(images), batch_size)
    labelled = experiment.data.labelled

    def order(key: jax.Array, epoch: jax.Array | int) -> jax.Array:
        return order_of_epoch(labelled, labels, key, epoch, batch_size)

    orders = jax.vmap(order, (0, None)) if key.ndim else order
    compiled = jax.jit(orders, out_shardings=runner.sharding())
    order_of = functools.lru_cache(maxsize=1)(lambda epoch: compiled(key, epoch))
    if not isinstance(images, LazyImages):
        x, known = runner.put((images, labels))

        def resident_chunks(step: int, stop: int) -> Generator[tuple[Resident, int], None, None]:
            source = Resident(x, known, order_of(step // steps))
            for first in range(step, stop, chunk_steps):
                yield source, min(chunk_steps, stop - first)

        return resident_chunks

    lazy, own = images, runner.own_rows(batch_size)
    length = min(chunk_steps, max(1, STREAMED_BYTES // (batch_size * math.prod(lazy.shape[1:]))))

    def streamed_chunks(step: int, stop: int) -> Generator[tuple[Streamed, int], None, None]:
        first, order = step % steps, np.asarray(order_of(step // steps))
        taken = order[first * batch_size : (first + stop - step) * batch_size]
        batches = taken.reshape(-1, batch_size)[:, own]
        with contextlib.closing(stream(lazy, batches, length)) as parts:
            for i, part in enumerate(parts):
                index = batches[i * length : (i + 1) * length]
                examples = Examples(part, labels[index], index)
                of_chunk = functools.partial(longer, length)
                source = Streamed(
                    runner.put_parts(jax.tree.map(of_chunk, examples), BATCHES),
                    runner.put(np.int32(first + i * length)),
                )
                yield source, len(part)

    return streamed_chunks


def longer(length: int, x: np.ndarray) -> np.ndarray:
    """So long along the first axis, by zeros, which are never read."""
    return np.pad(x, ((0, length - len(x)), *[(0, 0)] * (x.ndim - 1)))


def make_validate(
    batch_sums: Callable[..., Any],
    across: bool,
    split: Split,
    batch_size: int,
    runner: Runner,
    like: tuple[Any, jax.Array, Any],
) -> Validate:
    """`Program.validate`, compiled for variables, keys and numbers like these."""
    images, labels = split.images, split.every_label
    variables, key, numbers = like
    if not isinstance(images, LazyImages):
        resident = runner.put((images, labels))
        evaluate = make_evaluate(batch_sums, batch_size, across)
        if key.ndim:  # one for each member
            evaluate = jax.vmap(evaluate, (0, None, None, 0, 0))
        compiled = runner.compile_whole(evaluate, variables, *resident, key, numbers)
        return lambda variables: compiled(variables, *resident, key, numbers)

    own = runner.own_rows(batch_size)
    number = np.zeros(batch_size, np.int32)
    example = Examples(np.zeros((batch_size, *images.shape[1:]), images.dtype), number, number)
    batch = runner.put((example, np.zeros(batch_size, bool)), EXAMPLES)
    compiled = runner.compile_whole(batch_sums, variables, *batch, key)
    return lambda variables: evaluate_streamed(
        compiled,
        variables,
        split,
        key,
        batch_size,
        own,
        lambda parts: runner.put_parts(parts, EXAMPLES),
        across,
    )
