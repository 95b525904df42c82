"""Epochs as the rows of a table: aligned columns, as many as fit, fixed digits in each."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jaxvae.training.monitor import Standing

GAP = "  "
NARROWEST = 7  # room for any number: -1e+300
OPTIONAL = 20  # ranks from here on: what nobody misses, since metrics.csv has it
NEVER = 99  # the rank of what has no column
USUAL = ("loss", "recon", "kl", "mse")


class Cell(NamedTuple):
    """What a row says in one column."""

    title: str
    value: float | str
    rank: int
    """Columns of a lower rank are kept where not all fit."""
    nats: bool = False
    """Whether it has as many decimals as the losses."""
    decimals: int | None = None
    """Where not by its own size."""


class Column(NamedTuple):
    title: str
    width: int
    decimals: int

    def written(self, value: float | str) -> str:
        """Right-aligned; a number that would not fit, in powers of ten."""
        if isinstance(value, str):
            return value.rjust(self.width)
        text = f"{value:.{self.decimals}f}"
        digits = self.decimals
        while len(text) > self.width and digits >= 0:
            text, digits = f"{value:.{digits}e}", digits - 1
        return text.rjust(self.width)


@dataclass(frozen=True)
class Table:
    """Columns that were chosen for a first row, and what of it had no room."""

    columns: tuple[Column, ...]
    left_out: tuple[str, ...]

    @property
    def header(self) -> str:
        """The titles, over the ends of their columns."""
        return GAP.join(column.title.rjust(column.width) for column in self.columns)

    def row(self, cells: Sequence[Cell]) -> str:
        """A line as long as the header."""
        values = {cell.title: cell.value for cell in cells}
        return GAP.join(column.written(values.get(column.title, "")) for column in self.columns)

    def span(self, title: str) -> tuple[int, int]:
        """Where a column begins and ends in a line; nowhere if it was left out."""
        begin = 0
        for column in self.columns:
            if column.title == title:
                return begin, begin + column.width
            begin += column.width + len(GAP)
        return 0, 0


def fit(cells: Sequence[Cell], width: int) -> Table:
    """Columns for rows like this one, of at most `width` characters; those of a rank together."""
    decimals = decimals_of([c.value for c in cells if c.nats and isinstance(c.value, float)])
    room, chosen = width + len(GAP), set()
    columns = {cell.title: _column(cell, decimals) for cell in cells}
    for rank in sorted({cell.rank for cell in cells} - {NEVER}):
        titles = [cell.title for cell in cells if cell.rank == rank]
        needed = sum(columns[title].width + len(GAP) for title in titles)
        if needed <= room:
            chosen.update(titles)
            room -= needed
    left_out = [c.title for c in cells if c.title not in chosen and c.rank < OPTIONAL]
    kept = tuple(column for title, column in columns.items() if title in chosen)
    return Table(kept, tuple(left_out))


def _column(cell: Cell, decimals: int) -> Column:
    if isinstance(cell.value, str):
        return Column(cell.title, max(len(cell.title), len(cell.value)), 0)
    if cell.decimals is not None:
        own = cell.decimals
    else:
        own = decimals if cell.nats or not cell.value else decimals_of([cell.value])
    text = f"{cell.value:.{own}f}"
    # Room for one digit more, so that a loss may rise, and not for a number of any length.
    wanted = min(len(text) + 1, NARROWEST + 3)
    return Column(cell.title, max(len(cell.title), NARROWEST, wanted), own)


def decimals_of(values: Sequence[float]) -> int:
    """Decimals that show five digits of the largest: 2 of 299.20, 6 of 0.012345; 2 at least."""
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    return min(max(4 - math.floor(math.log10(largest)), 2), 6) if largest else 4


def of_run(row: Mapping[str, float], standing: Standing, epochs: int) -> list[Cell]:
    """The cells of a run's epoch, from its row of metrics.csv.

    A deterministic autoencoder has no kl, and no columns for it.
    """
    has_kl = row["train_kl"] != 0 or row["val_kl"] != 0
    own = [name for name in row if name.startswith("val_") and name[4:] not in USUAL]
    return [
        _epoch(row, epochs),
        Cell("train loss", row["train_loss"], 2, nats=True),
        Cell("train recon", row["train_recon"], OPTIONAL, nats=True),
        Cell("train kl", row["train_kl"], OPTIONAL if has_kl else NEVER, nats=True),
        Cell("val loss", row["val_loss"], 1, nats=True),
        Cell("*", "*" if standing.improved(int(row["epoch"])) else " ", 1),
        Cell("val recon", row["val_recon"], 4, nats=True),
        Cell("val kl", row["val_kl"], 3 if has_kl else NEVER, nats=True),
        *(Cell(name.replace("_", " "), row[name], 6 + i) for i, name in enumerate(own)),
        Cell("val mse", row["val_mse"], 5 if not has_kl else OPTIONAL + 6),
        Cell("grad norm", row["grad_norm"], OPTIONAL + 5),
        Cell("lr", f"{row['learning_rate']:.2e}", OPTIONAL + 3),
        *_speed(row, 1),
    ]


def of_members(
    rows: Sequence[Mapping[str, float]], standings: Sequence[Standing], epochs: int
) -> list[Cell]:
    """The cells of a population's epoch: of the members that are finite, and how many improved."""
    epoch, count = int(rows[0]["epoch"]), len(rows)
    finite = [r for r, s in zip(rows, standings, strict=True) if s.failed_epoch is None]
    best = min(finite, key=lambda row: row["val_loss"], default=None)
    improved = sum(standing.improved(epoch) for standing in standings)

    def mean(name: str) -> float:
        return statistics.fmean(row[name] for row in finite) if finite else math.nan

    losses = [row["val_loss"] for row in finite] or [math.nan]
    each = len(str(count))
    return [
        _epoch(rows[0], epochs),
        Cell("best", min(losses), 1, nats=True),
        Cell("member", str(int(best["member"])) if best else "-", 5),
        Cell("mean", mean("val_loss"), 2, nats=True),
        Cell("worst", max(losses), 3, nats=True),
        Cell("improved", f"{improved:{each}d}/{count}", 4),
        Cell("finite", f"{len(finite):{each}d}/{count}", 6),
        Cell("mean recon", mean("val_recon"), OPTIONAL, nats=True),
        Cell("mean kl", mean("val_kl"), OPTIONAL, nats=True),
        Cell("mean train loss", mean("train_loss"), OPTIONAL + 3, nats=True),
        *_speed(rows[0], count),
    ]


def _epoch(row: Mapping[str, float], epochs: int) -> Cell:
    return Cell("epoch", f"{int(row['epoch']):{len(str(epochs))}d}/{epochs}", 0)


def _speed(row: Mapping[str, float], members: int) -> list[Cell]:
    """Seconds of the epoch's steps, and images that all members together saw in each."""
    rate = f"{row['images_per_second'] * members:,.0f}".rjust(len("1,000,000"))
    return [Cell("images/s", rate, OPTIONAL + 4), Cell("seconds", row["seconds"], 5, decimals=2)]
