"""Rows of a table against their reconstructions."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxvae.figures.style import (
    LABEL,
    SINGLE,
    TICK,
    TITLE,
    WIDTH,
    few_ticks,
    plot_figure,
    shortened,
    style_axes,
    with_minus,
)
from jaxvae.figures.values import Values, check_pair

SCATTERED = 12  # columns that are drawn at most
TITLED = 18  # characters of a column's name


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
    x, decoded = check_pair(originals, reconstructions, ("n", "features"))
    features = x.shape[1]
    if len(columns) != features:
        raise ValueError(f"columns has length {len(columns)}: must be {features}, one per feature")
    r2 = np.array([_r2(x[:, i], decoded[:, i]) for i in range(features)])
    shown = np.arange(features)
    if features > SCATTERED:
        places = np.linspace(0, features - 1, SCATTERED).round().astype(int)
        shown = np.sort(np.argsort(-r2, kind="stable")[places])  # NaN, of constants, come last
        title += f" ({SCATTERED} of {features} columns, from the best R² to the worst)"
    down = math.ceil(len(shown) / 4)
    across = math.ceil(len(shown) / down)
    figure = plot_figure(max(3.2, WIDTH / 4 * across), 1.9 * down + 0.6)
    figure.suptitle(title, fontsize=TITLE + 1)
    every = figure.subplots(down, across, squeeze=False).ravel()
    for axes, i in zip(every, shown, strict=False):
        _scatter(axes, x[:, i], decoded[:, i], r2[i], shortened(columns[int(i)], TITLED))
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
    text: dict[str, Any] = {"transform": axes.transAxes, "fontsize": TICK, "va": "top", "bbox": box}
    axes.text(0.04, 0.97, f"R² {number}", **text)
    few_ticks(axes, 3)


def _r2(x: Values, decoded: Values) -> float:
    """NaN where nothing varies."""
    known = ~(np.isnan(x) | np.isnan(decoded))
    x, decoded = x[known], decoded[known]
    total = np.square(x - x.mean()).sum() if len(x) else 0.0
    return float(1 - np.square(x - decoded).sum() / total) if total > 0 else math.nan
