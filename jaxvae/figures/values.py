"""Lines: signals over time, and rows of a table over its columns."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.style import (
    LABEL,
    SINGLE,
    TICK,
    TITLE,
    VALIDATION,
    WIDTH,
    few_ticks,
    plot_figure,
    shortened,
    style_axes,
)

Values = NDArray[np.float64]
Grid = Any
"""An array (panels, channels) of axes, which NumPy's types cannot say."""

PANELS, ROWS, CHANNELS = 20, 10, 4  # at most, of a figure
ORIGINAL, DECODED = "0.25", VALIDATION
# The brightest tenth of viridis is too light on white.
SEQUENTIAL = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
DOTTED = 100  # columns from which on their values are not marked
NAME = 24  # characters of a column's name
CHARACTER, LINE = 0.075, 0.15  # inches that a character and a line of TICK size take at most


def lines(
    panels: ArrayLike,
    titles: Sequence[str] = (),
    colored: tuple[ArrayLike, str] | None = None,
    columns: Sequence[str] = (),
    ends: ArrayLike | None = None,
    ylabel: str = "value",
    title: str = "Samples from the prior",
    base: ArrayLike | None = None,
) -> Figure:
    """Panels of lines: signals over time, or rows of a table over its columns.

    One panel per entry of the first axis, and of signals with several channels one per channel.
    At most 20 panels, in 10 rows, and 4 channels are drawn: the title then says so. What is NaN is
    a gap.

    Args:
        panels: (p, k, length) or (p, k, length, channels); k lines in a panel.
        titles: (p,), one per panel.
        colored: (k,), by which lines are coloured, and what these numbers are.
        columns: (length,), the names of a table's columns; without them the lines are signals.
        ends: (p, 2, length[, channels]), drawn dashed, in the colours of the first and the last
            line.
        ylabel: what the values are, with their unit. Columns of different units should come in
            standard deviations.
        title: what is shown.
        base: (length[, channels]), drawn dashed in every panel: the same, unchanged.

    Raises:
        ValueError: an argument has another shape or holds infinite numbers.
    """
    array = _channels("panels", panels, ("p", "k", "length"))
    p, k, length, channels = array.shape
    if len(titles) not in (0, p):
        raise ValueError(f"titles has length {len(titles)}: must be {p}, one per panel")
    if len(columns) not in (0, length):
        raise ValueError(f"columns has length {len(columns)}: must be {length}, one per value")
    values, label = (np.arange(k), "") if colored is None else colored
    values = np.asarray(values, np.float64)
    if values.shape != (k,):
        raise ValueError(f"colored has shape {values.shape}: must be ({k},), one per line")
    norm = Normalize(values.min(), values.max())
    colors = [SINGLE] * k if colored is None else [*SEQUENTIAL(norm(values))]
    across = (1 if length > 12 else 2) if columns else 4 if colored is None else 3
    figure, axes = _grid(array.shape[::3], across, "column" if columns else "time step", title)
    _name_panels(axes, titles)
    shown, dots = array[: len(axes)], len(columns) in range(1, DOTTED)
    for i, j in np.ndindex(axes.shape):
        for line, color in zip(shown[i, :, :, j], colors, strict=True):
            _line(axes[i, j], line, color, dots=dots, faint=colored is None and k > 9)
    if ends is not None:
        both = _channels("ends", ends, ("p", "2", "length"))
        if both.shape != (p, 2, length, channels):
            expected = (p, 2, *np.shape(panels)[2:])
            raise ValueError(f"ends has shape {np.shape(ends)}: must be {expected}")
        for i, j in np.ndindex(axes.shape):
            for line, color in zip(both[i, :, :, j], (colors[0], colors[-1]), strict=True):
                _line(axes[i, j], line, color, style="--")
        _legend(figure, [_dashed("original")])
    if base is not None:
        _draw_base(figure, axes, base, np.shape(panels)[2:])
    if columns:
        _name_columns(axes[:, 0], columns, 0.88 * WIDTH / min(p, across))
    figure.supylabel(ylabel, fontsize=LABEL, multialignment="center")
    if colored is not None:
        _colorbar(figure, axes, norm, label)
    return figure


