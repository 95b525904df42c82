"""One batch through a Flax model and through its PyTorch counterpart, with the same weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from jaxvae.checks import require
from jaxvae.config import Experiment, Model
from jaxvae.conventions import conventions
from jaxvae.interop.maps import Map
from torch_parity.difference import Comparison, Difference, difference
from torch_parity.kinks import flips, like, nearness
from torch_parity.losses import LOSSES
from torch_parity.values import (
    Counterpart,
    Forward,
    Loss,
    Values,
    exactly,
    flax_values,
    flax_variables,
    torch_values,
)

# Relative to the largest entry of an array. Every quantity is a sum of at most some 10^5 products,
# taken in another order: in float64 (epsilon 2e-16) a few 1e-13 were seen; in float32 (6e-8) a few
# 1e-6, and more where PyTorch takes the logarithm of 1 - p with p rounded to near 1.
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}

# Arrays that are 0 but for rounding (the gradient of a bias in front of BatchNorm) are compared to
# this fraction of the largest entry of all. BatchNorm divides by the root of variance + 1e-5, so of
# few examples it enlarges rounding up to 300 times.
FLOOR = 0.1


def compare(
    model: Any,
    torch_model: nn.Module,
    weight_map: Map,
    batch: np.ndarray,
    *,
    experiment: Experiment | None = None,
    loss: Loss = LOSSES["pytorch_examples"],
    forward: Forward = lambda model, x: model(x),
    inputs: Callable[[Tensor], Tensor] = lambda images: images / 255,
    dtype: str = "float64",
) -> Comparison:
    """Compare values, loss terms, all gradients, BatchNorm's statistics and evaluation mode.

    The weights are those of `torch_model`; the noise is drawn once and given to both. In float32
    both are compared with the truth, which is PyTorch's model in float64 with the same weights and
    noise, so that it is seen who is off: `Difference.relative` is ours, `Difference.theirs`
    PyTorch's. A gradient that differs because inputs of a ReLU, LeakyReLU or absolute value lie
    within rounding of its kink says so, and by how many of them (`Difference.kinks`): it is still
    not equal, and float64 or another batch will tell. The row `kinks` is how near they come: the
    largest error of such an input, as a fraction of its distance from the kink. Below 1 none is on
    another side; it is not there for a model that does not keep what its activations see.

    Args:
        model: a Flax module of ours, or one like them (see `jaxvae.Model.build`).
        torch_model: its counterpart; it is left as it was.
        weight_map: torch layer -> ours, see `jaxvae.interop.maps`; with its dropout layers.
        batch: stored images, uint8 (batch, height, width, channels), or signals, float32 (batch,
            length, channels).
        experiment: its data and objective say what is computed; by default pixels in [0, 1] and the
            loss of pytorch/examples.
        loss: the scalar that PyTorch minimises, of (pixels, mean, logvar, x).
        forward: `torch_model` on images (batch, channels, height, width) or signals (batch,
            channels, length) to (pixels, mean, logvar): pixels are the mean of p(x|z),
            probabilities where the likelihood is Bernoulli; mean and logvar are None for an AE.
            Noise that it draws through torch is replaced by ours.
        inputs: from pixels 0..255 to what the torch model sees; of signals give the identity.
        dtype: float64 or float32.

    Raises:
        UsageError: weights that do not fit, listed; a batch of something else; a `forward` that
            returns something else, or draws noise more than once.
    """
    require(dtype in TOLERANCE, "dtype", dtype, f"one of {', '.join(TOLERANCE)}")
    images = np.asarray(batch)
    require(
        (images.dtype, images.ndim) in ((np.uint8, 4), (np.float32, 3)),
        "batch",
        (images.dtype.name, images.shape),
        "uint8 (batch, height, width, channels), images, or float32 (batch, length, channels)",
    )
    if experiment is None:
        experiment = Experiment(
            name="compare",
            model=Model(latent_dim=getattr(model, "latent_dim", 1)),
            objective=conventions["pytorch_examples"],
        )
    counterpart = Counterpart(torch_model, weight_map, loss, forward, inputs).to(dtype)
    with exactly(dtype):
        variables = flax_variables(
            model, counterpart.model, weight_map, experiment, images.shape[1:]
        )
        ours = flax_values(model, variables, weight_map, images, experiment)
        # Within `exactly` of float32 the noise of the truth is the same float32 noise.
        truth_model = counterpart.to("float64")
        truth = torch_values(truth_model, images, experiment)
        theirs = None if dtype == "float64" else torch_values(counterpart, images, experiment)

        def of_truth(sides: list[np.ndarray]) -> Values:
            return torch_values(truth_model, images, experiment, sides)

        differences = differences_of(ours, theirs, truth, of_truth, weight_map, TOLERANCE[dtype])
    return Comparison(type(torch_model).__name__, differences)


def differences_of(
    ours: Values,
    theirs: Values | None,
    truth: Values,
    of_truth: Callable[[list[np.ndarray]], Values],
    weight_map: Map,
    tolerance: float,
) -> tuple[Difference, ...]:
    """Every quantity of ours against the truth, with PyTorch's own distance from it beside it.

    Args:
        ours: by our model.
        theirs: by PyTorch in the same precision; None where that is the truth itself.
        truth: by PyTorch in float64.
        of_truth: `truth` with given sides of the kinks.
        weight_map: as in `compare`.
        tolerance: of relative differences.
    """
    own = like(ours.kinks, truth.kinks, weight_map)

    def against(values: Values, reference: Values, quantity: str) -> Difference:
        arrays = reference.quantities[quantity]
        return difference(quantity, values.quantities.get(quantity, {}), arrays, tolerance, FLOOR)

    def explained(values: Values, inputs: list[np.ndarray] | None) -> int:
        """Entries on another side than the truth's that make its gradient the one of `values`."""
        if inputs is None or not (count := flips(inputs, truth.kinks)):
            return 0
        same_sides = of_truth([x > 0 for x in inputs])
        return count if against(values, same_sides, "gradient").equal else 0

    found = []
    for quantity, arrays in truth.quantities.items():
        if not arrays and not ours.quantities.get(quantity):
            continue  # a model may have no running statistics
        mine = against(ours, truth, quantity)
        if quantity == "gradient" and not mine.equal:
            mine = replace(mine, kinks=explained(ours, own))
        if theirs is not None:
            other = against(theirs, truth, quantity)
            off = quantity == "gradient" and not other.equal
            mine = replace(
                mine,
                theirs=other.relative,
                their_kinks=explained(theirs, theirs.kinks) if off else 0,
            )
        found.append(mine)
    if truth.kinks and own is not None:
        nearest, where = nearness(own, truth.kinks)
        row = Difference("kinks", nearest, nearest, where, np.inf)  # it tells, and fails nobody
        if theirs is not None:
            row = replace(row, theirs=nearness(theirs.kinks, truth.kinks)[0])
        found.append(row)
    return tuple(found)
