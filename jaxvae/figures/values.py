"""Figures of examples that are no images: curves of signals, and rows of a table."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.style import LABEL, TICK, TITLE, WIDTH, plot_figure, style_axes, with_minus

Values = NDArray[np.float64]

PANELS = 20  # at most, of one channel
ROWS, CHANNELS = 10, 4  # at most, of panels of signals that have several channels
SCATTERED = 12  # columns of a table that are drawn at most
SINGLE = "tab:blue"  # lines that are all alike
ORIGINAL, DECODED = "0.25", "tab:orange"
# The brightest tenth of viridis is too light on white.
SEQUENTIAL = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
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
) -> Figure:
    """Panels of lines: signals over time, or rows of a table over its columns.

    One panel per entry of the first axis, and of signals with several channels one per channel.
    At most 20 panels are drawn, 10 of a signal with several channels, and 4 channels: the title
    then says so. What is NaN is a gap.

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

    Raises:
        ValueError: an argument has another shape, or `panels` hold infinite numbers.
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
    across = min(p, 1 if length > 8 else 2) if columns else min(p, 4)
    figure, axes = _grid(array.shape[::3], titles, across, 2.0 if columns else 1.2, title)
    shown = array[: len(axes)]
    for i, j in np.ndindex(axes.shape):
        for line, color in zip(shown[i, :, :, j], colors, strict=True):
            _line(axes[i, j], line, color, dots=bool(columns), faint=colored is None and k > 9)
    if ends is not None:
        both = _channels("ends", ends, ("p", "2", "length"))
        if both.shape != (p, 2, length, channels):
            expected = (p, 2, *np.shape(panels)[2:])
            raise ValueError(f"ends has shape {np.shape(ends)}: must be {expected}")
        for i, j in np.ndindex(axes.shape):
            for line, color in zip(both[i, :, :, j], (colors[0], colors[-1]), strict=True):
                _line(axes[i, j], line, color, style="--")
        dashed = Line2D([], [], color=ORIGINAL, linestyle="--", linewidth=1, label="original")
        _legend(figure, [dashed])
    if columns:
        _name_columns(axes[:, 0], columns, 0.88 * WIDTH / across, figure)
    else:
        figure.supxlabel("time step", fontsize=LABEL)
    figure.supylabel(ylabel, fontsize=LABEL)
    if colored is not None:
        mappable = ScalarMappable(norm, SEQUENTIAL)
        place = {"location": "top", "aspect": 60, "fraction": 0.05, "shrink": 0.6, "pad": 0.02}
        bar = figure.colorbar(mappable, ax=[*axes.ravel()], **place)
        bar.set_label(label, fontsize=LABEL)
        bar.ax.tick_params(labelsize=TICK)
        bar.outline.set_visible(False)  # type: ignore[operator]  # of a class that is not typed
    return figure


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
    x, decoded = _pair(originals, reconstructions, ("n", "length", "channels"))
    figure, axes = _grid(x.shape[::2], (), min(len(x), 4), 1.2, title)
    for i, j in np.ndindex(axes.shape):
        _line(axes[i, j], x[i, :, j], ORIGINAL)
        _line(axes[i, j], decoded[i, :, j], DECODED)
    named = ((ORIGINAL, "original"), (DECODED, "reconstruction"))
    _legend(figure, [Line2D([], [], color=c, linewidth=1.2, label=name) for c, name in named])
    figure.supxlabel("time step", fontsize=LABEL)
    figure.supylabel("value", fontsize=LABEL)
    return figure


def reconstruction_scatter(
    originals: ArrayLike,
    reconstructions: ArrayLike,
    columns: Sequence[str],
    title: str = "Reconstructions",
) -> Figure:
    """Rows of a table: reconstruction over original, one panel per column, with its R^2.

    R^2 is 1 - sum (x - reconstruction)^2 / sum (x - mean)^2 over the observed values, so 0 is what
    the column's mean would do, and less is worse. Of more than 12 columns 12 are drawn, evenly from
    the best R^2 to the worst, in the table's order; the title says so.

    Args:
        originals: (n, features); what is NaN was not observed, and is left out.
        reconstructions: same shape.
        columns: (features,), their names.
        title: what is shown.

    Raises:
        ValueError: an argument has another shape, or holds infinite numbers.
    """
    x, decoded = _pair(originals, reconstructions, ("n", "features"))
    features = x.shape[1]
    if len(columns) != features:
        raise ValueError(f"columns has length {len(columns)}: must be {features}, one per feature")
    r2 = np.array([_r2(x[:, i], decoded[:, i]) for i in range(features)])
    shown = np.arange(features)
    if features > SCATTERED:
        places = np.linspace(0, features - 1, SCATTERED).round().astype(int)
        shown = np.sort(np.argsort(-r2, kind="stable")[places])  # NaN, of constants, come last
        title += f" ({SCATTERED} of {features} columns, from the best R² to the worst)"
    across = min(4, len(shown))
    down = math.ceil(len(shown) / across)
    figure = plot_figure(max(3.2, WIDTH / 4 * across), 1.9 * down + 0.6)
    figure.suptitle(title, fontsize=TITLE + 1)
    every = figure.subplots(down, across, squeeze=False).ravel()
    for axes, i in zip(every, shown, strict=False):
        _scatter(axes, x[:, i], decoded[:, i], r2[i], _short(columns[i], NAME - 2))
    for axes in every[len(shown) :]:
        axes.remove()
    figure.supxlabel("original", fontsize=LABEL)
    figure.supylabel("reconstruction", fontsize=LABEL)
    return figure


