"""The same training in both: equal initial weights, order of the data and noise, step by step."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from jaxvae import noise
from jaxvae.config import Experiment
from jaxvae.data import Dataset
from jaxvae.data.batches import batch_index
from jaxvae.evaluation import in_order
from jaxvae.interop.maps import Map
from jaxvae.interop.weights import COUNTER, to_torch, with_variables
from jaxvae.training import program as programs
from jaxvae.training.monitor import Monitor
from torch_parity.difference import Difference, difference
from torch_parity.noise import shared_noise
from torch_parity.recipes import Recipe
from torch_parity.values import exactly, flax_variables


class Trajectory(NamedTuple):
    """What a training went through."""

    training_losses: np.ndarray  # (steps,): what is minimised, in the units of the source
    learning_rates: np.ndarray  # (steps,)
    validation_losses: np.ndarray  # (epochs,): nats per image
    weights: dict[str, np.ndarray]  # the last state dict, without the counters of BatchNorm


class Trainings(NamedTuple):
    """The same training by both, and what it is compared with."""

    ours: Trajectory
    theirs: Trajectory
    truth: Trajectory
    """PyTorch's in float64, with the same weights and noise; in float64 `theirs` itself."""


def train_both(
    experiment: Experiment,
    dataset: Dataset,
    recipe: Recipe,
    weight_map: Map,
    dtype: str = "float64",
    seed: int = 0,
) -> Trainings:
    """Train by our compiled program and by PyTorch, for the experiment's epochs; return both.

    The initial weights are PyTorch's, after `torch.manual_seed(seed)`; the order of the data, the
    noise of the reparameterization and the dropout masks are ours.
    """
    with exactly(dtype):
        torch.manual_seed(seed)
        model = recipe.model().to(getattr(torch, dtype))
        exact = copy.deepcopy(model).double()
        ours = train_flax(experiment, dataset, model, weight_map)
        theirs = train_torch(experiment, dataset, recipe, model, weight_map)
        if dtype == "float64":
            return Trainings(ours, theirs, theirs)
        # Within `exactly` of float32 the noise of the truth is the same float32 noise.
        truth = train_torch(experiment, dataset, recipe, exact, weight_map)
        return Trainings(ours, theirs, truth)


def compare_training(trainings: Trainings, tolerance: float) -> tuple[Difference, ...]:
    """Training losses, learning rates and validation losses of ours against the truth.

    A learning rate is not a sum of anything: in float32 it is equal to 1e-6 where losses are not.
    """
    ours, theirs, truth = trainings
    tolerances = {
        "training_losses": tolerance,
        "learning_rates": min(tolerance, 1e-6),
        "validation_losses": tolerance,
    }

    def distance(trajectory: Trajectory, name: str) -> Difference:
        found, exact = ({"": getattr(t, name)} for t in (trajectory, truth))
        return difference(name.replace("_", " "), found, exact, tolerances[name])

    return tuple(
        replace(
            distance(ours, name),
            theirs=None if theirs is truth else distance(theirs, name).relative,
        )
        for name in tolerances
    )


def train_flax(
    experiment: Experiment, dataset: Dataset, model: nn.Module, weight_map: Map
) -> Trajectory:
    """By our compiled program, a step per call, from the weights of `model`."""
    program, state = programs.build(experiment, dataset)
    shape = dataset.train.images.shape[1:]
    variables = flax_variables(program.model, model, weight_map, experiment, shape)
    state = with_variables(state, variables)
    scale = experiment.objective.scale(program.num_pixels, experiment.data.batch_size)
    losses, rates, validation, monitor = [], [], [], Monitor()
    for epoch in range(experiment.train.epochs):
        step = epoch * program.steps_per_epoch
        for source, num_steps in program.chunks(step, step + program.steps_per_epoch):
            for _ in range(num_steps):
                state, sums = program.advance(state, program.sums(), source, 1)
                losses.append(scale * float(sums["loss"]))
                rates.append(float(state.learning_rate))
        validation.append(in_order(program.validate(state.variables))["loss"])
        monitor = monitor.update(epoch + 1, validation[-1], experiment.optimizer)
        state = replace(state, lr_scale=jnp.asarray(monitor.lr_scale, float))
    weights = to_torch(jax.tree.map(np.asarray, state.variables.model), weight_map)
    return Trajectory(np.array(losses), np.array(rates), np.array(validation), _floats(weights))


def train_torch(
    experiment: Experiment,
    dataset: Dataset,
    recipe: Recipe,
    model: nn.Module,
    weight_map: Map,
) -> Trajectory:
    """By PyTorch, which changes `model`; dropout layers that `weight_map` names share our masks."""
    dtype = next(model.parameters()).dtype
    batch_size, latent_dim = experiment.data.batch_size, experiment.model.latent_dim
    num_examples = len(dataset.train.images)
    key = noise.root(experiment.seed)
    order_of = jax.jit(lambda epoch: programs.epoch_order(key, epoch, num_examples))
    index_of = jax.jit(lambda order, i: batch_index(order, i, batch_size))
    eps_of = jax.jit(lambda *own: noise.Noise(*own).normal("eps", (latent_dim,)))
    keys_of = jax.jit(lambda step, index: noise.Noise(key, step, index).keys("dropout"))

    def inputs(images: np.ndarray) -> Tensor:
        return recipe.inputs(torch.tensor(images).to(dtype)).movedim(-1, 1)

    def loss_of(x: Tensor, step: int, index: jax.Array, key: jax.Array) -> Tensor:
        eps = torch.tensor(np.asarray(eps_of(key, step, index))).to(dtype)
        with shared_noise(model, eps, keys_of(step, index), weight_map):
            pixels, mean, logvar = model(x)
            return recipe.loss(pixels, mean, logvar, x)

    optimizer = recipe.optimizer(model.parameters())
    scheduler = None if recipe.scheduler is None else recipe.scheduler(optimizer)
    held_out = inputs(dataset.validation.images[:])
    scale = experiment.objective.scale(held_out[0].numel(), len(held_out))
    losses: list[float] = []
    rates: list[float] = []
    validation: list[float] = []
    for epoch in range(experiment.train.epochs):
        order = order_of(epoch)
        model.train()
        for i in range(num_examples // batch_size):
            index = index_of(order, i)
            loss = loss_of(inputs(dataset.train.images[index]), len(losses), index, key)
            optimizer.zero_grad()
            loss.backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            losses.append(loss.item())
            if isinstance(scheduler, CosineAnnealingLR):
                scheduler.step()
        model.eval()
        with torch.no_grad():
            everything = jnp.arange(len(held_out))
            coded = loss_of(held_out, 0, everything, noise.stream(key, "evaluate"))
        validation.append(coded.item() / scale)
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(validation[-1])
        elif scheduler is not None and not isinstance(scheduler, CosineAnnealingLR):
            scheduler.step()
    weights = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    return Trajectory(np.array(losses), np.array(rates), np.array(validation), _floats(weights))


def _floats(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: np.array(a) for n, a in weights.items() if not n.endswith(COUNTER)}
