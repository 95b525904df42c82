"""One pure training step, and the compiled loop that repeats it over data on the device."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import axis
from jaxvae.batch import Batch, Examples
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment, with_fields
from jaxvae.data.batches import batch_index
from jaxvae.data.preprocess import preprocess
from jaxvae.info import Info
from jaxvae.models import Bound
from jaxvae.noise import Noise
from jaxvae.training.accumulation import Forward, Metrics, derived, mean_of_parts, parts_of
from jaxvae.training.optimizer import (
    joined,
    make_optimizers,
    make_schedule,
    settings_of,
    trained_by,
)
from jaxvae.training.state import AXES, PyTree, TrainState

TrainStep = Callable[..., tuple[TrainState, Metrics]]
Numbers = Mapping[str, jax.Array]
"""Fields of objective and optimizers by dotted name, as numbers that the program is given."""


def beta_eff_at(experiment: Experiment, num_pixels: int, step: int) -> float:
    """The effective weight of the KL at a step of the training, for the records."""
    objective = experiment.objective.at(jnp.asarray(step))
    return float(with_fields(experiment, {"objective": objective}).beta_eff(num_pixels))


def make_loss(module: Any) -> Callable[..., tuple[jax.Array, Forward]]:
    """`loss(params, collections, batch, objective)`: what is minimised, and `Forward`.

    A scalar in the units of the experiment's source: `objective.scale` times the mean over the
    batch of what the objective says is minimised. The mean of those of a batch's parts
    (`axis.one_of`) is that of the whole; what has no such parts is refused.
    """

    def loss_fn(
        params: PyTree, collections: dict[str, PyTree], batch: Batch, objective: Any
    ) -> tuple[jax.Array, Forward]:
        for name in collections:
            axis.needs_whole(f"the model's {name}")
        model = Bound(module, {"params": params["model"], **collections}, train=True)
        output = objective.outcome(model, batch, params["objective"])
        with axis.terms():
            terms = objective.terms(output, batch, params["objective"])
        check_terms(objective, terms, batch.target.shape[0])
        minimised = objective.minimised(terms)
        if jnp.shape(minimised) == ():
            axis.needs_whole(f"what {type(objective).__name__} minimises is one number")
        count, num_pixels = batch.target.shape[0] * axis.size(), batch.target[0].size
        loss = objective.scale(num_pixels, batch_size=count) * jnp.mean(minimised)
        return loss, Forward(output, terms, collections | model.updated)

    return loss_fn


def check_terms(objective: Any, terms: Any, batch: int) -> None:
    """Raise a UsageError that names a term of another shape than (batch,) or ()."""
    name = f"{type(objective).__name__}.terms"
    if not isinstance(terms, Mapping):
        raise UsageError(f"{name}: {type(terms).__name__} returned: must be terms by name")
    for term, value in terms.items():
        allowed = f"({batch},), a number of each example of the batch, or (), one of the whole"
        require(
            jnp.shape(value) in ((batch,), ()),
            f"{name}: shape of {term!r}",
            jnp.shape(value),
            allowed,
        )


def make_train_step(
    experiment: Experiment, module: Any, info: Info, steps_per_epoch: int
) -> TrainStep:
    """`train_step(state, examples, key, numbers={}) -> state, metrics`, pure.

    `examples` are as stored; `key` is the run's root key; `numbers` replace fields of the
    objective and of optimizers, such as "objective.beta", which a population varies.
    The metrics are means over the batch: every term of the objective in nats per image, and
    `grad_norm`, the global norm of the gradient of what is minimised, before clipping. They are
    measured at the state that comes in. Batches are taken in parts of `train.sub_batch`, and whole
    where that is None, of which `jaxvae.training.parts` makes a number.

    Raises:
        WholeBatchError: when it is traced: parts of a batch are asked for, and there can be none.
    """
    loss_fn = make_loss(module)

    def train_step(
        state: TrainState, examples: Examples, key: jax.Array, numbers: Numbers | None = None
    ) -> tuple[TrainState, Metrics]:
        settings = with_fields(experiment, numbers or {})
        objective = settings.objective.at(state.step)

        def loss_of(params: PyTree, examples: Examples) -> tuple[jax.Array, Forward]:
            noise = Noise(key, state.step, examples.index)
            batch = preprocess(settings.data, examples, noise, info)
            return loss_fn(params, state.collections, batch, objective)

        parts, collections = parts_of(examples, experiment.train.sub_batch), state.collections
        if parts == 1:
            gradient, terms, collections = derived(loss_of, state.params, examples)
        else:
            gradient, terms = mean_of_parts(loss_of, state.params, examples, parts)
        gradient, terms = axis.mean((gradient, terms))
        params, opt_state = updated(settings, state, gradient, steps_per_epoch)
        ema, ema_decay = state.ema, settings.optimizer.ema_decay
        if ema_decay is not None:
            ema = optax.incremental_update(params, ema, 1 - ema_decay)
        state = replace(
            state,
            step=state.step + 1,
            params=params,
            collections=collections,
            opt_state=opt_state,
            ema=ema,
        )
        return state, terms | {"grad_norm": optax.tree.norm(gradient)}

    return train_step


def updated(
    experiment: Experiment, state: TrainState, gradient: PyTree, steps_per_epoch: int
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Parameters and optimizer states after a step of every optimizer, each on its parameters."""
    parts, opt_state = {}, {}
    settings, epochs = settings_of(experiment), experiment.train.epochs
    for name, optimizer in make_optimizers(experiment).items():
        params, own = (trained_by(name, experiment, tree) for tree in (state.params, gradient))
        schedule = make_schedule(settings[name], steps_per_epoch, epochs)
        with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
            rate = jnp.asarray(schedule(state.step), float)
            if name == "model":  # whose loss the plateau schedule watches
                rate = rate * state.lr_scale
            before = optax.tree.set(state.opt_state[name], learning_rate=rate)
            updates, opt_state[name] = optimizer.update(own, before, params)
        parts[name] = optax.apply_updates(params, updates)
    return joined(parts), opt_state


