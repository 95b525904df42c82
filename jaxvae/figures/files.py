"""PNG files that are either complete or not there."""

import io
import math
import os
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import ArrayLike

from jaxvae.atomic import atomic
from jaxvae.figures.grid import check_images, image_grid, to_rgb
from jaxvae.figures.style import png


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a PNG file at its own resolution, creating the folders above it.

    Raises:
        ValueError: `path` does not end in .png.
    """
    _write(png(figure), path)


def save_images(
    images: ArrayLike, path: str | os.PathLike[str], columns: int | None = None, gap: int = 0
) -> None:
    """Write a plain grid of images to a PNG file: one pixel each, no text.

    Args:
        images: (n, height, width, channels) with 1 or 3 channels, pixels in [0, 1] (clipped).
        path: the file; folders above it are created.
        columns: images per row; None makes about as many rows as columns.
        gap: white pixels between neighbours.

    Raises:
        ValueError: `images` is no such array, `columns` is below 1, `gap` below 0, or `path` does
            not end in .png.
    """
    array = check_images("images", images)
    if columns is None:
        columns = math.ceil(math.sqrt(len(array)))
    buffer = io.BytesIO()
    imsave(buffer, to_rgb(image_grid(array, columns, gap)), format="png")
    _write(buffer.getvalue(), path)


def _write(content: bytes, path: str | os.PathLike[str]) -> None:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path = {str(path)!r}: must end in .png")
    with atomic(path) as temporary:
        temporary.write_bytes(content)
