"""How many images are computed at once: on a CPU convolutions, and many draws, are fast while their
arrays fit a cache, and the rows of their products are many enough. docs/performance.md has what was
measured."""

import math
from typing import Any

from jaxvae.config import Experiment
from jaxvae.info import Info
from jaxvae.models import ConvDecoder, ConvEncoder, feature_shapes
from jaxvae.variants.samples import SeveralSamples

VALUES = 2**18
"""Most that the widest feature maps of images have together, 1 MiB in float32, but of `LEAST`."""
LEAST = 16
"""Images at once at least, about: of fewer the products have too few rows."""
DRAWN = 2**20
"""Most values that what dense networks decode of several draws has together, 4 MiB in float32."""


def most_at_once(experiment: Experiment, module: Any, info: Info, on_cpu: bool) -> int | None:
    """So many images, or half as many, are fastest; None: as many as one likes.

    That is on accelerators, of dense networks but where an objective decodes several draws of each
    image, and with a model or an objective of one's own, which may look across a batch: what its
    experiment says is taken.
    """
    most = most_decoded(experiment, module, info, on_cpu)
    draws = experiment.objective.draws if isinstance(experiment.objective, SeveralSamples) else 1
    if most is None and draws > 1 and on_cpu and _is_ours(experiment):
        most = DRAWN // math.prod(info.shape)
    return None if most is None else max(1, most // draws)


def most_decoded(experiment: Experiment, module: Any, info: Info, on_cpu: bool) -> int | None:
    """As `most_at_once`, of codes that are decoded, whoever drew them."""
    widest = widest_map(module, info)
    if not on_cpu or widest == 0 or not _is_ours(experiment):
        return None
    return max(LEAST, VALUES // widest)


def _is_ours(experiment: Experiment) -> bool:
    """Whether model and objective are the package's."""
    classes = (type(experiment.model), type(experiment.objective))
    return all(c.__module__.startswith("jaxvae.") for c in classes)


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
