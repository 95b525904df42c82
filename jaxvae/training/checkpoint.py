"""Checkpoints by Orbax: asynchronous, atomic; the best by validation and the latest are kept."""

import logging
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax narrates every save


class Stepped(Protocol):
    """A pytree that knows how many steps it has taken: a TrainState, or a population's."""

    @property
    def step(self) -> jax.Array: ...


State = TypeVar("State", bound=Stepped)


class Checkpoints:
    """The `checkpoints` folder of a run, one entry per step. Use as a context manager.

    Each entry holds a state and a JSON-able `progress`; an entry saved without a validation loss
    (in mid-epoch) never counts as the best.
    """

    def __init__(self, folder: Path, read_only: bool = False):
        def rank(metrics: dict[str, float]) -> tuple[float, float]:
            return metrics["val_loss"], metrics["step"]  # of equals, the earliest

        best = BestN(
            get_metric_fn=rank,
            reverse=True,  # lowest first
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=AnyPreservationPolicy([LatestN(1), best]),
            best_fn=rank,
            best_mode="min",
            read_only=read_only,
            create=not read_only,
        )
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        self._manager.close()  # waits for a save in progress

    def save(self, state: Stepped, progress: dict[str, Any], val_loss: float | None = None) -> None:
        """Start saving; the caller may donate `state` at once, since a copy is saved."""
        step = int(state.step)
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(jax.tree.map(jnp.copy, state)),
                progress=ocp.args.JsonSave(progress),
            ),
            metrics=None if val_loss is None else {"val_loss": val_loss, "step": step},
        )

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, ascending."""
        return sorted(self._manager.all_steps())

    def find(self, which: str) -> int:
        """The step of the `latest` or the `best` checkpoint (the latest, before any validation).

        Raises:
            FileNotFoundError: there is no complete checkpoint.
        """
        self._manager.wait_until_finished()
        step = self._manager.best_step() if which == "best" else None
        step = self._manager.latest_step() if step is None else step
        if step is None:
            raise FileNotFoundError(
                f"no complete checkpoint in {self._manager.directory}; delete the run folder and"
                " start again"
            )
        return step

    def restore(self, step: int, abstract: State) -> tuple[State, dict[str, Any]]:
        """The state and the progress saved at `step`; `abstract` gives the state's shapes.

        The state comes to the first device, whatever it was saved from.
        """
        here = SingleDeviceSharding(jax.devices()[0])
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), abstract
        )
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore()
            ),
        )
        return restored["state"], restored["progress"]
