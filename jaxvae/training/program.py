"""What a run executes: data on the devices, and its compiled functions."""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import data, noise
from jaxvae.batch import Examples
from jaxvae.config import Experiment, Model, Parallel
from jaxvae.data import Dataset, Split
from jaxvae.data.batches import epoch_order, order_of_epoch, steps_per_epoch
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import preprocess
from jaxvae.data.streaming import stream
from jaxvae.evaluation.evaluate import evaluate_streamed, make_batch_sums, make_evaluate
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.training import devices
from jaxvae.training.devices import BATCHES, EXAMPLES, WHOLE, Runner
from jaxvae.training.state import TrainState, initial_state, refuse_too_large, state_of
from jaxvae.training.step import Resident, Streamed, make_advance, make_train_step, metric_names

INITIAL = 1000
"""Most training examples that initial variables are taken from."""

Validate = Callable[[Any], Mapping[str, jax.Array | float]]
Chunks = Callable[[int, int], Generator[tuple[Resident | Streamed, int], None, None]]

STREAMED_BYTES = 2**25
"""Most that a chunk of streamed images takes on the devices, but for a single batch."""


class Program(NamedTuple):
    """Functions of a run, compiled once, and the numbers that describe it.

    chunks(step, stop) -> the source of each chunk of steps from `step` to `stop`, of one epoch, and
        its number of steps.
    advance(state, sums, source, num_steps) -> state, sums: so many steps; it consumes the state
        that it is given.
    validate(variables) -> means over the validation images.
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

    @property
    def num_pixels(self) -> int:
        """Numbers in an example as the model sees it."""
        return math.prod(self.info.shape)

    def sums(self, values: Mapping[str, float] | None = None) -> dict[str, jax.Array]:
        """The metrics' sums so far, on the devices; by default those of no steps."""
        values = dict.fromkeys(self.metrics, 0.0) if values is None else values
        return sums_of(self.runner, values)


def build(
    experiment: Experiment,
    dataset: Dataset,
    parallel: Parallel = Parallel(),  # noqa: B008
) -> tuple[Program, TrainState]:
    """Compile an experiment over a data set; return its program and its state before step 0.

    Raises:
        ValueError: a setting that the data, the model, the devices or Optax do not allow.
    """
    batch_size = experiment.data.batch_size
    runner = devices.choose(parallel, batch_size)
    info = data.info(dataset, experiment.data)
    steps = steps_per_epoch(info.num_examples, batch_size)
    module = experiment.model.build(info)
    train_step = make_train_step(experiment, module, info, steps)

    key = runner.make(lambda: noise.root(experiment.seed))
    initial = functools.partial(initial_state, experiment, module, info)
    refuse_too_large(jax.eval_shape(initial))
    state = runner.make(initial)
    first = to_initialise_from(experiment, dataset.train)
    if first is not None:
        begin = functools.partial(initialised, experiment, module, info)
        state = jax.jit(begin, out_shardings=runner.sharding())(state, runner.put(first), key)
    began = time.perf_counter()
    chunks = make_chunks(experiment, dataset.train, runner)
    with contextlib.closing(chunks(0, 1)) as parts:
        source, _ = next(parts)
    metrics = metric_names(train_step, state, abstract_examples(dataset.train), key)
    sums = sums_of(runner, dict.fromkeys(metrics, 0.0))
    divided: Any = WHOLE
    if isinstance(source, Streamed):
        divided = Streamed(Examples(BATCHES, BATCHES, BATCHES), WHOLE)  # type: ignore[arg-type]
    advance = runner.compile(
        make_advance(train_step, batch_size, steps, experiment.train.chunk_steps),
        state,
        sums,
        source,
        key,
        np.int32(1),
        specs=(WHOLE, WHOLE, divided, WHOLE, WHOLE),
        donate=(0,),  # not the sums, which are read while the next chunk runs
    )
    program = Program(
        chunks=chunks,
        advance=lambda state, sums, source, num_steps: advance(
            state, sums, source, key, np.int32(num_steps)
        ),
        validate=make_validate(
            make_batch_sums(experiment, module, info),
            dataset.validation,
            experiment.data.batch_size,
            runner,
            state.variables,
            key,
        ),
        runner=runner,
        model=module,
        info=info,
        metrics=metrics,
        steps_per_epoch=steps,
        compile_seconds=time.perf_counter() - began,
    )
    return program, state


def sums_of(runner: Runner, values: Mapping[str, float]) -> dict[str, jax.Array]:
    """Numbers as scalars on the devices, of the type that a step computes with."""
    dtype = jnp.result_type(float)
    return runner.put({name: np.asarray(value, dtype) for name, value in values.items()})


def abstract_examples(split: Split) -> Examples:
    """One example of a split, as shapes and types."""
    x = jax.ShapeDtypeStruct((1, *split.images.shape[1:]), split.images.dtype)
    number = jax.ShapeDtypeStruct((1,), np.int32)
    return Examples(x, number, number)


def to_initialise_from(experiment: Experiment, split: Split) -> Examples | None:
    """Training examples in the order of the first epoch, where the model begins with data.

    Most models do not, and read nothing here.
    """
    if type(experiment.model).initialise is Model.initialise:
        return None
    key = noise.root(experiment.seed)
    order = np.asarray(jax.jit(epoch_order, static_argnums=2)(key, 0, len(split.images)))
    index = order[:INITIAL].astype(np.int32)
    return Examples(split.images[index], split.every_label[index], index)


def initialised(
    experiment: Experiment,
    module: Any,
    info: Info,
    state: TrainState,
    examples: Examples,
    key: jax.Array,
) -> TrainState:
    """The state before step 0, with what the model takes from these examples."""
    batch = preprocess(experiment.data, examples, Noise(key, 0, examples.index), info)
    variables = {"params": state.params["model"], **state.collections}
    own = noise.stream(key, "initialise")
    variables = experiment.model.initialise(module, variables, batch, own)
    return state_of(experiment, variables, state.params["objective"])


def make_chunks(experiment: Experiment, split: Split, runner: Runner) -> Chunks:
    """`Program.chunks` over the training examples, in the order that the seed gives each epoch."""
    batch_size, chunk_steps = experiment.data.batch_size, experiment.train.chunk_steps
    images, labels = split.images, split.every_label
    steps = steps_per_epoch(len(images), batch_size)
    labelled, seed = experiment.data.labelled, experiment.seed
    order_of = functools.lru_cache(maxsize=1)(
        jax.jit(
            lambda epoch: order_of_epoch(labelled, labels, noise.root(seed), epoch, batch_size),
            out_shardings=runner.sharding(),
        )
    )
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
    split: Split,
    batch_size: int,
    runner: Runner,
    variables: Any,
    key: jax.Array,
) -> Validate:
    """`Program.validate`, compiled for variables like these."""
    images, labels = split.images, split.every_label
    if not isinstance(images, LazyImages):
        resident = runner.put((images, labels))
        evaluate = runner.compile_whole(
            make_evaluate(batch_sums, batch_size), variables, *resident, key
        )
        return lambda variables: evaluate(variables, *resident, key)

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
    )
