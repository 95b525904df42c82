"""All that changes while training, as one frozen pytree."""

import math
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxvae import noise
from jaxvae.batch import dummy
from jaxvae.checks import UsageError
from jaxvae.config import Experiment
from jaxvae.info import Info
from jaxvae.training.optimizer import make_optimizers, trained_by

PyTree = Any


class Variables(NamedTuple):
    """What evaluation needs of a state.

    model: what `module.apply` takes: `params`, and the collections that the module keeps.
    objective: the objective's own parameters.
    """

    model: dict[str, PyTree]
    objective: dict[str, PyTree]

    def __repr__(self) -> str:
        return f"<Variables: {sum(x.size for x in jax.tree.leaves(tuple(self))):,} numbers>"


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class TrainState:
    """The state of a run between two steps. It holds no keys: noise follows from (seed, step)."""

    step: jax.Array  # shape=(), dtype=int32: steps taken
    params: dict[str, PyTree]  # "model": the module's; "objective": the objective's own
    collections: dict[str, PyTree]  # what the module keeps besides: BatchNorm's running statistics
    opt_state: dict[str, PyTree]  # of each optimizer: "model", and those of the objective
    ema: PyTree  # moving average of `params`; None when it is not kept
    lr_scale: jax.Array  # shape=(), dtype=float32: factor set by the plateau schedule

    def __repr__(self) -> str:
        count = sum(x.size for x in jax.tree.leaves(self.params) if hasattr(x, "size"))
        return f"<TrainState at step {self.step}: {count:,} parameters>"

    @property
    def variables(self) -> Variables:
        """Those for evaluation: with the averaged parameters where they are kept."""
        params = self.params if self.ema is None else self.ema
        return Variables({"params": params["model"], **self.collections}, params["objective"])

    @property
    def learning_rate(self) -> jax.Array:
        """That of the model's last step."""
        return optax.tree.get(self.opt_state["model"], "learning_rate")


AXES: Any = TrainState(None, 0, 0, 0, 0, 0)  # type: ignore[arg-type]
"""Of the states of several members: all are at the same step, the rest has an axis of members."""


def initial_state(
    experiment: Experiment, module: Any, info: Info, key: jax.Array | None = None
) -> TrainState:
    """The state before the first step, from a root key: by default that of `experiment.seed`.

    Without what `Model.initialise` takes from data.
    """
    root = noise.root(experiment.seed) if key is None else key
    output, variables = module.init_with_output(noise.stream(root, "init"), dummy(info))
    objective = experiment.objective.init(noise.stream(root, "objective"), output)
    return state_of(experiment, variables, objective)


def state_of(
    experiment: Experiment, variables: dict[str, PyTree], objective: dict[str, PyTree]
) -> TrainState:
    """The state before the first step, with these variables of the model and of the objective."""
    collections = {name: v for name, v in variables.items() if name != "params"}
    params = {"model": variables["params"], "objective": objective}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        collections=collections,
        opt_state={
            name: optimizer.init(trained_by(name, experiment, params))
            for name, optimizer in make_optimizers(experiment).items()
        },
        ema=None if experiment.optimizer.ema_decay is None else jax.tree.map(jnp.copy, params),
        lr_scale=jnp.ones(()),
    )


def refuse_too_large(state: PyTree) -> None:
    """Raise a UsageError where a state, which may be abstract, cannot fit on a device.

    On a CPU XLA would wait for memory that it never gets.
    """
    needed = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    refuse_more_than_memory("the model with its optimizer", needed)


def refuse_more_than_memory(what: str, needed: int) -> None:
    """Raise a UsageError where so many bytes are more than a device has."""
    device = jax.local_devices()[0]
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    there = (device.memory_stats() or {}).get("bytes_limit", physical)
    if needed >= there:
        raise UsageError(
            f"{what} needs {needed / 1e9:,.0f} GB of memory: must be less than the"
            f" {there / 1e9:.3g} GB of the {device.device_kind}"
        )
