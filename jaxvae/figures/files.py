"""Files of figures that are either complete or not there, and the same bytes whenever drawn."""

import io
import math
import os
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

from jaxvae.atomic import atomic
from jaxvae.figures.grid import check_images, image_grid, to_rgb
from jaxvae.figures.style import png

FORMATS = ("png", "pdf", "svg")
FOOTER, GREY, MARGIN = 6.5, "0.55", 0.08
"""Font size in points, colour, and inches from the edge."""
# Text stays text: fonts that editors and journals accept, and names of clip paths that repeat.
VECTOR: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "jaxvae"}
UNDATED: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
_settings = threading.Lock()
"""Matplotlib takes `VECTOR` from settings that all threads share."""


def save(figure: Figure, path: str | os.PathLike[str], footer: str = "") -> None:
    """Write a figure to a .png file at its own resolution, or to a .pdf or .svg file.

    These hold fonts, images pixel by pixel, and no date. Folders above the file are created.

    Args:
        figure: as it is afterwards too.
        path: its ending says the format.
        footer: small and grey below the figure, which becomes that much higher.

    Raises:
        ValueError: `path` has another ending.
    """
    path = Path(path)
    kind = kind_of(path, FORMATS)
    with with_footer(figure, footer) as how:
        if kind == "png":
            content = png(figure, **how)
        else:
            buffer = io.BytesIO()
            with _settings, matplotlib.rc_context(VECTOR):
                figure.savefig(buffer, format=kind, metadata=UNDATED[kind], dpi=300, **how)
            content = buffer.getvalue()
    write(content, path)


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
    kind_of(Path(path), ("png",))
    buffer = io.BytesIO()
    imsave(buffer, to_rgb(image_grid(array, columns, gap)), format="png")
    write(buffer.getvalue(), Path(path))


@contextmanager
def with_footer(figure: Figure, footer: str) -> Iterator[dict[str, Any]]:
    """A text below the canvas for as long as this lasts; gives options of `savefig` that show it.

    What is on the canvas stays where it is.
    """
    if not footer:
        yield {}
        return
    figure.draw_without_rendering()  # lays out what is there, for the last time
    layout = figure.get_layout_engine()
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    for legend in figure.legends:  # else they would move down with the edge
        legend.set_bbox_to_anchor((0, 0, 1, 1), transform=figure.transFigure)
    letters = max(12, int((width - 2 * MARGIN) * 72 / (0.6 * FOOTER)))
    text = textwrap.fill(footer, letters)
    inches = (1.3 * FOOTER * len(text.splitlines())) / 72 + MARGIN
    inches = math.ceil(inches * figure.dpi) / figure.dpi  # whole pixels keep those above sharp
    look: dict[str, Any] = {"fontsize": FOOTER, "color": GREY, "va": "top", "gid": "footer"}
    below = figure.text(MARGIN / width, 0, text, **look)
    try:
        yield {"bbox_inches": Bbox([[0, -inches], [width, height]])}
    finally:
        below.remove()
        for legend in figure.legends:
            legend.set_bbox_to_anchor(None)
        figure.set_layout_engine(layout)


def kind_of(path: Path, allowed: Sequence[str]) -> str:
    """The format that a file's ending says, one of those allowed."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in allowed:
        endings = " or ".join(f".{each}" for each in allowed)
        raise ValueError(f"path = {str(path)!r}: must end in {endings}")
    return kind


def write(content: bytes, path: Path) -> None:
    """Write a file that is complete or not there."""
    with atomic(path) as temporary:
        temporary.write_bytes(content)
