"""Autoencoders in JAX and Flax: AE, CAE and VAE, trained, checkpointed, evaluated and drawn.

An experiment is a value of `Experiment`; `train` makes a `Run` of it, `load` opens one again. The
rooms of the package are imported by name: `jaxvae.models`, `jaxvae.objectives`, `jaxvae.data`,
`jaxvae.training`, `jaxvae.evaluation`, `jaxvae.figures`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxvae.config import (
    Data,
    Experiment,
    Model,
    Objective,
    Optimizer,
    Parallel,
    Population,
    Train,
)

if TYPE_CHECKING:
    from jaxvae.estimator import Autoencoder
    from jaxvae.run import Run, compare, from_pretrained, load, train
    from jaxvae.training.listener import StopTraining

__version__ = "0.2.0.dev0"

__all__ = [
    "Autoencoder",
    "Data",
    "Experiment",
    "Model",
    "Objective",
    "Optimizer",
    "Parallel",
    "Population",
    "Run",
    "StopTraining",
    "Train",
    "compare",
    "from_pretrained",
    "load",
    "train",
]

LATER = {
    "Autoencoder": "jaxvae.estimator",
    "Run": "jaxvae.run",
    "StopTraining": "jaxvae.training.listener",
    "compare": "jaxvae.run",
    "from_pretrained": "jaxvae.run",
    "load": "jaxvae.run",
    "train": "jaxvae.run",
}
"""What is imported when it is used, and from where: JAX takes a second."""


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(LATER[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
