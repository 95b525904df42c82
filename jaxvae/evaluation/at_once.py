"""How many images are computed at once: on a CPU convolutions are fast while their arrays fit a
cache, and the rows of their products are many enough. docs/performance.md has what was measured."""

import math
from typing import Any

from jaxvae.config import Experiment
from jaxvae.info import Info
from jaxvae.models import ConvDecoder, ConvEncoder, feature_shapes

VALUES = 2**18
"""Most that the widest feature maps of images have together, 1 MiB in float32, but of `LEAST`."""
LEAST = 16
"""Images at once at least, about: of fewer the products have too few rows."""


def most_at_once(experiment: Experiment, module: Any, info: Info, on_cpu: bool) -> int | None:
    """So many images, or half as many, are fastest; None: as many as one likes.

    That is on accelerators, without convolutions of the package's networks, and with a model or an
    objective of one's own, which may look across a batch: what its experiment says is taken.
    """
    own = (type(experiment.model), type(experiment.objective))
    widest = widest_map(module, info)
    if not on_cpu or widest == 0 or not all(c.__module__.startswith("jaxvae.") for c in own):
        return None
    return max(LEAST, VALUES // widest)


def evaluated_at_once(batch_size: int, most: int | None, across: bool) -> int:
    """Images in a batch of an evaluation, by `most_at_once` and the batches of the training.

    With terms `across` the batch, whose values depend on its size, those of the training.
    """
    if across or most is None:
        return batch_size
    return max(LEAST, min(batch_size, most))


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
