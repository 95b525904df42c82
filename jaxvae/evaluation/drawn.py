"""Which figure shows examples: pictures of images, curves of signals, and rows of a table.

Examples of another kind are not drawn: the figure is None.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure

from jaxvae import figures
from jaxvae.evaluation.trained import Trained, is_images
from jaxvae.figures.style import latent_name


def kind(trained: Trained) -> Literal["image", "signal", "row"] | None:
    """What the examples are: images, signals (length, channels), rows (features,), or others."""
    if is_images(trained):
        return "image"
    kinds: dict[int, Literal["row", "signal"]] = {1: "row", 2: "signal"}
    return kinds.get(len(trained.info.shape))


def columns(trained: Trained) -> tuple[str, ...]:
    """The names of a table's columns; 1, 2, ... where it has none; () of what is no table."""
    if kind(trained) != "row":
        return ()
    return trained.info.columns or tuple(str(i + 1) for i in range(trained.info.shape[0]))


def reconstructions(
    trained: Trained, originals: np.ndarray, decoded: np.ndarray, inputs: np.ndarray | None
) -> Figure | None:
    """Originals beside reconstructions (n, ...); of images also what the encoder saw, if given."""
    match kind(trained):
        case "image":
            return images(trained, figures.reconstructions, originals, decoded, inputs)
        case "signal":
            return figures.reconstruction_lines(originals, decoded)
        case "row":
            return figures.reconstruction_scatter(originals, decoded, columns(trained))
    return None


def samples(trained: Trained, decoded: np.ndarray) -> Figure | None:
    """Samples (n, ...): signals in a panel each, rows together in one."""
    match kind(trained):
        case "image":
            return images(trained, figures.samples, decoded)
        case "signal":
            return _lines(trained, decoded[:, None], (decoded, "samples"))
        case "row":
            title = f"{len(decoded)} samples from the prior"
            return _lines(trained, decoded[None], (decoded, "samples"), title=title)
    return None


def interpolations(
    trained: Trained, decoded: np.ndarray, originals: np.ndarray, pairs: list[tuple[int, int]]
) -> Figure | None:
    """Walks (pairs, steps, ...) between `originals`, (pairs, 2, ...)."""
    if is_images(trained):
        return images(trained, figures.interpolations, decoded, originals)
    return _lines(
        trained,
        decoded,
        (originals.reshape(-1, *originals.shape[2:]), "originals"),
        ends=originals,
        titles=[f"example {i} to {j}" for i, j in pairs],
        colored=(np.linspace(0, 1, decoded.shape[1]), "position t between the two codes"),
        title="Interpolations",
    )


def traversals(
    trained: Trained,
    decoded: np.ndarray,
    values: tuple[np.ndarray, str],
    dims: list[int],
    originals: np.ndarray,
) -> Figure | None:
    """Latents `dims` over values of which it is said what they are, (dims, steps, ...).

    The `originals`, (n, ...), are examples to compare with.
    """
    if is_images(trained):
        draw = partial(figures.traversals, xlabel=values[1])
        return images(trained, draw, decoded, values[0], dims)
    return _lines(
        trained,
        decoded,
        (originals, "rows of the split"),
        titles=[latent_name(i + 1) for i in dims],
        colored=values,
        title="Latent traversals: one latent varied per panel",
    )


def images(trained: Trained, figure: Callable[..., Figure], *arrays: Any) -> Figure | None:
    """The figure of some arrays, the channels that can be shown of those that hold images."""
    if not is_images(trained):
        return None
    shown = [_visible(a) if isinstance(a, np.ndarray) and a.ndim >= 4 else a for a in arrays]
    return figure(*shown)


def _visible(images: np.ndarray) -> np.ndarray:
    """The channels that a picture can show: grey, or the first three."""
    channels = images.shape[-1]
    return images[..., :3] if channels >= 3 else images[..., :1]


def _lines(
    trained: Trained,
    decoded: np.ndarray,
    reference: tuple[np.ndarray, str],
    ends: np.ndarray | None = None,
    **draw: Any,
) -> Figure | None:
    """Panels of signals as they are, and of rows in standard deviations, since units differ.

    Mean and deviation of a column are those that the data were standardised with, else those of
    a `reference`, (n, features); the axis says which.
    """
    match kind(trained):
        case "signal":
            return figures.lines(decoded, ends=ends, **draw)
        case "row":
            center, scale = np.array(trained.info.center), np.array(trained.info.scale)
            rows, whose = reference[0], "training rows"
            if not center.size:
                known = np.ma.masked_invalid(rows.astype(np.float64))
                center, scale = (np.ma.filled(f(axis=0), np.nan) for f in (known.mean, known.std))
                whose = reference[1]
            scale = np.where(scale > 0, scale, 1.0)
            return figures.lines(
                (decoded - center) / scale,
                columns=columns(trained),
                ends=None if ends is None else (ends - center) / scale,
                ylabel=f"standard deviations from the mean\n({whose})",
                **draw,
            )
    return None
