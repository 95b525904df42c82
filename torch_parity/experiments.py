"""Where the experiments are."""

from jaxvae.config import Experiment
from jaxvae.runs import load_experiment
from jaxvae.runs.names import FOLDER as EXPERIMENTS
from jaxvae.runs.names import experiments

__all__ = ["EXPERIMENTS", "experiment_of"]


def experiment_of(name: str) -> Experiment:
    """One of the package's experiments, such as mnist_vae, iwae or published/antixk_vae."""
    known = experiments().items()
    return load_experiment(
        next(path for own, path in known if name in (own, own.rpartition("/")[2]))
    )
