"""All that changes while training, as one frozen pytree."""

import math
import os
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxvae import noise
from jaxvae.checks import UsageError
from jaxvae.config import Experiment, Optimizer
from jaxvae.data.preprocess import Shape, image_shape

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """The state of a run between two steps. It holds no keys: noise follows from (seed, step)."""

    step: jax.Array  # shape=(), dtype=int32: steps taken
    params: PyTree
    batch_stats: PyTree  # BatchNorm's running statistics; {} without BatchNorm
    opt_state: PyTree  # opt_state.hyperparams["learning_rate"] is the rate of the last step
    ema: PyTree  # moving average of the parameters; None when it is not kept
    lr_scale: jax.Array  # shape=(), dtype=float32: factor set by the plateau schedule

    @property
    def variables(self) -> dict[str, PyTree]:
        """What `model.apply` takes for evaluation: the averaged parameters where they are kept."""
        params = self.params if self.ema is None else self.ema
        return {"params": params, "batch_stats": self.batch_stats}


def build_model(experiment: Experiment, stored_shape: Shape) -> Any:
    """The experiment's module, for stored images of shape (height, width, channels).

    Raises:
        ValueError: the images are too small for the model's strides.
    """
    learned_variance = experiment.objective.likelihood == "gaussian_learned"
    return experiment.model.build(image_shape(experiment.data, stored_shape), learned_variance)


def initial_state(
    experiment: Experiment,
    model: Any,
    optimizer: optax.GradientTransformation,
    stored_shape: Shape,
    key: jax.Array | None = None,
) -> TrainState:
    """The state before the first step, from a root key: by default that of `experiment.seed`."""
    key = noise.stream(noise.root(experiment.seed) if key is None else key, "init")
    x = jnp.zeros((1, *image_shape(experiment.data, stored_shape)))
    eps = jnp.zeros((1, experiment.model.latent_dim))
    return state_of(experiment, optimizer, model.init(key, x, eps))


def state_of(
    experiment: Experiment, optimizer: optax.GradientTransformation, variables: PyTree
) -> TrainState:
    """The state before the first step, with these initial variables of the model."""
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
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


@dataclass(frozen=True)
class Monitor:
    """What the epochs so far say about the validation loss; plain numbers, kept on the host.

    Two counters, because the two rules differ: a new `best` of any size is kept and delays early
    stopping, while the plateau schedule asks for a relative improvement of 1e-4 and starts over
    after it has acted, as PyTorch's ReduceLROnPlateau does.
    """

    best_loss: float = field(default=float("inf"))
    best_epoch: int = 0
    plateau_loss: float = field(default=float("inf"))
    plateau_epochs: int = 0  # without improvement by 1e-4
    lr_scale: float = 1.0

    def update(self, epoch: int, loss: float, settings: Optimizer) -> "Monitor":
        """After the validation of `epoch`; only the plateau schedule changes `lr_scale`."""
        best_loss, best_epoch = min((self.best_loss, self.best_epoch), (loss, epoch))
        # PyTorch asks for loss < best (1 - 1e-4), which for a negative best is no improvement.
        improved = self.plateau_loss == float("inf") or loss < self.plateau_loss - 1e-4 * abs(
            self.plateau_loss
        )
        plateau_loss = loss if improved else self.plateau_loss
        plateau_epochs = 0 if improved else self.plateau_epochs + 1
        lr_scale = self.lr_scale
        if settings.schedule == "plateau" and plateau_epochs > settings.patience:
            lr_scale, plateau_epochs = lr_scale * settings.decay, 0
        return Monitor(best_loss, best_epoch, plateau_loss, plateau_epochs, lr_scale)
