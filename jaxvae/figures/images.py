"""Figures made of images: reconstructions, samples, and walks through the latent space."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.grid import check_images, grid_figure, image_grid
from jaxvae.figures.style import latent_name, with_minus

GAP = 1  # white pixels between images
BLOCK = 10  # least columns of `reconstructions` before it wraps


def centers(count: int, side: int, gap: int = GAP) -> NDArray[np.floating]:
    """The middle of each of `count` images in a row or column, in pixels of the grid."""
    return np.arange(count) * (side + gap) + (side - 1) / 2


def _spread(count: int, most: int) -> NDArray[np.intp]:
    """At most `most` of the indices 0..count-1, evenly spaced from 0 on."""
    return np.arange(0, count, math.ceil(count / most))


def _numbers(values: NDArray[np.float64]) -> list[str]:
    return [with_minus(f"{value:.2g}") for value in values]


def _joined(parts: Sequence[NDArray[np.float32]], axis: int, space: int) -> NDArray[np.float32]:
    """Arrays put one after the other along an axis with white `space` pixels in between."""
    shape = list(parts[0].shape)
    shape[axis] = space
    white = np.ones(shape, np.float32)
    pieces = [piece for part in parts for piece in (white, part)]
    return np.concatenate(pieces[1:], axis)


def _check_vector(name: str, values: ArrayLike, length: int, per: str) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape != (length,):
        raise ValueError(f"{name} has shape {array.shape}: must be ({length},), one per {per}")
    return array


def _check_count(name: str, texts: Sequence[str], length: int, per: str) -> None:
    if len(texts) not in (0, length):
        raise ValueError(f"{name} has length {len(texts)}: must be {length}, one per {per}")


def reconstructions(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    inputs: ArrayLike | None = None,
    title: str = "Reconstructions",
) -> Figure:
    """Each original above its reconstruction, in blocks of 10 columns (more than 50 images: wider).

    Args:
        originals: (n, height, width, channels) with 1 or 3 channels, pixels in [0, 1] (clipped).
        reconstructions: same shape.
        inputs: same shape; what the encoder saw where it is not the original (corrupted images),
            shown on top.
        title: what is shown.

    Raises:
        ValueError: an argument is no such array, or their shapes differ.
    """
    shown = {"input": inputs, "original": originals, "reconstruction": reconstructions}
    images = {
        label: check_images(f"{label}s", array)
        for label, array in shown.items()
        if array is not None
    }
    shape = images["original"].shape
    for label, array in images.items():
        if array.shape != shape:
            raise ValueError(f"{label}s has shape {array.shape}: must be that of originals {shape}")
    n, height, width, _ = shape
    columns = min(n, max(BLOCK, math.ceil(math.sqrt(2 * n))))
    space = max(2, height // 4)  # between blocks
    blocks, middles = [], []
    block_height = len(images) * (height + GAP) - GAP
    for block, start in enumerate(range(0, n, columns)):
        rows = [image_grid(a[start : start + columns], columns, GAP) for a in images.values()]
        blocks.append(_joined(rows, 0, GAP))
        middles.extend(block * (block_height + space) + centers(len(rows), height))
    return grid_figure(
        _joined(blocks, 0, space),
        max(height, width),
        title,
        rows=(middles, list(images) * len(blocks)),
    )


def samples(images: ArrayLike, title: str = "Samples from the prior") -> Figure:
    """Images in a grid that is about square.

    Args:
        images: (n, height, width, channels) with 1 or 3 channels, pixels in [0, 1] (clipped).
        title: what is shown.

    Raises:
        ValueError: `images` is no such array.
    """
    array = check_images("images", images)
    n, height, width, _ = array.shape
    columns = min(n, math.ceil(math.sqrt(n * height / width)))
    return grid_figure(image_grid(array, columns, GAP), max(height, width), title)


def manifold(
    images: ArrayLike,
    z1: ArrayLike,
    z2: ArrayLike,
    title: str = "Decoded latent space",
    where: str = "",
) -> Figure:
    """Images decoded from a grid over a two-dimensional latent space; z2 grows upwards.

    Args:
        images: (rows, columns, height, width, channels) with 1 or 3 channels, pixels in [0, 1]
            (clipped); `images[i, j]` is decoded from (z1[j], z2[i]).
        z1: (columns,), in rising order.
        z2: (rows,), in rising order.
        title: what is shown.
        where: what the values are, such as quantiles of the prior.

    Raises:
        ValueError: an argument has another shape, or z1 or z2 decreases.
    """
    array = check_images("images", images, ("rows", "columns"))
    rows, columns, height, width, channels = array.shape
    z1 = _check_vector("z1", z1, columns, "column of images")
    z2 = _check_vector("z2", z2, rows, "row of images")
    for name, z in (("z1", z1), ("z2", z2)):
        if not (np.diff(z) >= 0).all():  # equal values: a latent that the model does not use
            raise ValueError(f"{name} (shape {z.shape}) must not decrease")
    grid = image_grid(array[::-1].reshape(-1, height, width, channels), columns, GAP)
    x, y = _spread(columns, 7), _spread(rows, 7)
    return grid_figure(
        grid,
        max(height, width),
        title,
        columns=(centers(columns, width)[x], _numbers(z1[x])),
        rows=(centers(rows, height)[::-1][y], _numbers(z2[y])),
        xlabel=f"{latent_name(1)}, {where}" if where else latent_name(1),
        ylabel=latent_name(2),
    )


def interpolations(
    images: ArrayLike,
    originals: ArrayLike | None = None,
    title: str = "Interpolations",
    names: Sequence[str] = (),
) -> Figure:
    """One row per pair of images: decoded on the way from one code (t = 0) to the other (t = 1).

    Args:
        images: (pairs, steps, height, width, channels) with 1 or 3 channels, pixels in [0, 1]
            (clipped); the first and last step are the reconstructions of the pair.
        originals: (pairs, 2, height, width, channels); shown at the ends of the rows.
        title: what is shown.
        names: (pairs,), what each pair is.

    Raises:
        ValueError: an argument has another shape, or there are fewer than two steps.
    """
    array = check_images("images", images, ("pairs", "steps"))
    pairs, steps, height, width, channels = array.shape
    if steps < 2:
        raise ValueError(f"images has shape {array.shape}: must have at least 2 steps")
    _check_count("names", names, pairs, "pair")
    grid = image_grid(array.reshape(-1, height, width, channels), steps, GAP)
    shown = _spread(steps, 11)
    ticks = centers(steps, width)[shown]
    labels = _numbers(np.linspace(0, 1, steps)[shown])
    if originals is not None:
        ends = check_images("originals", originals, ("pairs", "2"))
        expected = (pairs, 2, height, width, channels)
        if ends.shape != expected:
            raise ValueError(f"originals has shape {ends.shape}: must be {expected}")
        space = max(2, width // 4)
        middle = grid.shape[1]
        first, last = (image_grid(ends[:, i], 1, GAP) for i in (0, 1))
        grid = _joined([first, grid, last], 1, space)
        ends_at = np.array([0, width + middle + 2 * space]) + (width - 1) / 2
        ticks = np.concatenate([ends_at[:1], ticks + width + space, ends_at[1:]])
        labels = ["original", *labels, "original"]
    return grid_figure(
        grid,
        max(height, width),
        title,
        columns=(ticks, labels),
        rows=(centers(pairs, height), names) if names else ((), ()),
        xlabel="position t between the two codes",
    )


def traversals(
    images: ArrayLike,
    names: Sequence[str],
    ticks: Sequence[str],
    unchanged: ArrayLike | None = None,
    xlabel: str = "value of the latent",
    title: str = "Latent traversals: one latent varied per row",
) -> Figure:
    """One row per latent, decoded while that latent alone varies.

    Args:
        images: (dims, steps, height, width, channels) with 1 or 3 channels, pixels in [0, 1]
            (clipped).
        names: (dims,), of the latents, with what is known of each.
        ticks: (steps,), what each column is; may be empty.
        unchanged: (height, width, channels), decoded from the code that is varied; on the left.
        xlabel: what varies along a row, with its unit.
        title: what is shown.

    Raises:
        ValueError: an argument has another shape.
    """
    array = check_images("images", images, ("dims", "steps"))
    rows, steps, height, width, channels = array.shape
    _check_count("names", names, rows, "row of images")
    _check_count("ticks", ticks, steps, "step of images")
    grid = image_grid(array.reshape(-1, height, width, channels), steps, GAP)
    shown = _spread(steps, 11)
    at, labels = centers(steps, width)[shown], [ticks[i] for i in shown] if ticks else []
    if unchanged is not None:
        base = check_images("unchanged", unchanged, ())
        if base.shape != array.shape[2:]:
            raise ValueError(f"unchanged has shape {base.shape}: must be {array.shape[2:]}")
        space = max(2, width // 4)
        left = image_grid(np.repeat(base[None], rows, axis=0), 1, GAP)
        grid = _joined([left, grid], 1, space)
        at = np.concatenate([[(width - 1) / 2], at + width + space])
        labels = ["unchanged", *(labels or [""] * len(shown))]
    return grid_figure(
        grid,
        max(height, width),
        title,
        columns=(at, labels) if labels else ((), ()),
        rows=(centers(rows, height), names),
        xlabel=xlabel,
    )
