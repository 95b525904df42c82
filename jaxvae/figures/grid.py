"""Images arranged in one array, and a figure that shows such an array pixel by pixel."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.style import DPI, LABEL, TICK, TITLE, WIDTH, ShownFigure, fit_canvas

HEIGHT = 8.5  # inches: the most that the images of a figure may take
CELL = 1.0  # inches: the largest side of one image
SPACING = 0.36, 0.14  # inches: the least distance of labels below and on the left


def check_images(
    name: str, images: ArrayLike, leading: tuple[str, ...] = ("n",)
) -> NDArray[np.float32]:
    """The images as float32, clipped to [0, 1].

    Raises:
        ValueError: their shape is not (*leading, height, width, 1 or 3), an axis is empty, their
            values are integers, or not finite.
    """
    array = np.asarray(images)
    layout = ", ".join((*leading, "height", "width", "channels"))
    if array.ndim != len(leading) + 3 or 0 in array.shape or array.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name} has shape {array.shape}: must be ({layout}), none of them 0, channels 1 or 3"
        )
    if array.dtype.kind in "biu":
        raise ValueError(f"{name} has dtype {array.dtype}: must be float, with pixels in [0, 1]")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} (shape {array.shape}) holds NaN or infinity: must be finite")
    return np.clip(array, 0, 1)


def image_grid(images: ArrayLike, columns: int, gap: int = 0) -> NDArray[np.float32]:
    """Arrange images row by row in one array, on white.

    Args:
        images: (n, height, width, channels) with 1 or 3 channels, pixels in [0, 1] (clipped).
        columns: images per row; the last row may be shorter.
        gap: white pixels between neighbours.

    Returns:
        (rows * height + (rows - 1) * gap, columns * width + (columns - 1) * gap, channels).

    Raises:
        ValueError: `images` is no such array, `columns` is below 1 or `gap` below 0.
    """
    array = check_images("images", images)
    if columns < 1:
        raise ValueError(f"columns = {columns}: must be at least 1")
    if gap < 0:
        raise ValueError(f"gap = {gap}: must be at least 0")
    n, height, width, channels = array.shape
    rows = math.ceil(n / columns)
    cells = np.ones((rows * columns, height + gap, width + gap, channels), np.float32)
    cells[:n, :height, :width] = array
    cells = cells.reshape(rows, columns, height + gap, width + gap, channels)
    grid = cells.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + gap), columns * (width + gap), channels
    )
    return grid[: grid.shape[0] - gap, : grid.shape[1] - gap]


def to_rgb(grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(height, width, 1 or 3) in [0, 1] as 8-bit RGB, (height, width, 3)."""
    rgb = np.broadcast_to(grid, (*grid.shape[:2], 3))
    return np.round(255 * rgb).astype(np.uint8)


def grid_figure(
    grid: NDArray[np.float32],
    cell: int,
    title: str,
    columns: tuple[ArrayLike, Sequence[str]] = ((), ()),
    rows: tuple[ArrayLike, Sequence[str]] = ((), ()),
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """Show a grid so that each of its pixels is a square of a whole number of device pixels.

    Otherwise some rows and columns would be drawn wider than others, or blurred. The resolution
    follows from the size in inches and is at least `DPI`.

    Args:
        grid: (height, width, channels) in [0, 1].
        cell: the longer side of one image, in pixels of the grid.
        title: drawn above, from the left edge on.
        columns: positions (pixels of the grid) and texts of labels below the grid.
        rows: the same for the labels on its left.
        xlabel: name of the horizontal axis.
        ylabel: name of the vertical axis.
    """
    height, width = grid.shape[:2]
    inches = min(WIDTH / width, HEIGHT / height, CELL / cell)  # per pixel of the grid
    for (positions, labels), spacing in zip((columns, rows), SPACING, strict=True):
        if len(labels) > 1:  # room for the labels goes before the size of the page
            lines = 1 + max(label.count("\n") for label in labels)
            inches = max(inches, lines * spacing / np.diff(np.sort(positions)).min())
    magnify = math.ceil(DPI * inches)
    figure = ShownFigure(figsize=(width * inches, height * inches), dpi=magnify / inches)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(to_rgb(grid), interpolation="none", aspect="auto")
    axes.set_title(title, fontsize=TITLE, loc="left")
    axes.set_xlabel(xlabel, fontsize=LABEL)
    axes.set_ylabel(ylabel, fontsize=LABEL)
    axes.set_xticks(np.asarray(columns[0]), columns[1])
    axes.set_yticks(np.asarray(rows[0]), rows[1])
    axes.tick_params(length=0, labelsize=TICK)
    axes.spines[:].set_visible(False)

    fit_canvas(figure, axes)
    return figure