def _draw_base(figure: Figure, axes: Grid, base: ArrayLike, shape: tuple[int, ...]) -> None:
    """One line in all panels, beneath what varies."""
    same = np.asarray(base, np.float64)
    if same.shape != shape:
        raise ValueError(f"base has shape {same.shape}: must be {shape}")
    same = same.reshape(shape[0], -1)
    for i, j in np.ndindex(axes.shape):
        _line(axes[i, j], same[:, j], ORIGINAL, style="--")
    _legend(figure, [_dashed("unchanged")])


def _dashed(name: str) -> Line2D:
    return Line2D([], [], color=ORIGINAL, linestyle="--", linewidth=1, label=name)


def reconstruction_lines(
    originals: ArrayLike, reconstructions: ArrayLike, title: str = "Reconstructions"
) -> Figure:
    """Signals and their reconstructions, one panel per signal and channel; at most as in `lines`.

    Args:
        originals: (n, length, channels); what is NaN was not observed, and is a gap.
        reconstructions: same shape.
        title: what is shown.

    Raises:
        ValueError: an argument has another shape, or holds infinite numbers.
    """
    x, decoded = check_pair(originals, reconstructions, ("n", "length", "channels"))
    figure, axes = _grid(x.shape[::2], 4, "time step", title)
    _name_panels(axes, ())
    for i, j in np.ndindex(axes.shape):
        _line(axes[i, j], x[i, :, j], ORIGINAL)
        _line(axes[i, j], decoded[i, :, j], DECODED)
    named = ((ORIGINAL, "original"), (DECODED, "reconstruction"))
    _legend(figure, [Line2D([], [], color=c, linewidth=1.2, label=name) for c, name in named])
    figure.supylabel("value", fontsize=LABEL)
    return figure


def check_pair(
    originals: ArrayLike, reconstructions: ArrayLike, layout: tuple[str, ...]
) -> tuple[Values, Values]:
    """Both, as the figures draw them: of this layout and of one shape, finite or NaN."""
    x, decoded = np.asarray(originals, np.float64), np.asarray(reconstructions, np.float64)
    if x.ndim != len(layout) or 0 in x.shape:
        layouts = ", ".join(layout)
        raise ValueError(f"originals has shape {x.shape}: must be ({layouts}), none of them 0")
    if decoded.shape != x.shape:
        raise ValueError(
            f"reconstructions has shape {decoded.shape}: must be that of originals {x.shape}"
        )
    _check_finite("originals", x)
    _check_finite("reconstructions", decoded)
    return x, decoded


def _channels(name: str, array: ArrayLike, layout: tuple[str, ...]) -> Values:
    """With a last axis of channels, one where there is none."""
    found = np.asarray(array, np.float64)
    if found.ndim == len(layout):
        found = found[..., None]
    if found.ndim != len(layout) + 1 or 0 in found.shape:
        layouts = ", ".join(layout)
        raise ValueError(
            f"{name} has shape {np.shape(array)}: must be ({layouts}) or ({layouts}, channels),"
            " none of them 0"
        )
    _check_finite(name, found)
    return found


def _check_finite(name: str, array: Values) -> None:
    if np.isinf(array).any():
        raise ValueError(f"{name} (shape {array.shape}) holds infinity: must be finite, or NaN")