def _scatter(axes: Axes, x: Values, decoded: Values, r2: float, name: str) -> None:
    """One column; both axes have the same limits, and the diagonal is where they are equal."""
    known = ~(np.isnan(x) | np.isnan(decoded))
    x, decoded = x[known], decoded[known]
    style_axes(axes, "", "", "")
    axes.set_title(name, fontsize=TICK, loc="center")
    low, high = 0.0, 1.0
    if len(x):
        low, high = min(x.min(), decoded.min()), max(x.max(), decoded.max())
    margin = 0.06 * (high - low) or 0.5 * abs(low) or 0.5
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.6", linewidth=0.8, zorder=1)
    size = float(np.clip(100 / np.sqrt(max(len(x), 1)), 2, 12))
    alpha = float(np.clip(4 / max(len(x), 1) ** 0.25, 0.25, 0.8))
    axes.scatter(x, decoded, s=size, alpha=alpha, linewidths=0, color=SINGLE)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    number = "none" if np.isnan(r2) else with_minus(f"{r2:.2f}")
    box = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    text = {"transform": axes.transAxes, "fontsize": TICK, "va": "top", "bbox": box}
    axes.text(0.04, 0.97, f"R² {number}", **text)
    _few_ticks(axes, 3)


def _r2(x: Values, decoded: Values) -> float:
    """NaN where nothing varies."""
    known = ~(np.isnan(x) | np.isnan(decoded))
    x, decoded = x[known], decoded[known]
    total = np.square(x - x.mean()).sum() if len(x) else 0.0
    return float(1 - np.square(x - decoded).sum() / total) if total > 0 else math.nan


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


def _pair(
    originals: ArrayLike, reconstructions: ArrayLike, layout: tuple[str, ...]
) -> tuple[Values, Values]:
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


def _check_finite(name: str, array: Values) -> None:
    if np.isinf(array).any():
        raise ValueError(f"{name} (shape {array.shape}) holds infinity: must be finite, or NaN")


def _grid(
    counts: tuple[int, ...], titles: Sequence[str], across: int, height: float, title: str
) -> tuple[Figure, NDArray[np.object_]]:
    """A figure, and its axes: (panels, channels), at most so many as there is room for.

    Panels of one channel are laid out row by row, `across` of them in each; those of several have
    a row each, with a column per channel. All of one channel share their scale.
    """
    panels, channels = counts
    several = channels > 1
    n, c = min(panels, ROWS if several else PANELS), min(channels, CHANNELS)
    across = c if several else across
    down = n if several else math.ceil(n / across)
    cut = [f"first {n} of {panels}"] * (n < panels)
    cut += [f"first {c} of {channels} channels"] * (c < channels)
    figure = plot_figure(WIDTH, height * down * (1.6 if down == 1 else 1) + 1.1)
    figure.suptitle(f"{title} ({', '.join(cut)})" if cut else title, fontsize=TITLE + 1)
    every = figure.subplots(
        down, across, squeeze=False, sharex=True, sharey="col" if several else True
    )
    axes = every if several else every.ravel()[:n, None]
    for i, j in np.ndindex(axes.shape):
        words = [*titles[i : i + 1]]
        words += [f"channel {j + 1}"] * (several and (i == 0 or bool(titles)))
        style_axes(axes[i, j], "", "", "")
        axes[i, j].set_title(", ".join(words), fontsize=TICK, loc="left")
        _few_ticks(axes[i, j], 4)
    for unused in range(n, every.size if not several else n):
        every.ravel()[unused].remove()
        every.ravel()[unused - across].tick_params(labelbottom=True)
    return figure, axes


def _few_ticks(axes: Axes, most: int) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10]))
        formatter = ScalarFormatter()
        formatter.set_powerlimits((-3, 4))
        axis.set_major_formatter(formatter)
        axis.get_offset_text().set_fontsize(TICK - 1)


def _line(
    axes: Axes, y: Values, color: object, style: str = "-", dots: bool = False, faint: bool = False
) -> None:
    """One line; of its points those are marked that no line would show, or all."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    marked = np.flatnonzero(~gap[1:-1] & (dots | (gap[:-2] & gap[2:])))
    look = {"linewidth": 0.7 if faint else 1.0, "alpha": 0.4 if faint else 1.0, "linestyle": style}
    axes.plot(y, color=color, marker=".", markersize=3, markevery=marked.tolist(), **look)


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    place = "outside lower center"
    figure.legend(handles=handles, loc=place, ncols=len(handles), fontsize=LABEL, frameon=False)


def _short(name: str, most: int) -> str:
    """Without the middle of a long name, whose beginning and end tell it from others."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def _name_columns(
    axes: NDArray[np.object_], names: Sequence[str], inches: float, figure: Figure
) -> None:
    """Names below axes of this width: level where they fit, else upright; of too many some."""
    short = [_short(name, NAME) for name in names]
    room = inches / len(names)
    level = CHARACTER * (max(map(len, short)) + 1) <= room
    step = 1 if level else math.ceil(LINE / room)
    for one in axes:
        one.set_xticks(range(0, len(names), step), short[::step], rotation=0 if level else 90)
        one.set_xlim(-0.5, len(names) - 0.5)
    suffix = "" if step == 1 else f" (of {len(names)}, one of {step} is named)"
    figure.supxlabel(f"column{suffix}", fontsize=LABEL)
