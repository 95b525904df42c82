"""What all figures share: sizes, colours, and the look of a plot's axes."""

import colorsys
import io
import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, ScalarFormatter

DPI = 150
WIDTH = 7.0  # inches: the text width of a page
PAD = 8  # points around what is drawn
SUBSCRIPTS = {ord("0") + i: ord("\N{SUBSCRIPT ZERO}") + i for i in range(10)}
TITLE, LABEL, TICK = 10, 9, 8  # font sizes in points
PALETTE = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colours that readers with any colour vision tell apart: Petroff 2021 (arXiv:2107.02270). Of
the figures and of the page of a run."""
SINGLE = PALETTE[0]  # of what is all alike
TRAINING, VALIDATION = PALETTE[0], PALETTE[6]
MARK = PALETTE[2]  # of the best
UNUSED = "0.75"
GOLDEN = 137.5 / 360  # turns between the hues of neighbours, where classes are many


class ShownFigure(Figure):
    """A figure that a notebook shows, whether pyplot is set up there or not."""

    def _repr_png_(self) -> bytes:
        return png(self)


def png(figure: Figure, **how: Any) -> bytes:
    """The PNG of a figure at its own resolution, with options of `Figure.savefig`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi, **how)
    return buffer.getvalue()


def plot_figure(width: float, height: float) -> Figure:
    """An empty figure (inches) whose layout keeps all text inside."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    return ShownFigure(figsize=(width, height), dpi=DPI, layout=layout)


def fit_canvas(figure: Figure, axes: Axes) -> None:
    """Enlarge a canvas that its only axes fill by what the texts around them take.

    Their size is known only once they are there. The axes keep theirs, in whole device pixels.
    """
    text = axes.get_tightbbox(FigureCanvasAgg(figure).get_renderer())
    assert text is not None  # it is for invisible axes only
    pad = PAD * figure.dpi / 72
    width, height = (round(side) for side in figure.bbox.size)
    left, bottom = math.ceil(pad - text.x0), math.ceil(pad - text.y0)
    right, top = math.ceil(text.x1 - width + pad), math.ceil(text.y1 - height + pad)
    total_width, total_height = left + width + right, bottom + height + top
    figure.set_size_inches(total_width / figure.dpi, total_height / figure.dpi)
    axes.set_position(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )


def style_axes(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Title, labels, a light grid behind the data, and no box."""
    axes.set_title(title, fontsize=TITLE, loc="left")
    axes.set_xlabel(xlabel, fontsize=LABEL)
    axes.set_ylabel(ylabel, fontsize=LABEL)
    axes.tick_params(which="both", labelsize=TICK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def few_ticks(axes: Axes, most: int) -> None:
    """At most so many intervals on either axis; very large and small numbers by a power of 10."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 4, 5, 10]))
        formatter = ScalarFormatter()
        formatter.set_powerlimits((-3, 4))
        axis.set_major_formatter(formatter)
        axis.get_offset_text().set_fontsize(TICK - 1)


def with_minus(text: str) -> str:
    """A number's text with the minus sign that tick labels have, not a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")


def shortened(name: str, most: int) -> str:
    """Without the middle of a long name, whose beginning and end tell it from others."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def latent_name(index: int) -> str:
    """z with a subscript, in Unicode: Matplotlib's own parser of $z_1$ fails in threads."""
    return "z" + str(index).translate(SUBSCRIPTS)


def class_color(index: int, count: int) -> str:
    """The colour of class `index` of `count`: of the palette, or hues a golden angle apart."""
    if count <= len(PALETTE):
        return PALETTE[index]
    rgb = colorsys.hls_to_rgb(index * GOLDEN % 1, 0.42 if index % 2 else 0.6, 0.6)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
