"""Optax optimizers and learning-rate schedules from their settings."""

import inspect
from dataclasses import fields
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae.checks import require
from jaxvae.config import Experiment, Optimizer


def settings_of(experiment: Experiment) -> dict[str, Optimizer]:
    """Those of each optimizer: "model", and the fields of the objective that are one."""
    objective = experiment.objective
    own = {f.name: getattr(objective, f.name) for f in fields(objective)}
    own = {name: value for name, value in own.items() if isinstance(value, Optimizer)}
    for name, settings in own.items():
        allowed = "'constant', 'cosine' or 'exponential': the monitored loss is the model's"
        plain = settings.schedule != "plateau"
        require(plain, f"objective.{name}.schedule", settings.schedule, allowed)
        average = settings.ema_decay
        require(average is None, f"objective.{name}.ema_decay", average, "None")
    return {"model": experiment.optimizer} | own


def trained_by(name: str, experiment: Experiment, params: dict[str, Any]) -> dict[str, Any]:
    """Of all parameters those that an optimizer trains."""
    own = [other for other in settings_of(experiment) if other != "model"]
    if name != "model":
        return params["objective"][name]
    rest = {key: value for key, value in params["objective"].items() if key not in own}
    return {"model": params["model"], "objective": rest}


def joined(parts: dict[str, Any]) -> dict[str, Any]:
    """All parameters, from what each optimizer has trained."""
    own = {name: part for name, part in parts.items() if name != "model"}
    model = parts["model"]
    return {"model": model["model"], "objective": model["objective"] | own}


def make_optimizers(experiment: Experiment) -> dict[str, optax.GradientTransformation]:
    """Each of `settings_of`, as Optax has it.

    Raises:
        UsageError: unknown optimizer or option, naming what is allowed.
    """
    found = settings_of(experiment).items()
    return {
        name: make_optimizer(settings, "optimizer" if name == "model" else f"objective.{name}")
        for name, settings in found
    }


def make_optimizer(settings: Optimizer, prefix: str = "optimizer") -> optax.GradientTransformation:
    """[clip by global norm], then the optimizer. The learning rate is an entry of its state.

    `opt_state.hyperparams["learning_rate"]` is set before each update, so that schedules and the
    plateau rule need no optimizer of their own.

    Raises:
        ValueError: unknown optimizer or option, naming what is allowed.
    """
    rule: Any = getattr(optax, settings.name, None)
    try:
        parameters = inspect.signature(rule).parameters if callable(rule) else {}
    except ValueError:
        parameters = {}
    require(
        "learning_rate" in parameters
        and not settings.name.startswith("scale_by")
        and settings.name != "lbfgs",  # needs the loss as a function
        f"{prefix}.name",
        settings.name,
        "an optimizer of optax with a learning rate, such as adam, adamw, sgd, lion or rmsprop",
    )
    allowed = [name for name in parameters if name != "learning_rate"]
    for name in settings.options:
        require(name in allowed, f"{prefix}.options", name, f"one of {', '.join(allowed)}")

    @optax.inject_hyperparams
    def optimizer(learning_rate: jax.Array) -> optax.GradientTransformation:
        update = rule(learning_rate, **settings.options)
        if settings.clip_norm is None:
            return update
        return optax.chain(optax.clip_by_global_norm(settings.clip_norm), update)

    return optimizer(learning_rate=jnp.asarray(settings.learning_rate, float))


def make_schedule(settings: Optimizer, steps_per_epoch: int, epochs: int) -> optax.Schedule:
    """Learning rate by step, before the plateau factor: [linear warm-up], then the schedule."""
    peak, warmup = settings.learning_rate, settings.warmup_steps
    match settings.schedule:
        case "cosine":
            after = max(1, steps_per_epoch * epochs - warmup)
            schedule = optax.cosine_decay_schedule(peak, after)
        case "exponential":
            schedule = optax.exponential_decay(
                peak, steps_per_epoch, settings.decay, staircase=True
            )
        case _:  # constant, and plateau, whose factor is in the state
            schedule = optax.constant_schedule(peak)
    if warmup == 0:
        return schedule
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), schedule], [warmup])
