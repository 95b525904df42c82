"""Every experiment against its PyTorch counterpart, and the table that says how they differ."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from jaxvae.config import Data, Experiment
from jaxvae.data import Dataset, Split, load
from jaxvae.training import build_model
from torch_parity.comparison import compare
from torch_parity.difference import Comparison, Difference, difference
from torch_parity.experiments import experiment_of
from torch_parity.maps import reference_map
from torch_parity.recipes import RECIPES
from torch_parity.trajectory import compare_training, train_both

DTYPES = ("float64", "float32")
BATCH, STEPS_PER_EPOCH, EPOCHS = 16, 10, 5

# In float64 the losses of 50 steps stay as close as those of one. Adam divides a gradient by its
# own size, so an entry whose gradient is 0 but for rounding (a bias in front of BatchNorm) drifts,
# by up to the learning rate times rounding over Adam's epsilon: some 1e-10, on weights of 1e-2.
# In float32 rounding is above that epsilon: such entries move by the learning rate in either
# direction, the losses follow in their fourth digit, and the weights cannot be compared.
LOSSES_TOLERANCE = {"float64": 1e-10, "float32": 1e-2}
WEIGHTS_TOLERANCE = 1e-6


def small(experiment: Experiment) -> tuple[Experiment, Dataset]:
    """The experiment on a few of scikit-learn's digits, which are always at hand."""
    digits = load(Data("digits"))
    train = Split(digits.train.images[: BATCH * STEPS_PER_EPOCH], None)
    held_out = Split(digits.validation.images[:64], None)
    dataset = digits._replace(train=train, validation=held_out, test=held_out)
    data = replace(experiment.data, batch_size=BATCH, validation_fraction=None)
    return replace(experiment, data=data, train=replace(experiment.train, epochs=EPOCHS)), dataset


def perturbed(model: nn.Module) -> nn.Module:
    """The model, away from the special values (0, 1) that biases and BatchNorm start at."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand(value.shape, generator=generator) - 0.1
    return model


def compare_experiment(name: str, dtype: str) -> Comparison:
    """One batch, and a training of 50 steps with its schedule."""
    experiment, dataset = small(experiment_of(name))
    recipe = RECIPES[name]
    images = dataset.train.images[:BATCH]
    height, width, channels = images.shape[1:]
    torch.manual_seed(0)
    weight_map = reference_map(experiment.model, (height, width, channels))
    batch = compare(
        build_model(experiment, (height, width, channels)),
        perturbed(recipe.model()),
        weight_map,
        images,
        experiment=experiment,
        loss=recipe.loss,
        inputs=recipe.inputs,
        dtype=dtype,
    )
    trajectories = train_both(experiment, dataset, recipe, weight_map, dtype)
    training = compare_training(*trajectories, LOSSES_TOLERANCE[dtype])
    if dtype == "float64":
        ours, theirs = (t.weights for t in trajectories)
        training += (difference("final weights", ours, theirs, WEIGHTS_TOLERANCE),)
    return Comparison(name, batch.differences + training)


def table(comparisons: Sequence[Comparison]) -> str:
    """Relative differences, a row per quantity and a column per model, and what failed."""
    longest_first = sorted(comparisons, key=lambda c: -len(c.differences))
    quantities = list(dict.fromkeys(d.quantity for c in longest_first for d in c.differences))
    width = max(map(len, quantities))
    columns = "".join(f"{i:>7}" for i in range(1, len(comparisons) + 1))
    lines = [f"{i:>3}  {c.name}" for i, c in enumerate(comparisons, start=1)]
    lines += ["", f"{'':<{width}}{columns}  absolute  tolerance  verdict"]
    for quantity in quantities:
        found = [_find(c, quantity) for c in comparisons]
        there = [d for d in found if d is not None]
        cells = "".join("      -" if d is None else f"{d.relative:7.0e}" for d in found)
        verdict = "equal" if all(d.equal for d in there) else "NOT EQUAL"
        absolute, tolerance = max(d.absolute for d in there), max(d.tolerance for d in there)
        lines.append(f"{quantity:<{width}}{cells}  {absolute:8.0e}  {tolerance:9.0e}  {verdict}")
    for c in comparisons:
        for d in c.differences:
            if not d.equal:
                lines.append(f"{c.name}: {d.quantity} differs by {d.absolute:.2g} at {d.where}")
    return "\n".join(lines)


def _find(comparison: Comparison, quantity: str) -> Difference | None:
    return next((d for d in comparison.differences if d.quantity == quantity), None)
