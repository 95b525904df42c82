"""Where the experiments are."""

from pathlib import Path

from jaxvae.config import Experiment
from jaxvae.runs import load_experiment

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def experiment_of(name: str) -> Experiment:
    """The experiment of a file in experiments/, such as mnist_vae or published/antixk_vae."""
    return load_experiment(EXPERIMENTS / f"{name}.py")
