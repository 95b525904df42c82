"""One pure training step, and the compiled loop that repeats it over data on the device."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import axis, noise
from jaxvae.checks import UsageError
from jaxvae.config import Experiment
from jaxvae.data.batches import batch_index
from jaxvae.data.preprocess import noise_keys, preprocess
from jaxvae.models import Output
from jaxvae.training.state import PyTree, TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[..., tuple[TrainState, Metrics]]


class Factors(NamedTuple):
    """What the experiment's beta and learning rate are multiplied by: 1, but in a population."""

    beta: jax.Array | float = 1.0
    learning_rate: jax.Array | float = 1.0


def beta_at(experiment: Experiment, num_pixels: int, step: jax.Array | int) -> jax.Array:
    """`beta_eff` at a step: 0 at step 0, rising linearly over `objective.warmup_steps`."""
    beta, warmup_steps = experiment.beta_eff(num_pixels), experiment.objective.warmup_steps
    warmup = jnp.minimum(1.0, jnp.asarray(step, float) / warmup_steps) if warmup_steps else 1.0
    return jnp.asarray(beta * warmup, float)


class Forward(NamedTuple):
    """What a training batch gave besides its loss."""

    output: Output
    terms: dict[str, jax.Array]  # per example, (batch,) each, in nats
    batch_stats: PyTree  # the running statistics, updated


def make_loss(experiment: Experiment, model: Any) -> Callable[..., tuple[jax.Array, Forward]]:
    """`loss(params, batch_stats, images, index, key, step, factors)`: what is minimised, `Forward`.

    Pure; the arguments are those of `train_step`. The loss is a scalar in the units of the
    experiment's source: `objective.scale` times the mean over the batch of the term `loss`.
    """
    data, objective = experiment.data, experiment.objective

    def loss_fn(
        params: PyTree,
        batch_stats: PyTree,
        images: jax.Array,
        index: jax.Array,
        key: jax.Array,
        step: jax.Array,
        factors: Factors = Factors(),  # noqa: B008
    ) -> tuple[jax.Array, Forward]:
        x = preprocess(data, images, noise_keys(data, key, step, index))
        eps = noise.eps(key, step, index, experiment.model.latent_dim)
        dropout_keys = noise.dropout_keys(key, step, index)
        output, updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            x.input,
            eps,
            train=True,
            dropout_keys=dropout_keys,
            mutable=["batch_stats"],
        )
        num_pixels = x.target[0].size
        beta = beta_at(experiment, num_pixels, step) * factors.beta
        terms = objective.terms(output, x.target, beta)
        scale = objective.scale(num_pixels, batch_size=images.shape[0] * axis.size())
        loss = scale * jnp.mean(terms["loss"])
        return loss, Forward(output, terms, updated.get("batch_stats", {}))

    return loss_fn


