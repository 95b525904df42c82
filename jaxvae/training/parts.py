"""In parts of what size batches are taken: the rule by which `train.sub_batch` None is a number.

What a convolution computes on a CPU is fast while the arrays of a layer fit its caches, and the
rows of its products are many enough. docs/performance.md has what was measured.
"""

import math
from dataclasses import replace
from typing import Any

import jax

from jaxvae import axis, noise
from jaxvae.batch import Examples
from jaxvae.config import Experiment
from jaxvae.info import Info
from jaxvae.models import ConvDecoder, ConvEncoder, feature_shapes
from jaxvae.runs.classes import own_classes
from jaxvae.training.state import initial_state
from jaxvae.training.step import make_train_step, metric_names, parts_of

VALUES = 2**18
"""Most that the widest feature map of a part has, 1 MiB in float32, but that of `LEAST` images."""
LEAST = 16
"""Images of a part at least, about: of fewer the products have too few rows."""


def settled(
    experiment: Experiment, module: Any, info: Info, on_cpu: bool, own: Examples
) -> Experiment:
    """The experiment, where `train.sub_batch` is None with a number: that of the rule.

    Whole batches but on CPUs, where convolutions of the package's networks give feature maps, and
    nothing looks across the batch; a class of one's own might, and what it says is taken for it.

    Args:
        experiment: the recipe.
        module: its model.
        info: what is known about the data.
        on_cpu: whether it is trained on one.
        own: what a device has of a batch; it may be abstract.

    Raises:
        UsageError: the number that is set does not divide what a device has of a batch, or the
            model or the objective looks across the batch.
    """
    if experiment.train.sub_batch is not None:
        refuse_across(experiment, module, info, own)
        return experiment
    whole = with_parts(experiment, experiment.data.batch_size)
    if not on_cpu or own_classes(experiment):
        return whole
    size = size_for(len(own.index), widest_map(module, info))
    if size == len(own.index):
        return whole
    in_parts = with_parts(experiment, size)
    try:
        refuse_across(in_parts, module, info, own)
    except axis.WholeBatchError:
        return whole
    return in_parts


def with_parts(experiment: Experiment, size: int) -> Experiment:
    """The experiment with this `train.sub_batch`."""
    return replace(experiment, train=replace(experiment.train, sub_batch=size))


def refuse_across(experiment: Experiment, module: Any, info: Info, own: Examples) -> None:
    """Raise a UsageError unless a step can be taken in the experiment's parts: it is traced."""
    if parts_of(own, experiment.train.sub_batch) == 1:
        return
    state = jax.eval_shape(lambda: initial_state(experiment, module, info))
    key = jax.eval_shape(lambda: noise.root(0))
    metric_names(make_train_step(experiment, module, info, 1), state, own, key)


def size_for(images: int, widest: int) -> int:
    """A divisor of so many images, for a widest feature map of so many values; 0: there is none.

    The largest within the bound, if that is more than half of the bound, else all of them.
    """
    if widest == 0:
        return images
    most = max(LEAST, VALUES // widest)
    fitting = (size for size in range(most, most // 2, -1) if images % size == 0)
    return images if images <= most else next(fitting, images)


def widest_map(module: Any, info: Info) -> int:
    """Values of the largest feature map of an example, image included; 0: without convolutions."""
    networks = (getattr(module, name, None) for name in ("encoder", "decoder"))
    shapes = [
        shape
        for net in networks
        if isinstance(net, ConvEncoder | ConvDecoder)
        for shape in feature_shapes(
            info.shape, net.hidden_dims, net.strides, net.kernel_size, net.padding
        )
    ]
    return max(map(math.prod, shapes), default=0)
