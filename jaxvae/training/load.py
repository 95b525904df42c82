"""From a run folder back to a trained model."""

from pathlib import Path

import jax

from jaxvae import runs
from jaxvae.config import Experiment
from jaxvae.evaluation import Trained
from jaxvae.runs import code, guards, portable
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.runs.folder import PARAMETERS
from jaxvae.training.state import initial_state


def load(
    folder: str | Path,
    checkpoint: str = "best",
    like: Experiment | None = None,
    trust_code: bool = False,
) -> tuple[Trained, int]:
    """The model of a run with the parameters of a checkpoint, and the checkpoint's step.

    Args:
        folder: the run folder, or that of an exported run, whose parameters are those of
            `runs.portable`.
        checkpoint: `best` (by validation) or `latest`; an exported run has one alone.
        like: an experiment of the run's classes, needed only when it has classes of its own; from
            whatever file, module or notebook they are.
        trust_code: instead of `like`, execute the run's own copy of the file that defines them.

    Raises:
        ValueError: not a run folder, a population, its configuration cannot be read, or its copy of
            the code was edited.
        FileNotFoundError: it has no complete checkpoint.
        RunError: all of its checkpoints are damaged.
    """
    folder = Path(folder)
    guards.refuse_population(folder)
    like = code.experiment_for(folder, like, trust_code)
    experiment, stored_shape, info = runs.read_config(folder, like)
    module = experiment.model.build(info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, info))
    if (folder / PARAMETERS).exists():
        variables, metadata = portable.read(folder / PARAMETERS, abstract.variables)
        step = int(metadata.get("step", 0))
        return Trained(experiment, module, variables, stored_shape, info), step
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        state, _ = checkpoints.restore(checkpoint, abstract)
    return Trained(experiment, module, state.variables, stored_shape, info), int(state.step)
