"""What a group of measures is given, and what it returns."""

import functools
import math
import numbers
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxvae import config, data
from jaxvae.checks import UsageError, require
from jaxvae.data import Dataset, Split
from jaxvae.evaluation.trained import Trained
from jaxvae.held import hold


@dataclass(frozen=True)
class Measuring:
    """How the groups measure; a field of no group that was asked for has no use."""

    num_samples: int = 500
    """K of the bounds of groups nll and anomaly: draws of the code for each example."""
    generated: int = 10_000
    """How many samples group samples compares with as many images."""
    seed: int = 0
    """Of samples, divisions, classifiers, orders. Draws of q(z|x) follow the run's own seed."""
    normal: tuple[int, ...] = ()
    """Labels that are normal for group anomaly; the images of all others are anomalous."""
    anomalies: Any = None
    """Other examples, all anomalous for group anomaly: a source, as `data.source`."""

    def __post_init__(self) -> None:
        for name in ("num_samples", "generated", "seed"):
            value = getattr(self, name)
            require(isinstance(value, numbers.Integral), _option(name), value, "a whole number")
            object.__setattr__(self, name, int(value))  # in Python also one of NumPy's
        for name in ("num_samples", "generated"):
            require(getattr(self, name) >= 1, _option(name), getattr(self, name), "at least 1")
        require(0 <= self.seed < 2**32, "--seed", self.seed, "in 0..2**32-1")
        normal = self.normal  # in Python also one label, or a list
        normal = (normal,) if isinstance(normal, numbers.Integral) else tuple(normal)
        whole = all(isinstance(label, numbers.Integral) for label in normal)
        require(whole, "--normal", self.normal, "labels, whole numbers")
        object.__setattr__(self, "normal", tuple(int(label) for label in normal))
        object.__setattr__(self, "anomalies", _named(self.anomalies))


def _option(field: str) -> str:
    """What the command line calls it; `words.python_words` has it the other way round."""
    return "--" + field.replace("_", "-")


def _named(source: Any) -> str | None:
    """A source as text, arrays with a name that tells them apart: settings compare and are JSON."""
    if source is None or isinstance(source, str):
        return source
    if isinstance(source, os.PathLike):
        return os.fspath(source)
    try:
        return hold(source)
    except UsageError as error:
        raise UsageError(str(error).replace("data.source", "--anomalies", 1)) from error


@dataclass(frozen=True)
class Subject:
    """A trained model, and the examples that it is measured on.

    trained: the model.
    split: its examples, stored as the run's own are (`as_stored`).
    load: reads the run's own data.
    settings: how it is measured.
    held_out: reads the examples of another source, as `jaxvae.data.held_out` does.
    """

    trained: Trained
    split: Split
    load: Callable[[], Dataset]
    settings: Measuring = field(default_factory=Measuring)
    held_out: Callable[[config.Data], tuple[Split, str]] = data.held_out

    @functools.cached_property
    def dataset(self) -> Dataset:
        """The run's own data, for what is fitted on training examples."""
        return self.load()


class Findings(NamedTuple):
    """values: by name, in the order in which they are shown; `NAME_se` is the standard error of
        NAME, a mean over examples.
    notes: sentences that a reader of the values has to know.
    rows: what each example has of its own, (n,) each, in the order of the split.
    """

    values: dict[str, float]
    notes: tuple[str, ...] = ()
    rows: Mapping[str, np.ndarray] = MappingProxyType({})


class Examined(NamedTuple):
    """found: what each group came to.
    refused: why others do not apply, where all were asked for.
    """

    found: dict[str, Findings]
    refused: dict[str, str]

    @property
    def rows(self) -> dict[str, np.ndarray]:
        """What each example has of its own, of all groups."""
        return {name: row for group in self.found.values() for name, row in group.rows.items()}

    def lines(self) -> list[str]:
        """What a reader of the values has to know, and what was left out."""
        said = [f"{name}: {note}" for name, group in self.found.items() for note in group.notes]
        return [*said, *(f"{name}: left out: {why}" for name, why in self.refused.items())]

    def as_json(self) -> dict[str, Any]:
        """Values, notes and refusals by group; nothing where nothing was asked for."""
        if not (self.found or self.refused):
            return {}
        return {
            "metrics": {name: dict(group.values) for name, group in self.found.items()},
            "notes": {name: list(group.notes) for name, group in self.found.items()},
            "refused": self.refused,
        }


def mean_of(name: str, values: np.ndarray) -> dict[str, float]:
    """The mean over examples, (n,), and where there are several its standard error."""
    values = np.asarray(values, np.float64)
    found = {name: float(values.mean())}
    if len(values) > 1:
        found[f"{name}_se"] = float(values.std(ddof=1) / math.sqrt(len(values)))
    return found


def share_of(name: str, share: float, number: int) -> dict[str, float]:
    """`mean_of` zeros and ones, of which there are `number`."""
    return {name: share, f"{name}_se": math.sqrt(share * (1 - share) / (number - 1))}
