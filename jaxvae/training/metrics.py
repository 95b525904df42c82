"""Rows of metrics.csv: one for each epoch, and of a population for each of its members."""

import logging
from pathlib import Path

from jaxvae import runs
from jaxvae.checks import UsageError
from jaxvae.config import Population
from jaxvae.from_json import from_json

log = logging.getLogger("jaxvae")

Rows = list[dict[str, float]]
OF_MEMBERS = ("member", "finite")
"""Columns that the rows of a run alone do not have: it is member 0, and finite."""


def read_population(folder: Path) -> Population | None:
    """The population that a run folder holds; None if it holds a single run.

    Raises:
        UsageError: not a run folder, or a damaged config.json.
    """
    saved = runs.saved_config(folder).get("population")
    try:
        return None if saved is None else from_json(Population(), saved, "population.")
    except UsageError as error:
        raise UsageError(f"{folder / 'config.json'}: {error}") from error


def write_rows(path: Path, rows: Rows, alone: bool) -> None:
    """Write metrics.csv."""
    runs.write_metrics(path, [without_member(row) for row in rows] if alone else rows)


def read_rows(path: Path, alone: bool = False) -> Rows:
    """The rows of metrics.csv."""
    own = {"member": 0, "finite": 1} if alone else {}
    rows = [row | own for row in runs.read_metrics(path)]
    return [row | {name: int(row[name]) for name in OF_MEMBERS} for row in rows]


def first_epochs(path: Path, epochs: int, alone: bool) -> Rows:
    """The rows of metrics.csv up to an epoch; a warning names the epochs that are missing."""
    rows = read_rows(path, alone)
    there = {row["epoch"] for row in rows}
    if missing := [epoch for epoch in range(1, epochs + 1) if epoch not in there]:
        log.warning("%s: without the rows of epochs %s", path, missing)
    return [row for row in rows if row["epoch"] <= epochs]


def without_member(row: dict[str, float]) -> dict[str, float]:
    """The row as that of a run alone."""
    return {name: value for name, value in row.items() if name not in OF_MEMBERS}


def rows_of(rows: Rows, member: int) -> Rows:
    """A member's rows as if it had been trained alone: until it was not finite."""
    own = [row for row in rows if row["member"] == member and row["finite"]]
    return [without_member(row) for row in own]
