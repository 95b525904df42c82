"""The course of a training run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from jaxvae.figures.style import (
    LABEL,
    TICK,
    TITLE,
    class_color,
    plot_figure,
    style_axes,
    with_minus,
)

TERMS = {"loss": "Loss", "recon": "Reconstruction", "kl": "KL divergence"}
COLUMNS = (
    "epoch",
    *(f"{split}_{term}" for split in ("train", "val") for term in TERMS),
    "learning_rate",
)
MARKED = 20  # up to this many epochs are drawn with markers
LOG_RATIO = 4  # largest / smallest value from which on an axis is logarithmic


def training_curves(
    rows: Sequence[Mapping[str, Any]] | Mapping[str, ArrayLike], title: str = "Training"
) -> Figure:
    """Loss, reconstruction and KL of training and validation by epoch, and the learning rate.

    The KL is left out where it is always 0 (an autoencoder), the learning rate where it never
    changes. The epoch of the lowest validation loss is marked.

    Args:
        rows: one mapping per epoch, or a mapping from column to values of shape (epochs,), with
            epoch, train_loss, train_recon, train_kl, val_loss, val_recon, val_kl (nats per image)
            and learning_rate. Numbers may be strings, as read from a CSV file; further columns are
            ignored; values that are not finite leave a hole.
        title: what is shown.

    Raises:
        ValueError: there is no epoch, a column is missing, is no vector of numbers, or differs in
            length from `epoch`.
    """
    table = _table(rows)
    epoch = table["epoch"]
    terms = [t for t in TERMS if t != "kl" or table["train_kl"].any() or table["val_kl"].any()]
    rate = table["learning_rate"]
    panels = len(terms) + bool(np.ptp(rate) > 0)
    shape = (2, 2) if panels == 4 else (1, panels)
    figure = plot_figure(2.9 * shape[1], 2.4 * shape[0] + 0.6)
    figure.suptitle(title, fontsize=TITLE + 1)
    all_axes = figure.subplots(*shape, squeeze=False).ravel()
    val_loss = table["val_loss"]
    finite = np.isfinite(val_loss)
    best = int(np.where(finite, val_loss, np.inf).argmin()) if finite.any() else None
    for axes, term in zip(all_axes, terms, strict=False):
        style_axes(axes, TERMS[term], "epoch", "nats per image")
        for split, name, color in (
            ("train", "training", "tab:blue"),
            ("val", "validation", "tab:orange"),
        ):
            _draw(axes, epoch, table[f"{split}_{term}"], color, name)
        if term != "kl":  # it rises from about 0
            _scale(axes, np.concatenate([table[f"train_{term}"], table[f"val_{term}"]]))
    if panels > len(terms):
        style_axes(all_axes[-1], "Learning rate", "epoch", "")
        _draw(all_axes[-1], epoch, rate, "0.3", "learning rate")
        _scale(all_axes[-1], rate)
    for axes in all_axes:
        if axes.get_yscale() == "linear":
            axes.yaxis.set_major_locator(MaxNLocator(5))
        if len(epoch) == 1:
            axes.set_xticks(epoch)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
        if best is not None:
            axes.axvline(epoch[best], color="0.5", linewidth=0.8, linestyle=":", zorder=1)
    if best is not None:
        value = f"{val_loss[best]:#.5g}".rstrip(".")
        all_axes[0].plot(
            epoch[best],
            val_loss[best],
            "*",
            color="tab:red",
            markersize=8,
            zorder=3,
            label=f"lowest validation loss: {with_minus(value)} (epoch {epoch[best]:.0f})",
        )
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, fontsize=LABEL, frameon=False
    )
    return figure


def validation_curves(
    curves: Sequence[tuple[str, ArrayLike, ArrayLike]], title: str = "Validation loss"
) -> Figure:
    """The validation loss of several runs by epoch; the lowest of each is marked.

    Args:
        curves: (name, epochs, losses) per run, vectors of equal length, losses in nats per image.
            Runs of one name have one colour and one entry in the legend.
        title: what is shown.

    Raises:
        ValueError: no run has an epoch.
    """
    drawn = [(name, np.asarray(x), np.asarray(y)) for name, x, y in curves if np.size(x)]
    if not drawn:
        raise ValueError("curves: no run has an epoch")
    names = list(dict.fromkeys(name for name, _, _ in curves))
    width = 5.8
    entry = 0.5 + 0.075 * max(map(len, names))  # inches in the legend
    columns = min(5, max(1, int(width / entry)))
    figure = plot_figure(width, 3.4 + 0.17 * math.ceil(len(names) / columns))
    axes = figure.subplots()
    style_axes(axes, title, "epoch", "nats per image")
    for name, epoch, loss in drawn:
        color = class_color(names.index(name), len(names))
        axes.plot(epoch, loss, color=color, linewidth=1.1, label=name)
        best = int(loss.argmin())
        axes.plot(epoch[best], loss[best], "o", color=color, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _scale(axes, np.concatenate([loss for _, _, loss in drawn]))
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        fontsize=TICK,
        frameon=False,
    )
    return figure


def _table(
    rows: Sequence[Mapping[str, Any]] | Mapping[str, ArrayLike],
) -> dict[str, NDArray[np.float64]]:
    """The columns that are drawn, each of shape (epochs,)."""
    table: dict[str, NDArray[np.float64]] = {}
    for name in COLUMNS:
        try:
            values = rows[name] if isinstance(rows, Mapping) else [row[name] for row in rows]
        except KeyError:
            raise ValueError(f"rows lacks the column {name!r}") from None
        try:
            table[name] = np.asarray(values, np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"rows: the column {name!r} does not hold numbers") from None
        shape = table["epoch"].shape
        if len(shape) != 1 or shape[0] == 0 or table[name].shape != shape:
            raise ValueError(
                f"rows: the column {name!r} has shape {table[name].shape}: must be (epochs,) with"
                f" at least one epoch, and the same for all (that of 'epoch' is {shape})"
            )
    return table


def _draw(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], color: str, label: str
) -> None:
    marker = "o" if len(x) <= MARKED else ""
    axes.plot(x, y, color=color, linewidth=1.3, marker=marker, markersize=3, label=label)


def _scale(axes: Axes, values: NDArray[np.float64]) -> None:
    """A logarithmic axis where the values are positive and differ by a factor of 4 or more."""
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() >= LOG_RATIO * values.min():
        axes.set_yscale("log")
        axes.set_ylabel(f"{axes.get_ylabel()} (log)".strip())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
