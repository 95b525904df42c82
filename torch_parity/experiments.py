"""Where the experiments are."""

from jaxvae.config import Experiment
from jaxvae.runs import load_experiment
from jaxvae.runs.names import FOLDER as EXPERIMENTS


def experiment_of(name: str) -> Experiment:
    """One of the package's experiments, such as mnist_vae or published/antixk_vae."""
    return load_experiment(EXPERIMENTS / f"{name}.py")
