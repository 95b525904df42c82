"""Where the codes of images lie in the latent space."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.style import (
    DPI,
    SINGLE,
    TICK,
    UNUSED,
    WIDTH,
    ShownFigure,
    class_color,
    fit_canvas,
    latent_name,
    plot_figure,
    style_axes,
)

SIDE = 4.4  # inches of a scatter plot
PRIOR = "0.25"
RASTERIZED = 2000  # points from which on they are pixels in a vector file, at 300 per inch
BARS = 28  # latents that are named, at most


def _check_codes(codes: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(codes)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(f"codes has shape {array.shape}: must be (n, latents), none of them 0")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"codes (shape {array.shape}) holds NaN or infinity: must be finite")
    return array


def pca(codes: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal component analysis: eigenvectors of the covariance of the centred codes.

    Args:
        codes: (n, d).

    Returns:
        The codes in the basis of the k = min(n, d) components, (n, k), by falling variance, and the
        fraction of the total variance along each, (k,) (zeros where all codes are equal). Of each
        component's two signs, the one that makes its largest entry positive.

    Raises:
        ValueError: `codes` is not a finite, non-empty (n, d) array.
    """
    array = _check_codes(codes)
    centred = array - array.mean(0)
    n, d = centred.shape
    if n > d:  # cheaper than the singular values of a tall matrix
        _, basis = np.linalg.eigh(centred.T @ centred)
        components = basis.T[::-1]
    else:
        components = np.linalg.svd(centred, full_matrices=False)[2]
    largest = np.abs(components).argmax(1)
    signs = np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)
    projected = centred @ (components.T * signs)
    variance = np.square(projected).sum(0)
    total = variance.sum()
    return projected, variance / total if total > 0 else np.zeros_like(variance)


def latent_scatter(
    codes: ArrayLike,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    prior: bool = False,
) -> Figure:
    """Codes by class: a histogram for one latent, a scatter plot for two, and for more a scatter
    plot of the first two principal components.

    Args:
        codes: (n, latents).
        labels: (n,), integers from 0 on; None draws all codes alike.
        classes: the classes' names, indexed by the labels; None shows the labels themselves.
        title: what is shown; None states it.
        prior: whether to draw where N(0, I) has one and two standard deviations; of two latents.

    Raises:
        ValueError: an argument has another shape, `codes` are not finite, or `labels` are no
            integers, negative, or beyond `classes`.
    """
    array = _check_codes(codes)
    n, d = array.shape
    names, colors = _legend(labels, classes, n)
    label = np.zeros(n, np.intp) if labels is None else np.asarray(labels)
    title = title or f"Codes of {n:,} image{'s' if n > 1 else ''}"
    if d == 1:
        return _histograms(array[:, 0], label, names, colors, title)
    if d == 2:
        xlabel, ylabel = latent_name(1), latent_name(2)
    else:
        array, ratio = pca(array)
        if array.shape[1] == 1:  # a single code
            array, ratio = np.pad(array, ((0, 0), (0, 1))), np.pad(ratio, (0, 1))
        xlabel, ylabel = (f"PC {i + 1} ({100 * ratio[i]:.0f} % of variance)" for i in (0, 1))
    figure = ShownFigure(figsize=(SIDE, SIDE), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    style_axes(axes, title, xlabel, ylabel)
    # In random order: drawn class by class, the last would cover the others.
    order = np.random.default_rng(0).permutation(n)
    axes.scatter(
        array[order, 0],
        array[order, 1],
        c=[colors[i] for i in label[order]],
        s=float(np.clip(300 / np.sqrt(n), 1.5, 20)),
        alpha=float(np.clip(4 / n**0.25, 0.25, 0.9)),
        linewidths=0,
        rasterized=n > RASTERIZED,
    )
    handles = [_point(name, colors[i]) for i, name in names.items()] if labels is not None else []
    reached = array[:, :2]
    if prior and d == 2:
        look: dict[str, Any] = {"fill": False, "edgecolor": PRIOR, "linewidth": 0.9}
        for radius, style in ((1, "-"), (2, "--")):
            axes.add_patch(Circle((0, 0), radius, linestyle=style, zorder=3, **look))
        look = {"color": PRIOR, "linewidth": 0.9}
        handles += [Line2D([], [], label="prior, 1 std", **look)]
        handles += [Line2D([], [], label="prior, 2 std", linestyle="--", **look)]
        reached = np.concatenate([reached, [[-2, -2], [2, 2]]])
    # The axes are square, so limits of the same extent show distances true.
    x, y = (reached.min(0) + reached.max(0)) / 2
    half = 0.54 * _extent(reached)
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y - half, y + half)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if handles:
        axes.legend(
            handles=handles,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            fontsize=TICK,
            frameon=False,
            ncols=math.ceil(len(handles) / 20),
            handletextpad=0.2,
        )
    fit_canvas(figure, axes)
    return figure


