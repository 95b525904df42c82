"""A run that begins with what another has learned: parameters, statistics, codebooks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae import runs
from jaxvae.checks import UsageError
from jaxvae.config import Experiment
from jaxvae.runs import code
from jaxvae.training.load import load
from jaxvae.training.program import Program
from jaxvae.training.state import AXES, TrainState, Variables, state_of

SCALES = ("columns", "maximum", "center", "scale")
"""Fields of `Info` that say what a stored number means to the model: each run follows its own."""
SHOWN = 3  # arrays of either side in an error; the lines and summary.json name all


class Beginning(NamedTuple):
    """The run that another begins with, and whether its copy of its code may be executed."""

    folder: Path
    trust_code: bool = False


def begin(
    program: Program,
    experiment: Experiment,
    state: TrainState,
    folder: str | Path,
    trust_code: bool = False,
) -> tuple[TrainState, dict[str, Any]]:
    """The state before the first step, with the arrays of a run's best checkpoint; and the origin.

    Taken are parameters of the model and of the objective, and collections such as BatchNorm's
    statistics and codebooks, where path and shape agree; averaged parameters where that run kept
    them. Everything else begins as it does anyway, and an average with the parameters. All members
    of a population begin alike. The origin says what was taken, for config.json and summary.json:
    `run`, `checkpoint_step`, the number `taken`, and on either side what was not: `initialised`
    here, `not_taken` there, each as "path shape"; and `seen_otherwise`, what of `SCALES` differs.

    Raises:
        UsageError: not a run folder, a population's, one with classes that are not at hand (with
            `trust_code` those of its own copy are), or no array agrees.
        FileNotFoundError, RunError: it has no checkpoint, or none that is whole.
    """
    like = code.experiment_for(Path(folder), None, trust_code)
    trained, step = load(folder, like=like or runs.template_for(Path(folder), experiment))
    theirs, own = _arrays(trained.variables), _arrays(state.variables)
    members = program.members is not None
    shapes = {path: x.shape[1:] if members else x.shape for path, x in own.items()}
    taken = {path for path in own if path in theirs and theirs[path].shape == shapes[path]}
    initialised = [f"{path} {shape}" for path, shape in shapes.items() if path not in taken]
    not_taken = [f"{path} {x.shape}" for path, x in theirs.items() if path not in taken]
    if not taken:
        raise UsageError(
            f"init_from = {str(folder)!r}: must be a run that shares arrays with the experiment,"
            f" of the same path and shape; it has {_few(not_taken)}, and this experiment"
            f" {_few(initialised)}"
        )

    def replaced(path: Any, x: jax.Array) -> jax.Array:
        name = _name(path)
        if name not in taken:
            return x
        value = np.asarray(theirs[name]).astype(x.dtype)
        return program.runner.put(np.broadcast_to(value, x.shape))

    def fresh(variables: Variables) -> TrainState:
        return state_of(experiment, variables.model, variables.objective)

    variables = jax.tree_util.tree_map_with_path(replaced, state.variables)
    start = jax.vmap(fresh, out_axes=AXES) if members else fresh
    state = jax.jit(start, out_shardings=program.runner.sharding())(variables)
    return state, {
        "run": str(folder),
        "checkpoint_step": step,
        "taken": len(taken),
        "initialised": initialised,
        "not_taken": not_taken,
        "seen_otherwise": [
            name for name in SCALES if getattr(program.info, name) != getattr(trained.info, name)
        ],
    }


def lines(origin: dict[str, Any]) -> Iterator[str]:
    """What an origin says, when a run begins."""
    run = origin["run"]
    yield (
        f"begins with {run}, the checkpoint of step {origin['checkpoint_step']}:"
        f" {origin['taken']} arrays taken"
    )
    for name, what in (
        ("initialised", f"not in {run} with this shape, so initialised"),
        ("not_taken", f"in {run}, but not taken"),
    ):
        if origin[name]:
            yield f"  {what}: {', '.join(origin[name])}"
    if origin["seen_otherwise"]:
        yield (
            f"  the model sees the data by {', '.join(origin['seen_otherwise'])} of their own"
            f" (config.json, info), which differ from those of {run}"
        )


def _name(path: Any) -> str:
    """Such as model/params/encoder/Dense_0/kernel."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _arrays(variables: Any) -> dict[str, jax.Array]:
    """By path."""
    return {_name(path): x for path, x in jax.tree_util.tree_leaves_with_path(variables)}


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
