"""What a caller may do while a run trains: look at it, add columns to its rows, stop it."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from jaxvae.checks import require
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained


class StopTraining(Exception):
    """Raised by a callback at an epoch's end: it is the last. The text is the reason."""


class Heard(NamedTuple):
    """What a listener says after an epoch: further columns of its row, and why it is the last."""

    columns: Mapping[str, float]
    reason: str | None


class Listener(Protocol):
    """Who is told how a run alone stands. In a distributed run every process has its own."""

    def begin(self, trained: Trained, dataset: Dataset) -> None:
        """Before the first step that is taken."""

    def epoch(self, trained: Trained, row: Mapping[str, float]) -> Heard:
        """After an epoch, with its row of metrics.csv."""


def check_columns(columns: Mapping[str, object], taken: Mapping[str, object]) -> dict[str, float]:
    """Further columns as numbers.

    Raises:
        UsageError: a name is taken, or one is no number.
    """
    kind = type(columns).__name__
    require(isinstance(columns, Mapping), "what a callback returned", kind, "numbers by name")
    for name, value in columns.items():
        kind = type(value).__name__
        require(name not in taken, "column of a callback", name, "a name that no other column has")
        is_number = isinstance(value, (int, float)) or getattr(value, "shape", None) == ()
        require(is_number, f"column {name} of a callback", kind, "a number")
    return {name: float(value) for name, value in columns.items()}  # type: ignore[arg-type]
