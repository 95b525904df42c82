"""Pictures that move: walks through a latent space, and what was drawn while training."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxvae.figures.files import kind_of, with_footer, write
from jaxvae.figures.grid import check_images, grid_figure, image_grid
from jaxvae.figures.images import GAP, centers
from jaxvae.figures.style import png

MOVING = ("gif", "webp")
FRAME, HELD = 120, 700  # milliseconds: a frame, and the last one of a film
COLORS = 255


def frame(
    images: ArrayLike, rows: Sequence[str] = (), columns: Sequence[str] = (), title: str = ""
) -> Figure:
    """Images beside each other, of one moment of a walk.

    Args:
        images: (rows, columns, height, width, channels) with 1 or 3 channels, pixels in [0, 1]
            (clipped).
        rows, columns: their names, or ().
        title: what is shown.

    Raises:
        ValueError: `images` is no such array.
    """
    array = check_images("images", images, ("rows", "columns"))
    down, across, height, width, channels = array.shape
    return grid_figure(
        image_grid(array.reshape(-1, height, width, channels), across, GAP),
        max(height, width),
        title,
        columns=(centers(across, width), columns) if columns else ((), ()),
        rows=(centers(down, height), rows) if rows else ((), ()),
    )


def save_film(
    frames: Sequence[Figure | Path], path: str | os.PathLike[str], footer: str = ""
) -> None:
    """Write figures, or the PNG files of some, one after the other: a .gif or .webp that repeats.

    The last frame stays longer. All frames become as large as the largest, with white.

    Args:
        frames: at least one.
        path: its ending says the format; folders above it are created.
        footer: below each figure, as for `save`.

    Raises:
        ValueError: `path` has another ending, or there is no frame.
    """
    from PIL import Image

    path = Path(path)
    kind = kind_of(path, MOVING)
    if not frames:
        raise ValueError("frames: there is none")
    images = [_frame(frame, footer) for frame in frames]
    size = tuple(max(image.size[axis] for image in images) for axis in (0, 1))
    films = []
    for image in images:
        film = Image.new("RGB", size, "white")
        film.paste(image, (0, 0))
        films.append(film)
    if kind == "gif":
        films = _few_colors(films)
    buffer = io.BytesIO()
    films[0].save(
        buffer,
        kind,
        save_all=True,
        append_images=films[1:],
        duration=[FRAME] * (len(films) - 1) + [HELD],
        loop=0,
        **({"lossless": True, "method": 4} if kind == "webp" else {}),
    )
    write(buffer.getvalue(), path)


def _few_colors(films: list[Any]) -> list[Any]:
    """As a GIF has them: greys as they are, else one palette, so that nothing flickers.

    White stays white; others of 256 colours are near what they were.
    """
    from PIL import Image

    if all((np.ptp(np.asarray(film), axis=-1) == 0).all() for film in films):
        return [film.convert("L") for film in films]
    some = films[:: max(1, len(films) // 12)]
    together = Image.fromarray(np.concatenate([np.asarray(film) for film in some]))
    palette = together.quantize(COLORS)
    white, *few = (
        film.quantize(palette=palette, dither=Image.Dither.NONE)
        for film in (Image.new("RGB", (1, 1), "white"), *films)
    )
    colors = np.array(white.getpalette()).reshape(-1, 3)
    colors[white.getpixel((0, 0))] = 255
    for film in few:
        film.putpalette(colors.ravel().tolist())
    return few


def _frame(frame: Figure | Path, footer: str) -> Any:
    """A Pillow image of a figure, or of its file."""
    from PIL import Image

    if isinstance(frame, Path):
        with Image.open(frame) as image:
            return image.convert("RGB")
    with with_footer(frame, footer) as how:
        return Image.open(io.BytesIO(png(frame, **how))).convert("RGB")