def _grid(counts: tuple[int, ...], across: int, xlabel: str, title: str) -> tuple[Figure, Grid]:
    """A figure, and its axes: (panels, channels), at most so many as there is room for.

    Panels of one channel are laid out row by row, at most `across` in each; those of several have a
    row each, with a column per channel. All of one channel share their scale.
    """
    panels, channels = counts
    c = min(channels, CHANNELS)
    n = min(panels, PANELS, ROWS * (across if channels == 1 else 1))
    down = math.ceil(n / across) if channels == 1 else n
    across = math.ceil(n / down) if channels == 1 else c
    cut = [f"first {n} of {panels}"] * (n < panels)
    cut += [f"first {c} of {channels} channels"] * (c < channels)
    height = {1: 2.4, 2: 1.6, 3: 1.4}.get(down, 1.2 if down <= 5 else 1.05)
    figure = plot_figure(WIDTH, height * down + 1.1)
    figure.suptitle(f"{title} ({', '.join(cut)})" if cut else title, fontsize=TITLE + 1)
    sharey: Literal["all", "col"] = "all" if channels == 1 else "col"
    every = figure.subplots(down, across, squeeze=False, sharex=True, sharey=sharey).ravel()
    for i, axes in enumerate(every[: n * c]):
        style_axes(axes, "", "", "")
        few_ticks(axes, 4)
        if i + across >= n * c:  # nothing is below
            axes.set_xlabel(xlabel, fontsize=LABEL)
            axes.tick_params(labelbottom=True)
    for axes in every[n * c :]:
        axes.remove()
    return figure, every[: n * c].reshape(n, c)


def _name_panels(axes: Grid, titles: Sequence[str]) -> None:
    """What each panel shows; of channels without further titles only the first ones."""
    several = axes.shape[1] > 1
    for i, j in np.ndindex(axes.shape):
        words = [*titles[i : i + 1]]
        words += [f"channel {j + 1}"] * (several and (i == 0 or bool(titles)))
        axes[i, j].set_title(", ".join(words), fontsize=TICK, loc="left")


def _line(
    axes: Axes, y: Values, color: Any, style: str = "-", dots: bool = False, faint: bool = False
) -> None:
    """One line; of its points those are marked that no line would show, or all."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    marked = np.flatnonzero(~gap[1:-1] & (dots | (gap[:-2] & gap[2:])))
    look: dict[str, Any] = {
        "linewidth": 0.7 if faint else 1.0,
        "alpha": 0.4 if faint else 1.0,
        "linestyle": style,
    }
    axes.plot(y, color=color, marker=".", markersize=3, markevery=marked.tolist(), **look)


def _colorbar(figure: Figure, axes: Grid, norm: Normalize, label: str) -> None:
    """Above the panels, which keep their height."""
    figure.set_figheight(figure.get_figheight() + 0.6)
    place: dict[str, Any] = {"location": "top", "aspect": 60, "fraction": 0.05, "pad": 0.03}
    mappable = ScalarMappable(norm, SEQUENTIAL)
    bar = figure.colorbar(mappable, ax=[*axes.ravel()], shrink=0.6, **place)
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=TICK)
    bar.outline.set_visible(False)  # type: ignore[operator]  # of a class that is not typed


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    look: dict[str, Any] = {"ncols": len(handles), "fontsize": LABEL, "frameon": False}
    figure.legend(handles=handles, loc="outside lower center", **look)


def _name_columns(axes: Grid, names: Sequence[str], inches: float) -> None:
    """Names below axes of this width: level where they fit, else upright; of too many some."""
    short = [shortened(name, NAME) for name in names]
    room = inches / len(names)
    longest = max(map(len, short))
    level = CHARACTER * (longest + 1) <= room
    step = 1 if level else math.ceil(LINE / room)
    for one in axes:
        one.set_xticks(range(0, len(names), step), short[::step], rotation=0 if level else 90)
        one.set_xlim(-0.5, len(names) - 0.5)
        if step > 1 and one.get_xlabel():
            one.set_xlabel(f"column ({len(names)}; one of {step} is named)")
    if not level:  # the room for them is not taken from the panels
        figure = axes[0].figure
        figure.set_figheight(figure.get_figheight() + 0.06 * longest)