def metric_names(
    train_step: TrainStep, state: TrainState, examples: Examples, key: jax.Array
) -> tuple[str, ...]:
    """What a step measures; all may be abstract, nothing is computed.

    Raises:
        UsageError: the objective lacks a term that is always logged, or the model cannot be trained
            on so few examples.
    """
    _, metrics = jax.eval_shape(train_step, state, examples, key)
    if missing := {"loss", "recon", "kl"} - set(metrics):
        raise UsageError(f"objective.terms: lacks {', '.join(sorted(missing))}")
    return tuple(metrics)


def gathered(x: jax.Array, labels: jax.Array, index: jax.Array) -> Examples:
    """The examples at these positions."""
    rows = x.reshape(len(x), -1)  # gathered four times as fast on a CPU
    return Examples(rows[index].reshape(-1, *x.shape[1:]), labels[index], index)


class Resident(NamedTuple):
    """What an epoch takes its batches from when all examples are on the device."""

    x: jax.Array  # as stored, (n, ...)
    labels: jax.Array  # (n,)
    order: jax.Array  # the epoch's order of the examples

    def batch(self, step: jax.Array, batch_size: int) -> Examples:
        """The batch of the epoch's step `step`, or this device's part of it."""
        return gathered(self.x, self.labels, axis.divide(batch_index(self.order, step, batch_size)))


class Streamed(NamedTuple):
    """The batches of some steps, brought to the device one chunk after the other."""

    examples: Examples  # (steps, batch, ...)
    first: jax.Array  # (): which step of the epoch they begin with

    def batch(self, step: jax.Array, batch_size: int) -> Examples:
        """As `Resident.batch`; a device holds its part only."""
        return jax.tree.map(lambda part: part[step - self.first], self.examples)


def make_advance(
    train_step: TrainStep,
    batch_size: int,
    steps_per_epoch: int,
    chunk_steps: int,
    members: bool = False,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """`advance(state, sums, source, key, numbers, num_steps) -> state, sums`, to be compiled once.

    Takes `num_steps` steps within one epoch, each batch from the `source`, which is `Resident` or
    `Streamed`, and adds each step's metrics to `sums`. It stops early after a step whose metrics
    are not finite: `sums` and `state.step` tell which. With `chunk_steps` = 1 it is the plain step,
    without a loop around it.

    With `members`, all but `num_steps`, the stored examples and the step has a first axis of
    members, and it goes on while one is finite. There is one loop around the step of all members,
    since a loop under `vmap` would select between the old and the new state of each in every step.
    On a CPU members take turns in place of that (`members.in_turn`).
    """

    def batch_of(source: Resident | Streamed, step: jax.Array) -> Examples:
        return source.batch(step, batch_size)

    step_of = train_step
    if members:
        step_of = jax.vmap(train_step, (AXES, 0, 0, 0), (AXES, 0))
        batch_of = jax.vmap(batch_of, (Resident(None, None, 0), None))  # type: ignore[arg-type]

    def one(
        state: TrainState,
        sums: Metrics,
        source: Resident | Streamed,
        key: jax.Array,
        numbers: Numbers,
    ) -> tuple[TrainState, Metrics]:
        examples = batch_of(source, state.step % steps_per_epoch)
        state, metrics = step_of(state, examples, key, numbers)
        return state, jax.tree.map(jnp.add, sums, metrics)

    def advance(
        state: TrainState,
        sums: Metrics,
        source: Resident | Streamed,
        key: jax.Array,
        numbers: Numbers,
        num_steps: jax.Array,
    ) -> tuple[TrainState, Metrics]:
        if chunk_steps == 1:
            return one(state, sums, source, key, numbers)
        last = state.step + num_steps

        def unfinished(carry: tuple[TrainState, Metrics]) -> jax.Array:
            state, sums = carry
            finite = jnp.isfinite(jnp.stack(list(sums.values()))).all(axis=0)
            return (state.step < last) & finite.any()

        return jax.lax.while_loop(
            unfinished, lambda carry: one(*carry, source, key, numbers), (state, sums)
        )

    return advance
