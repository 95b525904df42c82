"""Checkpoints by Orbax: written beside the training, atomic, verified when they are read.

Kept are the latest two, so that a damaged one is no loss but of its own steps, and the best.
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import SingleDeviceSharding

from jaxvae import processes
from jaxvae.runs.folder import RunError
from jaxvae.runs.steps import checked, digest

log = logging.getLogger("jaxvae")


class Stepped(Protocol):
    """A pytree that knows how many steps it has taken: a TrainState, or a population's."""

    @property
    def step(self) -> jax.Array: ...


State = TypeVar("State", bound=Stepped)


class _Kept:
    """Which checkpoints Orbax keeps: the latest two, and the best."""

    best_step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> Sequence[bool]:
        return [c in checkpoints[-2:] or c.step == self.best_step for c in checkpoints]


class Checkpoints:
    """The `checkpoints` folder of a run, one entry per step. Use as a context manager.

    Each entry holds a state and a record: a JSON-able `progress`, which step was the best, what the
    state consists of, and digests of all of this. One that does not match them is damaged.
    """

    def __init__(self, folder: Path, read_only: bool = False):
        self._kept = _Kept()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=self._kept,
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,  # of a process that was killed
        )
        self._folder = folder
        self._last_step: int | None = None
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception: object) -> None:
        with self._writing():
            self._manager.close()  # waits for a save in progress

    def save(self, state: Stepped, progress: dict[str, Any], is_best: bool = False) -> None:
        """Start saving; the caller may donate `state` at once, since a copy is saved.

        The copy is brought to the host for its digest here; it is written meanwhile. What was saved
        or restored last is not saved again.

        Raises:
            RunError: this or the previous save could not be written.
        """
        step = int(state.step)
        if step == self._last_step:
            return
        self._last_step = step
        if is_best:
            self._kept.best_step = step
        copy = jax.tree.map(jnp.copy, _plain(state))  # nothing keeps a view of what is donated
        record = {
            "progress": progress,
            "best_step": self._kept.best_step,
            "dtypes": [str(x.dtype) for x in jax.tree.leaves(copy)],
            "state": _digest_of_state(copy),
        }
        record["digest"] = digest(record)
        with self._writing():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(copy),
                    record=ocp.args.JsonSave(record),
                ),
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # the file system's, TensorStore's, Orbax's own
            kept = ", ".join(map(str, self.steps())) or "none"
            raise RunError(
                f"{self._folder}: a checkpoint could not be written ({_brief(error)}); complete"
                f" are those of steps: {kept}"
            ) from error

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, damaged or not, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step of the best checkpoint by validation, as the latest readable record says."""
        for step in reversed(self.steps()):
            with contextlib.suppress(Exception):  # damage may surface as almost any error
                return self._record(step)["best_step"]
        return None

    def restore(self, which: str, abstract: State) -> tuple[State, dict[str, Any]]:
        """State and progress of the `latest` or the `best` checkpoint that is not damaged.

        A damaged one is passed over with a warning, for the latest that is whole. Without any
        validation yet, the best is the latest.

        Args:
            which: `latest` or `best`.
            abstract: has the state's shapes and types (float32 may have been saved as float64, and
                the other way round), and where it has them its shardings; by default the state
                comes to this process's first device, whatever it was saved from.

        Raises:
            FileNotFoundError: there is no complete checkpoint.
            RunError: all of them are damaged.
        """
        self._manager.wait_until_finished()
        steps = self.steps()[::-1]
        if not steps:
            raise FileNotFoundError(f"{self._folder}: no complete checkpoint")
        if which == "best" and (best := self.best_step()) in steps:
            steps = [best, *(step for step in steps if step != best)]
        for step in steps:
            found = self._read_whole(step, abstract)
            if found is None:
                continue
            state, record = found
            if step != steps[0]:
                log.warning("%s: using the checkpoint of step %d", self._folder, step)
            self._kept.best_step, self._last_step = record["best_step"], step
            return state, record["progress"]
        raise RunError(
            f"{self._folder}: every checkpoint is damaged (steps {steps[::-1]}); what can be saved"
            " is in metrics.csv; train again into another folder"
        )

    def set_aside_after(self, step: int) -> None:
        """Move checkpoints later than `step`, which were damaged, out of the way of new ones."""
        later = [s for s in self.steps() if s > step]
        processes.wait_for_all("listed")
        for damaged in later if processes.is_first() else ():
            target = self._folder.with_name("damaged-checkpoints") / str(damaged)
            target.parent.mkdir(exist_ok=True)
            while target.exists():
                target = target.with_name(f"{target.name}-again")
            (self._folder / str(damaged)).rename(target)
            log.warning("%s: moved to %s", self._folder / str(damaged), target)
        processes.wait_for_all("set aside")
        if later:
            self._manager.reload()

    def _record(self, step: int) -> dict[str, Any]:
        args = ocp.args.Composite(record=ocp.args.JsonRestore())
        return checked(self._manager.restore(step, args=args)["record"])

    def _read_whole(self, step: int, abstract: State) -> tuple[State, dict[str, Any]] | None:
        """State and record; None, with a warning, where they are damaged."""
        try:
            return self._read(step, abstract)
        except Exception as error:  # as above
            log.warning(
                "%s: the checkpoint of step %d is damaged (%s)", self._folder, step, _brief(error)
            )
            return None

    def _read(self, step: int, abstract: State) -> tuple[State, dict[str, Any]]:
        record = self._record(step)
        plain, structure = jax.tree.flatten(_plain(abstract))
        # As it was saved, in host memory: only so the digest can be compared.
        empty = [np.empty(x.shape, d) for x, d in zip(plain, record["dtypes"], strict=True)]
        args = ocp.args.StandardRestore(jax.tree.unflatten(structure, empty))
        saved = self._manager.restore(step, args=ocp.args.Composite(state=args))["state"]
        if record["state"] != _digest_of_state(saved):
            raise ValueError("its numbers do not match their digest")
        return jax.tree.map(_placed, abstract, saved), record


def _is_key(x: Any) -> bool:
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _plain(tree: Any) -> Any:
    """The tree, or its shapes, with typed PRNG keys as their numbers."""

    def plain(x: Any) -> Any:
        if not _is_key(x):
            return x
        abstract = isinstance(x, jax.ShapeDtypeStruct)
        return jax.eval_shape(jax.random.key_data, x) if abstract else jax.random.key_data(x)

    return jax.tree.map(plain, tree)


def _placed(like: Any, saved: np.ndarray) -> jax.Array:
    """The saved numbers as an array like the abstract one, on its devices."""
    sharding = getattr(like, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    if _is_key(like):
        return jax.device_put(jax.random.wrap_key_data(jnp.asarray(saved)), sharding)
    if saved.shape != like.shape:
        raise ValueError(f"holds an array {saved.shape} where {like.shape} is needed")
    array = saved.astype(like.dtype)
    return jax.make_array_from_callback(array.shape, sharding, lambda where: array[where])


def _digest_of_state(state: Any) -> str:
    """Of every name, type, shape and number in it."""
    found = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        array = np.ascontiguousarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(array.view(np.uint8).data)
    return found.hexdigest()


def _brief(error: Exception) -> str:
    """The end of an error's first line: TensorStore begins with long paths and says why last."""
    line = (str(error).strip().splitlines() or [""])[0].partition(" [")[0]
    return f"{type(error).__name__}: {': '.join(line.split(': ')[-2:])[-200:]}"
