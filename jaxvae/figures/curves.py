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
    MARK,
    TICK,
    TITLE,
    TRAINING,
    VALIDATION,
    class_color,
    plot_figure,
    style_axes,
    with_minus,
)

TERMS = {"loss": "Loss", "recon": "Reconstruction", "kl": "KL divergence"}
UNDRAWN = ("mse",)  # what is logged beside the terms of the loss
SPLITS = {"train": ("training", TRAINING), "val": ("validation", VALIDATION)}
ACROSS = 3  # panels beside each other, at most
COLUMNS = (
    "epoch",
    *(f"{split}_{term}" for split in ("train", "val") for term in TERMS),
    "learning_rate",
)
MARKED = 20  # up to this many epochs are drawn with markers
LOG_RATIO = 4  # largest / smallest value from which on an axis is logarithmic
FEW = 12  # values of which none is left outside
SPIKE = 3  # ranges of most values (a tenth left out), by how much the whole range is larger


def training_curves(
    rows: Sequence[Mapping[str, Any]] | Mapping[str, ArrayLike], title: str = "Training"
) -> Figure:
    """Loss, its terms in training and validation by epoch, and the learning rate.

    A term is left out where it is always 0 (the KL of an autoencoder), the learning rate where it
    never changes. The epoch of the lowest validation loss is marked. Where a few values stand far
    above all others, as those of the first epoch may, the panel ends below them and says so.

    Args:
        rows: one mapping per epoch, or a mapping from column to values of shape (epochs,), with
            epoch, train_loss, train_recon, train_kl, val_loss, val_recon, val_kl (nats per image)
            and learning_rate; a variant's further terms as train_NAME and val_NAME, either or both.
            Numbers may be strings, as read from a CSV file; other columns are ignored; values that
            are not finite leave a hole.
        title: what is shown.

    Raises:
        ValueError: there is no epoch, a column is missing, is no vector of numbers, or differs in
            length from `epoch`.
    """
    table = _table(rows)
    epoch = table["epoch"]
    terms = {t: [n for n in (f"train_{t}", f"val_{t}") if n in table] for t in _terms(table)}
    rate = table["learning_rate"]
    panels = len(terms) + bool(np.ptp(rate) > 0)
    across = 2 if panels == 4 else min(panels, ACROSS)
    shape = math.ceil(panels / across), across
    figure = plot_figure(2.9 * shape[1], 2.4 * shape[0] + 0.6)
    figure.suptitle(title, fontsize=TITLE + 1)
    all_axes = figure.subplots(*shape, squeeze=False).ravel()
    val_loss = table["val_loss"]
    finite = np.isfinite(val_loss)
    best = int(np.where(finite, val_loss, np.inf).argmin()) if finite.any() else None
    for axes, (term, columns) in zip(all_axes, terms.items(), strict=False):
        unit = "nats per image" if term in TERMS else ""  # a variant may add others
        style_axes(axes, TERMS.get(term, term.replace("_", " ")), "epoch", unit)
        for column in columns:
            name, color = SPLITS[column.partition("_")[0]]
            _draw(axes, epoch, table[column], color, name)
        values = [table[column] for column in columns]
        if not _limit(axes, values) and term != "kl":  # it rises from about 0
            _scale(axes, np.concatenate(values))
    for axes in all_axes[panels:]:
        axes.remove()
    all_axes = all_axes[:panels]
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
            axes.axvline(epoch[best], color=MARK, linewidth=0.8, linestyle=":", zorder=1)
    if best is not None:
        value = f"{val_loss[best]:#.5g}".rstrip(".")
        all_axes[0].plot(
            epoch[best],
            val_loss[best],
            "*",
            linestyle=":",  # of the line through all panels
            color=MARK,
            markersize=8,
            zorder=3,
            clip_on=False,
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
    losses = [loss for _, _, loss in drawn]
    if not _limit(axes, losses):
        _scale(axes, np.concatenate(losses))
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
    names = rows if isinstance(rows, Mapping) else dict.fromkeys(n for row in rows for n in row)
    further = [n for n in names if n.startswith(("train_", "val_")) and n not in COLUMNS]
    for name in (*COLUMNS, *(n for n in further if n.partition("_")[2] not in UNDRAWN)):
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


def _terms(table: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Those that are drawn: the loss and what it is the sum of, and what a variant adds."""
    named = [n.partition("_")[2] for n in table if n.startswith(("train_", "val_"))]
    of = {t: [table[n] for n in (f"train_{t}", f"val_{t}") if n in table] for t in (*TERMS, *named)}
    return [t for t, columns in of.items() if t in ("loss", "recon") or np.any(columns)]


def _limit(axes: Axes, series: Sequence[NDArray[np.float64]]) -> bool:
    """End a panel below values that stand far above all others, and say so; whether there are any.

    They are a tenth at most, and the range would be more than three times as large with them. Where
    a series ends is always within, so that one that diverges is seen to.
    """
    known = [values[np.isfinite(values)] for values in series]
    finite = np.sort(np.concatenate(known))
    if len(finite) < FEW:
        return False
    ends = [values[-1] for values in known if len(values)]
    low, most, top = finite[0], max(finite[int(0.9 * len(finite))], *ends), finite[-1]
    if not (most > low and top - low > SPIKE * (most - low)):
        return False
    axes.set_ylim(low - 0.08 * (most - low), most + 0.25 * (most - low))
    text = f"\N{UPWARDS ARROW} up to {with_minus(f'{top:.5g}')}"
    axes.text(0.5, 0.98, text, transform=axes.transAxes, fontsize=TICK - 1, va="top", color="0.4")
    return True


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
