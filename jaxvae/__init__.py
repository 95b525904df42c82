"""Autoencoders in JAX and Flax: AE, CAE and VAE, trained, checkpointed, evaluated and drawn.

An experiment is a value of `Experiment`. The rooms of the package are imported by name:
`jaxvae.models`, `jaxvae.objectives`, `jaxvae.data`, `jaxvae.training`, `jaxvae.evaluation`,
`jaxvae.figures`.
"""

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

__version__ = "0.2.0.dev0"

__all__ = [
    "Data",
    "Experiment",
    "Model",
    "Objective",
    "Optimizer",
    "Parallel",
    "Population",
    "Train",
]
