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

from jaxvae import noise
from jaxvae.config import Experiment, Parallel
from jaxvae.data import Dataset
from jaxvae.data.batches import epoch_order, steps_per_epoch
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import image_shape
from jaxvae.data.streaming import stream
from jaxvae.evaluation.evaluate import evaluate_streamed, make_batch_sums, make_evaluate
from jaxvae.training import devices
from jaxvae.training.devices import BATCHES, EXAMPLES, WHOLE, Runner
from jaxvae.training.optimizer import make_optimizer, make_schedule
from jaxvae.training.state import TrainState, build_model, initial_state, refuse_too_large
from jaxvae.training.step import Resident, Streamed, make_advance, make_train_step, metric_names

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
    metrics: tuple[str, ...]  # what `sums` holds
    steps_per_epoch: int
    num_pixels: int  # height x width x channels of the model's input
    compile_seconds: float

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
    num_examples, height, width, channels = dataset.train.images.shape
    stored_shape = (height, width, channels)
    steps = steps_per_epoch(num_examples, batch_size)
    model = build_model(experiment, stored_shape)
    optimizer = make_optimizer(experiment.optimizer)
    schedule = make_schedule(experiment.optimizer, steps, experiment.train.epochs)
    train_step = make_train_step(experiment, model, optimizer, schedule)

    key = runner.make(lambda: noise.root(experiment.seed))
    initial = functools.partial(initial_state, experiment, model, optimizer, stored_shape)
    refuse_too_large(jax.eval_shape(initial))
    state = runner.make(initial)
    began = time.perf_counter()
    metrics = metric_names(train_step, state, stored_shape, key)
    sums = sums_of(runner, dict.fromkeys(metrics, 0.0))
    chunks = make_chunks(experiment, dataset.train.images, runner)
    with contextlib.closing(chunks(0, 1)) as first:
        source, _ = next(first)
    divided: Any = WHOLE
    if isinstance(source, Streamed):
        divided = Streamed(BATCHES, BATCHES, WHOLE)  # type: ignore[arg-type]
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
            experiment, model, dataset.validation.images, runner, state.variables, key
        ),
        runner=runner,
        model=model,
        metrics=metrics,
        steps_per_epoch=steps,
        num_pixels=math.prod(image_shape(experiment.data, stored_shape)),
        compile_seconds=time.perf_counter() - began,
    )
    return program, state


def sums_of(runner: Runner, values: Mapping[str, float]) -> dict[str, jax.Array]:
    """Numbers as scalars on the devices, of the type that a step computes with."""
    dtype = jnp.result_type(float)
    return runner.put({name: np.asarray(value, dtype) for name, value in values.items()})


def make_chunks(experiment: Experiment, images: np.ndarray | LazyImages, runner: Runner) -> Chunks:
    """`Program.chunks` over the training images, in the order that the seed gives each epoch."""
    batch_size, chunk_steps = experiment.data.batch_size, experiment.train.chunk_steps
    num_examples = len(images)
    steps = steps_per_epoch(num_examples, batch_size)
    order_of = functools.lru_cache(maxsize=1)(
        jax.jit(
            lambda epoch: epoch_order(noise.root(experiment.seed), epoch, num_examples),
            out_shardings=runner.sharding(),
        )
    )
    if not isinstance(images, LazyImages):
        resident = runner.put(images)

        def resident_chunks(step: int, stop: int) -> Generator[tuple[Resident, int], None, None]:
            source = Resident(resident, order_of(step // steps))
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
                missing = ((0, length - len(part)), (0, 0))  # of the last chunk: never read
                source = Streamed(
                    runner.put_parts(np.pad(part, (*missing, (0, 0), (0, 0), (0, 0))), BATCHES),
                    runner.put_parts(np.pad(index, missing), BATCHES),
                    runner.put(np.int32(first + i * length)),
                )
                yield source, len(part)

    return streamed_chunks


def make_validate(
    experiment: Experiment,
    model: Any,
    images: np.ndarray | LazyImages,
    runner: Runner,
    variables: Any,
    key: jax.Array,
) -> Validate:
    """`Program.validate`, compiled for variables like these."""
    if not isinstance(images, LazyImages):
        resident = runner.put(images)
        evaluate = runner.compile_whole(make_evaluate(experiment, model), variables, resident, key)
        return lambda variables: evaluate(variables, resident, key)

    batch_size, lazy = experiment.data.batch_size, images
    own = runner.own_rows(batch_size)
    example = np.zeros((batch_size, *lazy.shape[1:]), np.uint8), np.zeros(batch_size, np.int32)
    batch = runner.put((*example, np.zeros(batch_size, bool)), EXAMPLES)
    batch_sums = runner.compile_whole(make_batch_sums(experiment, model), variables, *batch, key)
    return lambda variables: evaluate_streamed(
        batch_sums,
        variables,
        lazy,
        key,
        batch_size,
        own,
        lambda parts: runner.put_parts(parts, EXAMPLES),
    )
