"""Members of a population beside each other: what they reach, by what they differ in."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from jaxvae.figures.style import LABEL, TICK, TITLE, class_color, plot_figure, style_axes

PANELS = 12  # at most; the table has all
COLUMNS = 3
TICKS = 6  # at most, on a logarithmic axis: each is a value that was swept
LOG_RATIO = 4  # largest / smallest value from which on an axis is logarithmic
TERMS = ("recon", "kl")
WIDTH = 32  # letters of a title, beyond which it goes on in another line


def sweep_curves(
    rows: Sequence[Mapping[str, float]], by: Sequence[str], title: str = "Study"
) -> Figure:
    """Reconstruction against KL, and each measure by the first field in `by`; points are members.

    A line joins the means over seeds, one line for each setting of the other fields. Without a KL
    there is no first panel. Standard errors (`NAME_se`), losses of different weights, what is in no
    row and what a group has the same of all members, such as its number of draws, are not drawn.

    Args:
        rows: of each member its fields, `recon` and `kl` in nats, and other measures by name.
        by: fields in which members differ, seeds aside.
        title: what is shown.

    Raises:
        ValueError: no member has a measure.
    """
    drawn = [row for row in rows if "recon" in row]
    if not drawn:
        raise ValueError("rows: no member has a measure")
    names = dict.fromkeys(name for row in drawn for name in row)
    ignored = {"member", "seed", "loss", *by}
    measures = [n for n in names if n not in ignored and not n.endswith("_se")]
    measures = [n for n in measures if "." not in n or _differs(drawn, n)]
    panels: list[str | None] = [*measures]
    if any(row.get("kl", 0) for row in drawn):
        panels = [None, *measures]
    panels = panels[:PANELS]
    columns = min(COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = plot_figure(2.9 * columns, 2.4 * lines + 0.6)
    figure.suptitle(title, fontsize=TITLE + 1)
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, measure in zip(every, panels, strict=False):
        if measure is None:
            style_axes(axes, "Rate and distortion", "KL (nats)", "reconstruction (nats)")
            _draw(axes, drawn, by[1:], "kl", "recon", by[0])
            continue
        unit = "nats" if measure in TERMS else ""
        alone = sum(_short(other) == _short(measure) for other in names) == 1
        shown = _short(measure) if alone else measure.replace("_", " ")
        name = textwrap.fill(shown, WIDTH)
        style_axes(axes, name, _short(by[0]), unit)
        _draw(axes, drawn, by[1:], by[0], measure, by[0])
        x = np.array([row[by[0]] for row in drawn], float)
        if x.min() > 0 and x.max() >= LOG_RATIO * x.min():
            axes.set_xscale("log")
            values = np.unique(x)
            ticks = values[:: math.ceil(len(values) / TICKS)]
            axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
    for axes in every[len(panels) :]:
        axes.remove()
    handles, labels = every[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=4, fontsize=LABEL, frameon=False
        )
    return figure


def _differs(rows: Sequence[Mapping[str, float]], name: str) -> bool:
    """Whether a measure is not the same of all members; of one member alone it is shown."""
    return len(rows) == 1 or len({row[name] for row in rows if name in row}) > 1


def _draw(
    axes: Axes,
    rows: Sequence[Mapping[str, float]],
    others: Sequence[str],
    x: str,
    y: str,
    field: str,
) -> None:
    """Points of members, and lines through their means by `field`, one for each setting of
    others."""
    known = [row for row in rows if x in row and y in row]
    settings = list(dict.fromkeys(tuple(row[name] for name in others) for row in rows))
    for i, setting in enumerate(settings):
        own = [row for row in known if tuple(row[name] for name in others) == setting]
        color = class_color(i, len(settings))
        values = sorted({row[field] for row in own})
        at = [[r for r in own if r[field] == value] for value in values]
        means = [[float(np.mean([r[name] for r in part])) for part in at] for name in (x, y)]
        label = ", ".join(f"{_short(n)} {v:g}" for n, v in zip(others, setting, strict=True))
        axes.plot(*means, color=color, linewidth=1.2, label=label)
        axes.plot([r[x] for r in own], [r[y] for r in own], "o", color=color, markersize=3)
        if x == field:
            continue
        for value, where in zip(values, zip(*means, strict=True), strict=True):
            axes.annotate(
                f"{value:g}", where, (3, 3), textcoords="offset points", fontsize=TICK - 1
            )


def _short(name: str) -> str:
    """objective.beta: beta."""
    return name.rpartition(".")[2].replace("_", " ")
