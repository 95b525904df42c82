"""The variants with few units, ours beside its PyTorch model, and in what ours differs."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import pytest

from jaxvae.runs import load_experiment
from torch_parity.experiments import experiment_of
from torch_parity.values import exactly
from torch_parity.variants.compare import differences, our_batch, pair_of, their_batch

# Narrower than the files say, and each width another: our model and objective, PyTorch's arguments.
# Where a file's value would hide a fault, another: schedules end within the training, KLs lie on
# both sides of a capacity or threshold, 1 - alpha is not alpha, and some codes are dead.
DENSE = {"hidden_dims": (12,), "latent_dim": 4}
SIZES = {"hidden": 12, "latents": 4}
CONVOLUTIONAL = {"hidden_dims": (4, 6), "latent_dim": 3, "codes": 8}
CHANNELS = {"channels": (4, 6), "code_dim": 3, "num_codes": 8}
CAPACITY = {"capacity": 0.9, "capacity_steps": 20}
CAPACITIES = {"capacity": 0.8, "discrete_capacity": 0.25, "capacity_steps": 20}
SMALL: dict[str, Any] = {
    "cyclical_vae": (DENSE, {"cycle_steps": 20}, SIZES | {"cycle_steps": 20}),
    "capacity_vae": (DENSE, CAPACITY, SIZES | CAPACITY),
    "capacity_per_example_vae": (DENSE, CAPACITY, SIZES | CAPACITY),
    "free_bits_vae": (DENSE, {"free_nats": 0.2}, SIZES | {"free_nats": 0.2}),
    "renyi_vae": (DENSE, {"alpha": 0.3}, SIZES | {"alpha": 0.3}),
    "info_vae": (DENSE, {"alpha": 0.3}, SIZES | {"alpha": 0.3}),
    "factor_vae": (DENSE, {"widths": (9, 8, 7)}, SIZES | {"critic_widths": (9, 8, 7)}),
    "aae": (DENSE, {"widths": (9, 8)}, SIZES | {"critic_widths": (9, 8)}),
    "two_layer_vae": (DENSE | {"upper_dim": 3}, {}, {"hidden": (12, 64), "latents": (4, 3)}),
    "vamp_prior_vae": (DENSE | {"components": 6}, {}, SIZES | {"num_pseudo_inputs": 6}),
    "flow_vae": (DENSE | {"layers": 3}, {}, SIZES | {"num_layers": 3}),
    "vq_vae": (CONVOLUTIONAL, {}, CHANNELS),
    "vq_vae_restart": (CONVOLUTIONAL | {"restart": 1.5}, {}, CHANNELS | {"threshold": 1.5}),
    "cifar_vq_vae": (CONVOLUTIONAL | {"residual_dim": 5}, {}, CHANNELS | {"width": 5}),
    "vq_vae_gradient": (CONVOLUTIONAL, {}, CHANNELS),
    "residual_vq_vae": (CONVOLUTIONAL | {"levels": 3}, {}, CHANNELS | {"levels": 3}),
    "fsq_vae": (
        {"hidden_dims": (4, 6), "levels": (5, 4, 2)},
        {},
        {"channels": (4, 6), "levels": (5, 4, 2)},
    ),
    "gumbel_vae": (
        DENSE | {"categories": 3},
        {"annealing_rate": 0.02},
        {"hidden": 12, "variables": 4, "categories": 3, "rate": 0.02},
    ),
    "joint_vae": (DENSE | {"categories": 3}, CAPACITIES, SIZES | {"categories": 3} | CAPACITIES),
}


@pytest.fixture(autouse=True)
def compile_quickly():
    """Of so few steps compiling takes the most; equality must not hang on optimizations."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


def small(name, path=None, **settings):
    """The variant, or another file in its place, with few units, beside its PyTorch model.

    `settings` are fields of our objective, and arguments of the same names of their model.
    """
    experiment = experiment_of(name) if path is None else load_experiment(path)
    model, objective, sizes = SMALL.get(name, (DENSE, {}, SIZES))
    experiment = replace(
        experiment,
        model=replace(experiment.model, **model),
        objective=replace(experiment.objective, **objective | settings),
    )
    return pair_of(name, experiment, sizes | settings)


@cache
def theirs(name, **settings):
    with exactly("float64"):
        return their_batch(small(name, **settings))


def failed(name, path=None, **settings):
    """The quantities of a batch in which ours, or a copy of it at `path`, differs."""
    with exactly("float64"):
        ours = our_batch(small(name, path, **settings))
        return set(differences(name, ours, theirs(name, **settings)).failed)
