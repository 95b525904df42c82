"""Two small models of ours, and in what a PyTorch model that was altered differs from them."""

import copy
from functools import cache

import numpy as np
import torch

from jaxvae import Experiment, Model
from jaxvae.build import build
from jaxvae.conventions import conventions
from jaxvae.info import Info
from jaxvae.interop.maps import reference_map
from torch_parity.comparison import FLOOR
from torch_parity.difference import difference
from torch_parity.losses import LOSSES
from torch_parity.reference import twin
from torch_parity.report import perturbed
from torch_parity.values import Counterpart, exactly, flax_values, flax_variables, torch_values

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 10, 8, 3), np.uint8)
CONVENTION = "lightning_bolts"  # means over pixels and latents: no reduction can hide

MODELS = {
    "dense": Model(
        hidden_dims=(12, 8),
        latent_dim=3,
        batch_norm=True,
        dropout=0.3,
        activation="leaky_relu",
        output="sigmoid",
    ),
    "conv": Model(
        network="conv", hidden_dims=(4, 6), latent_dim=3, activation="leaky_relu", output="sigmoid"
    ),
}


def experiment_of(name):
    return Experiment("trap", model=MODELS[name], objective=conventions[CONVENTION])


@cache
def original(name):
    """The PyTorch model, its weight map, and what ours gives with its weights."""
    experiment = experiment_of(name)
    torch.manual_seed(0)
    model = perturbed(twin(experiment.model, (3, 10, 8))).double()
    weight_map = reference_map(experiment.model, (10, 8, 3))
    with exactly("float64"):
        ours = build(experiment.model, Info((10, 8, 3)))
        variables = flax_variables(ours, model, weight_map, experiment, (10, 8, 3))
        return (
            model,
            weight_map,
            flax_values(ours, variables, weight_map, IMAGES, experiment),
        )


def failed(name, mutate=lambda model: None, loss=LOSSES[CONVENTION], forward=lambda m, x: m(x)):
    """The quantities in which a mutant of the PyTorch model differs from ours."""
    model, weight_map, ours = original(name)
    model = copy.deepcopy(model)
    mutate(model)
    counterpart = Counterpart(model, weight_map, loss, forward)
    with exactly("float64"):
        theirs = torch_values(counterpart, IMAGES, experiment_of(name))
    differences = [
        difference(quantity, ours.quantities[quantity], arrays, 1e-10, FLOOR)
        for quantity, arrays in theirs.quantities.items()
    ]
    return {d.quantity for d in differences if not d.equal}