def kl_bars(kl: ArrayLike, used: ArrayLike, title: str = "KL by latent") -> Figure:
    """A bar per latent, the largest KL first; those that are not used are grey.

    Args:
        kl: (latents,), nats, means over examples.
        used: (latents,), whether each says anything about the examples.
        title: what is shown; the sum and how many are used are added.

    Raises:
        ValueError: an argument has another shape.
    """
    values, active = np.asarray(kl, np.float64), np.asarray(used, bool)
    if values.ndim != 1 or not values.size or active.shape != values.shape:
        shapes = f"{values.shape} and {active.shape}"
        raise ValueError(f"kl and used have shapes {shapes}: must both be (latents,), not (0,)")
    order, count = np.argsort(-values, kind="stable"), len(values)
    figure = plot_figure(float(np.clip(0.28 * count + 1.2, 4.4, WIDTH)), 2.8)
    axes = figure.add_subplot()
    title = f"{title}: {values.sum():.1f} nats, {active.sum()} of {count} used"
    style_axes(axes, title, "latent", "nats")
    colors = [SINGLE if active[i] else UNUSED for i in order]
    axes.bar(np.arange(count), values[order], color=colors, width=0.75)
    step = math.ceil(count / BARS)
    at = np.arange(0, count, step)
    axes.set_xticks(at, [latent_name(int(i) + 1) for i in order[at]])
    axes.set_xlim(-0.7, count - 0.3)
    axes.grid(visible=False, axis="x")
    if step > 1:
        axes.set_xlabel(f"latent (one of {step} is named)")
    if not active.all():
        look: dict[str, Any] = {"ncols": 2, "fontsize": TICK, "frameon": False}
        handles = [Patch(color=c, label=n) for c, n in ((SINGLE, "used"), (UNUSED, "unused"))]
        axes.legend(handles=handles, loc="upper right", **look)
    return figure


def _point(name: str, color: str) -> Line2D:
    """What stands for a class in a legend."""
    return Line2D([], [], color=color, label=name, marker="o", markersize=4, linestyle="")


def _extent(values: NDArray[np.float64]) -> float:
    """The widest range of a column of (n, k) values; 1 where rounding alone parts them."""
    extent = float(np.ptp(values, axis=0).max())
    return extent if extent > 1e-9 * np.abs(values).max() else 1.0


def _legend(
    labels: ArrayLike | None, classes: Sequence[str] | None, n: int
) -> tuple[dict[int, str], dict[int, str]]:
    """The names and colours of the classes that occur, by label; 0 alone without labels."""
    if labels is None:
        return {0: ""}, {0: SINGLE}
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"labels has shape {array.shape}: must be ({n},), one per code")
    if array.dtype.kind not in "iu":
        raise ValueError(f"labels has dtype {array.dtype}: must be integers")
    count = int(array.max()) + 1 if classes is None else len(classes)
    if array.min() < 0 or array.max() >= count:
        raise ValueError(
            f"labels lie in {array.min()}..{array.max()}: must be "
            + ("at least 0" if classes is None else f"in 0..{count - 1}, one per class")
        )
    present = np.unique(array).tolist()
    names = {i: str(i) if classes is None else str(classes[i]) for i in present}
    return names, {i: class_color(i, count) for i in present}


def _histograms(
    values: NDArray[np.float64],
    label: NDArray[np.intp],
    names: dict[int, str],
    colors: dict[int, str],
    title: str,
) -> Figure:
    """One histogram per class, on a line of its own; all share their bins and their scale."""
    bins = int(np.clip(np.sqrt(len(values)), 10, 60))
    low = values.min()
    edges = np.linspace(low, max(low + _extent(values[:, None]), values.max()), bins + 1)
    counts = {i: np.histogram(values[label == i], edges)[0] for i in names}
    highest = max(c.max() for c in counts.values())
    single = list(names.values()) == [""]
    figure = plot_figure(6.0, 3.0 if single else 1.2 + 0.4 * len(names))
    axes = figure.add_subplot()
    style_axes(axes, title, latent_name(1), "number of codes" if single else "")
    scale = 1 if single else 0.9 / highest
    for row, i in enumerate(reversed(names)):
        axes.stairs(counts[i] * scale + row, edges, baseline=row, fill=True, color=colors[i])
    axes.set_ylim(0, None)
    if not single:
        axes.grid(visible=False, axis="y")
        axes.hlines(range(len(names)), *edges[[0, -1]], color="0.8", linewidth=0.6, zorder=0)
        axes.set_yticks(np.arange(len(names)) + 0.3, list(names.values())[::-1])
        axes.tick_params(axis="y", length=0)
    return figure
