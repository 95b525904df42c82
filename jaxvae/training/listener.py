"""What a caller may do while a run trains: look at it, add columns to its rows, stop it."""

from collections.abc import Mapping
from typing import Protocol

from jaxvae.checks import require
from jaxvae.evaluation import Trained


class StopTraining(Exception):
    """Raised by a listener: the epoch that has ended is the last. Its text is the reason."""


class Listener(Protocol):
    """Who is told how a run alone stands. In a distributed run every process has its own."""

    def begin(self, trained: Trained) -> None:
        """Before the first step that is taken."""

    def epoch(self, trained: Trained, row: Mapping[str, float]) -> Mapping[str, float]:
        """After an epoch, whose row of metrics.csv gets what is returned as further columns."""


def told(
    listener: Listener, trained: Trained, row: dict[str, float]
) -> tuple[dict[str, float], str | None]:
    """The row of an epoch with the listener's columns, and why it wants no other; None: go on.

    Raises:
        UsageError: a column is there already, or is no number.
    """
    try:
        columns = listener.epoch(trained, row)
    except StopTraining as stop:
        return row, str(stop) or "no reason given"
    for name, value in columns.items():
        kind = type(value).__name__
        require(name not in row, "column of a callback", name, "another name than metrics.csv has")
        is_number = isinstance(value, (int, float)) or getattr(value, "shape", None) == ()
        require(is_number, f"column {name} of a callback", kind, "a number")
    return row | {name: float(value) for name, value in columns.items()}, None
