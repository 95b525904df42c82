"""Every recipe against its PyTorch counterpart, and the table that says how they differ."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from jaxvae.config import Data, Experiment
from jaxvae.data import Dataset, Split, load
from jaxvae.data.splits import seen_shape
from jaxvae.info import Info
from jaxvae.interop.maps import reference_map
from torch_parity.comparison import compare
from torch_parity.difference import Comparison, Difference, difference
from torch_parity.experiments import experiment_of
from torch_parity.kinks import move_from_kinks
from torch_parity.recipes import RECIPES
from torch_parity.trajectory import compare_training, train_both
from torch_parity.values import Counterpart, exactly, torch_outcome

DTYPES = ("float64", "float32")
BATCH, STEPS_PER_EPOCH, EPOCHS = 16, 10, 5

# In float64 the losses of 50 steps stay as close as those of one. Adam divides a gradient by its
# own size, so an entry whose gradient is 0 but for rounding (a bias in front of BatchNorm) drifts,
# by up to the learning rate times rounding over Adam's epsilon: some 1e-10, on weights of 1e-2.
# In float32 rounding is above that epsilon: such entries move by the learning rate in either
# direction, and among the 10^8 inputs of kinks that a convolutional training sees some are within
# rounding. The losses follow in their fourth digit, PyTorch's as ours (the table has both), and the
# weights cannot be compared. What is compared to rounding in float32 is one batch, away from kinks.
LOSSES_TOLERANCE = {"float64": 1e-10, "float32": 1e-2}
WEIGHTS_TOLERANCE = 1e-6

# Inputs of activations may be off by this fraction of their distance from the kink: below 1 none is
# on another side than the truth's, so that no tolerance of a gradient has to allow for it.
NEARNESS = 0.5


def small(experiment: Experiment, channels: int = 1) -> tuple[Experiment, Dataset]:
    """The experiment on a few of scikit-learn's digits, which are always at hand.

    As colours of an image serve several digits. What is resized is so to half the size.
    """
    digits = load(Data("digits"))

    def part(split: Split, n: int) -> Split:
        images = [split.images[i : i + n] for i in range(channels)]
        return Split(np.concatenate(images, axis=-1), None)

    train, held_out = part(digits.train, BATCH * STEPS_PER_EPOCH), part(digits.validation, 64)
    dataset = digits._replace(train=train, validation=held_out, test=held_out)
    size = experiment.data.resize
    data = replace(
        experiment.data,
        batch_size=BATCH,
        validation_fraction=None,
        resize=None if size is None else (size[0] // 2, size[1] // 2),
    )
    return replace(experiment, data=data, train=replace(experiment.train, epochs=EPOCHS)), dataset


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model, away from the special values (0, 1) that biases and BatchNorm start at."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value += 0.2 * torch.rand(value.shape, generator=generator) - 0.1
    return model


def away_from_kinks(
    counterpart: Counterpart, images: np.ndarray, experiment: Experiment, dtype: str
) -> nn.Module:
    """The model with its biases moved until, in float64, no kink is near an input of it.

    Under the noise of `dtype`, which is what they are compared in.
    """
    exact = counterpart.to("float64")
    exact.model.train()
    with exactly(dtype):
        move_from_kinks(exact.model, lambda: torch_outcome(exact, images, experiment))
    return exact.to("float32").model


def carried_out(task: tuple[str, str, Callable[[], Comparison]]) -> Comparison:
    """A comparison by title and name, which says that it has begun. It stands here, since other
    processes cannot call a function of the program's own `__main__`."""
    title, name, compare = task
    print(f"{title} {name}", file=sys.stderr)
    return compare()


def compare_experiment(name: str, dtype: str, seed: int = 0) -> Comparison:
    """One batch, and a training of 50 steps with its schedule; `seed` is that of the weights."""
    recipe = RECIPES[name]
    experiment, dataset = small(experiment_of(name), recipe.channels)
    images = dataset.train.images[:BATCH]
    height, width, channels = seen_shape(experiment.data, images.shape[1:])
    weight_map = reference_map(experiment.model, (height, width, channels))
    torch.manual_seed(seed)
    model = perturbed(recipe.model(), seed)
    counterpart = Counterpart(model, weight_map, recipe.loss, inputs=recipe.inputs)
    batch = compare(
        experiment.model.build(Info(seen_shape(experiment.data, images.shape[1:]))),
        away_from_kinks(counterpart, images, experiment, dtype),
        weight_map,
        images,
        experiment=experiment,
        loss=recipe.loss,
        inputs=recipe.inputs,
        dtype=dtype,
    )
    trainings = train_both(experiment, dataset, recipe, weight_map, dtype, seed)
    training = compare_training(trainings, LOSSES_TOLERANCE[dtype])
    if dtype == "float64":
        ours, theirs = trainings.ours.weights, trainings.theirs.weights
        training += (difference("final weights", ours, theirs, WEIGHTS_TOLERANCE),)
    differences = tuple(
        replace(d, tolerance=NEARNESS) if d.quantity == "kinks" else d for d in batch.differences
    )
    if "kinks" not in {d.quantity for d in differences}:  # every experiment has them
        raise RuntimeError(f"{name}: its modules do not keep what their activations see")
    return Comparison(name, differences + training)


def table(comparisons: Sequence[Comparison]) -> str:
    """Relative differences, a row per quantity and a column per model, and what failed.

    In float32 they are those from the truth in float64, ours and below them PyTorch's own.
    """
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
        theirs = [None if d is None else d.theirs for d in found]
        if any(relative is not None for relative in theirs):
            cells = "".join("      -" if r is None else f"{r:7.0e}" for r in theirs)
            lines.append(f"{'  PyTorch':<{width}}{cells}")
    for c in comparisons:
        for d in c.differences:
            if d.verdict != "equal":
                lines.append(f"{c.name}: {d.quantity}: {d.verdict} ({d.absolute:.2g})")
    return "\n".join(lines)


def _find(comparison: Comparison, quantity: str) -> Difference | None:
    return next((d for d in comparison.differences if d.quantity == quantity), None)
