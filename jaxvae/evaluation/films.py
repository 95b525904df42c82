"""Walks through a latent space that move: the frames of what `pictures` returns as arrays."""

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure

from jaxvae import figures
from jaxvae.checks import UsageError
from jaxvae.evaluation.drawn import images
from jaxvae.evaluation.trained import Trained, has_gaussian, is_images
from jaxvae.figures.style import latent_name

WALKS = ("interpolate", "traverse")


def frames(trained: Trained, command: str, arrays: dict[str, np.ndarray]) -> list[Figure]:
    """There and back again, a step of all walks at once in each frame.

    Args:
        command: one of `WALKS`.
        arrays: of `pictures.interpolations` or `pictures.traversals`.

    Raises:
        UsageError: the examples are no images.
    """
    if not is_images(trained):
        raise UsageError(f"{command}: only walks through images move; use .png, .pdf or .svg")
    there = [*(_traversal if command == "traverse" else _interpolation)(trained, arrays)]
    return [*there, *there[-2:0:-1]]


def _traversal(trained: Trained, arrays: dict[str, np.ndarray]) -> Iterator[Figure]:
    """A column per latent."""
    unit = "nats" if has_gaussian(trained) else "std"
    names = [
        f"{latent_name(int(i) + 1)}\n{weight:.2g} {unit}"
        for i, weight in zip(arrays["dims"], arrays["weight"], strict=True)
    ]
    title = "Each latent from its 1st to its 99th percentile"
    for step in range(arrays["images"].shape[1]):
        shown = arrays["images"][None, :, step]
        figure = images(trained, figures.frame, shown, (), names, title)
        assert figure is not None  # these are images
        yield figure


def _interpolation(trained: Trained, arrays: dict[str, np.ndarray]) -> Iterator[Figure]:
    """A column per pair, between whose originals the decoded image moves."""
    first, last = arrays["originals"][:, 0], arrays["originals"][:, 1]
    for step in range(arrays["images"].shape[1]):
        shown = np.stack([first, arrays["images"][:, step], last])
        figure = images(
            trained, figures.frame, shown, ("from", "decoded", "to"), (), "Interpolations"
        )
        assert figure is not None  # these are images
        yield figure
