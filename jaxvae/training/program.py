"""What a run executes: data on the device, and its compiled functions."""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.config import Experiment
from jaxvae.data import Dataset
from jaxvae.data.batches import epoch_order, steps_per_epoch
from jaxvae.data.preprocess import image_shape
from jaxvae.evaluation.evaluate import make_evaluate
from jaxvae.training.optimizer import make_optimizer, make_schedule
from jaxvae.training.state import TrainState, build_model, initial_state
from jaxvae.training.step import make_advance, make_train_step, metric_names


class Program(NamedTuple):
    """Functions of a run, compiled once, and the numbers that describe it.

    advance(state, sums, order, num_steps) -> state, sums: steps within an epoch; it consumes the
        state that it is given.
    validate(variables) -> means over the validation images.
    order(epoch) -> the epoch's order of the training images; epochs count from 0.
    """

    advance: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
    validate: Callable[[Any], dict[str, jax.Array]]
    order: Callable[[int], jax.Array]
    model: Any
    metrics: tuple[str, ...]  # what `sums` holds
    steps_per_epoch: int
    num_pixels: int  # height x width x channels of the model's input
    compile_seconds: float


def build(experiment: Experiment, dataset: Dataset) -> tuple[Program, TrainState]:
    """Compile an experiment over a data set; return its program and its state before step 0.

    Raises:
        ValueError: a setting that the data, the model or Optax do not allow.
    """
    batch_size = experiment.data.batch_size
    num_examples, height, width, channels = dataset.train.images.shape
    stored_shape = (height, width, channels)
    steps = steps_per_epoch(num_examples, batch_size)
    model = build_model(experiment, stored_shape)
    optimizer = make_optimizer(experiment.optimizer)
    schedule = make_schedule(experiment.optimizer, steps, experiment.train.epochs)
    train_step = make_train_step(experiment, model, optimizer, schedule)

    key = noise.root(experiment.seed)
    images = jnp.asarray(dataset.train.images)
    validation_images = jnp.asarray(dataset.validation.images)
    state = jax.jit(lambda: initial_state(experiment, model, optimizer, stored_shape))()

    began = time.perf_counter()
    epoch_order_jit = jax.jit(epoch_order, static_argnums=2)
    order = epoch_order_jit(key, 0, num_examples)
    metrics = metric_names(train_step, state, stored_shape, key)
    sums = {name: jnp.zeros(()) for name in metrics}
    advance = (
        jax.jit(
            make_advance(train_step, batch_size, steps, experiment.train.chunk_steps),
            donate_argnums=0,  # not the sums, which are read while the next chunk runs
        )
        .lower(state, sums, images, order, key, jnp.int32(1))
        .compile()
    )
    evaluate = (
        jax.jit(make_evaluate(experiment, model))
        .lower(state.variables, validation_images, key)
        .compile()
    )

    program = Program(
        advance=lambda state, sums, order, num_steps: advance(
            state, sums, images, order, key, jnp.int32(num_steps)
        ),
        validate=lambda variables: evaluate(variables, validation_images, key),
        order=lambda epoch: epoch_order_jit(key, epoch, num_examples),
        model=model,
        metrics=metrics,
        steps_per_epoch=steps,
        num_pixels=math.prod(image_shape(experiment.data, stored_shape)),
        compile_seconds=time.perf_counter() - began,
    )
    return program, state