def make_train_step(
    experiment: Experiment,
    model: Any,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
) -> TrainStep:
    """`train_step(state, images, index, key, factors) -> state, metrics`, pure.

    Its arguments: stored `uint8` images (batch, height, width, channels); the examples' indices in
    their data set (batch,), which with the step determine their noise; the run's root key; and
    optionally `Factors`.
    The metrics are means over the batch: every term of the objective in nats per image, and
    `grad_norm`, the global norm of the gradient of what is minimised, before clipping. They are
    measured at the state that comes in.
    """
    loss_fn = make_loss(experiment, model)

    def train_step(
        state: TrainState,
        images: jax.Array,
        index: jax.Array,
        key: jax.Array,
        factors: Factors = Factors(),  # noqa: B008
    ) -> tuple[TrainState, Metrics]:
        gradient, forward = jax.grad(loss_fn, has_aux=True)(
            state.params, state.batch_stats, images, index, key, state.step, factors
        )
        gradient, terms = axis.mean((gradient, jax.tree.map(jnp.mean, forward.terms)))
        with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
            learning_rate = jnp.asarray(schedule(state.step), float) * state.lr_scale
            learning_rate = learning_rate * factors.learning_rate
            opt_state = optax.tree.set(state.opt_state, learning_rate=learning_rate)
            updates, opt_state = optimizer.update(gradient, opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema, ema_decay = state.ema, experiment.optimizer.ema_decay
        if ema_decay is not None:
            ema = optax.incremental_update(params, ema, 1 - ema_decay)
        state = replace(
            state,
            step=state.step + 1,
            params=params,
            batch_stats=forward.batch_stats,
            opt_state=opt_state,
            ema=ema,
        )
        return state, terms | {"grad_norm": optax.tree.norm(gradient)}

    return train_step


def metric_names(
    train_step: TrainStep, state: TrainState, stored_shape: tuple[int, ...], key: jax.Array
) -> tuple[str, ...]:
    """What a step measures; `state` may be abstract, nothing is computed.

    Raises:
        UsageError: the objective lacks a term that is always logged.
    """
    image = jax.ShapeDtypeStruct((1, *stored_shape), jnp.uint8)
    index = jax.ShapeDtypeStruct((1,), jnp.int32)
    _, metrics = jax.eval_shape(train_step, state, image, index, key)
    if missing := {"loss", "recon", "kl"} - set(metrics):
        raise UsageError(f"objective.terms: lacks {', '.join(sorted(missing))}")
    return tuple(metrics)


class Resident(NamedTuple):
    """What an epoch takes its batches from when all images are on the device."""

    images: jax.Array  # uint8 (n, height, width, channels)
    order: jax.Array  # (n,): the epoch's order of the images

    def batch(self, step: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
        """Images and indices of the batch of the epoch's step `step`, or this device's part."""
        index = axis.divide(batch_index(self.order, step, batch_size))
        rows = self.images.reshape(len(self.images), -1)  # gathered four times as fast on a CPU
        return rows[index].reshape(-1, *self.images.shape[1:]), index


class Streamed(NamedTuple):
    """The batches of some steps, brought to the device one chunk after the other."""

    images: jax.Array  # uint8 (steps, batch, height, width, channels)
    indices: jax.Array  # (steps, batch): of the images in their data set
    first: jax.Array  # (): which step of the epoch images[0] is for

    def batch(self, step: jax.Array, batch_size: int) -> tuple[jax.Array, jax.Array]:
        """As `Resident.batch`; a device holds its part only."""
        return self.images[step - self.first], self.indices[step - self.first]


def make_advance(
    train_step: TrainStep, batch_size: int, steps_per_epoch: int, chunk_steps: int
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`advance(state, sums, source, key, num_steps) -> state, sums`, to be compiled once.

    Takes `num_steps` steps within one epoch, each batch from the `source`, which is `Resident` or
    `Streamed`, and adds each step's metrics to `sums`. It stops early after a step whose metrics
    are not finite: `sums` and `state.step` tell which. With `chunk_steps` = 1 it is the plain step,
    without a loop around it.
    """

    def one(
        state: TrainState, sums: Metrics, source: Resident | Streamed, key: jax.Array
    ) -> tuple[TrainState, Metrics]:
        images, index = source.batch(state.step % steps_per_epoch, batch_size)
        state, metrics = train_step(state, images, index, key)
        return state, jax.tree.map(jnp.add, sums, metrics)

    def advance(
        state: TrainState,
        sums: Metrics,
        source: Resident | Streamed,
        key: jax.Array,
        num_steps: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        if chunk_steps == 1:
            return one(state, sums, source, key)
        last = state.step + num_steps

        def unfinished(carry: tuple[TrainState, Metrics]) -> jax.Array:
            state, sums = carry
            return (state.step < last) & jnp.isfinite(jnp.stack(list(sums.values()))).all()

        return jax.lax.while_loop(unfinished, lambda carry: one(*carry, source, key), (state, sums))

    return advance
