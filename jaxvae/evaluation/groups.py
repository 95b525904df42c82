"""The groups of measures that `evaluate --metrics` knows, and how they are asked for."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.evaluation import bounds, curved, factors, posterior
from jaxvae.evaluation.anomaly import anomaly
from jaxvae.evaluation.clustering import clusters
from jaxvae.evaluation.probing import probes
from jaxvae.evaluation.reconstructing import reconstruction
from jaxvae.evaluation.sampling import samples
from jaxvae.evaluation.subject import Findings, Subject

GROUPS: dict[str, Callable[[Subject], Findings]] = {
    "elbo": bounds.elbo,
    "nll": bounds.nll,
    "units": posterior.units,
    "decomposition": posterior.decomposition,
    "probes": probes,
    "clusters": clusters,
    "anomaly": anomaly,
    "samples": samples,
    "reconstruction": reconstruction,
    "disentanglement": factors.disentanglement,
    "dci": factors.dci,
    "geometry": curved.geometry,
}
"""In the order in which they are shown. Each raises a UsageError where it does not apply."""


def measure(name: str, subject: Subject) -> Findings:
    """What the group `name` comes to.

    Raises:
        UsageError: it does not apply, or a value is not finite.
    """
    found = GROUPS[name](subject)
    for value, number in found.values.items():
        if not np.isfinite(number):
            raise UsageError(f"{value} is not finite ({number})")
    return found


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

    def as_json(self) -> dict[str, Any]:
        """Values, notes and refusals by group; nothing where nothing was asked for."""
        if not (self.found or self.refused):
            return {}
        return {
            "metrics": {name: dict(group.values) for name, group in self.found.items()},
            "notes": {name: list(group.notes) for name, group in self.found.items()},
            "refused": self.refused,
        }


def names_of(metrics: Sequence[str]) -> list[str]:
    """The groups that are meant, once each, in their order; `all` means every one.

    Raises:
        UsageError: there is no such group.
    """
    for name in metrics:
        if name not in (*GROUPS, "all"):
            raise UsageError(f"--metrics = {name!r}: must be some of {', '.join(GROUPS)}, or all")
    return [name for name in GROUPS if name in metrics or "all" in metrics]


def examine(subject: Subject, metrics: Sequence[str]) -> Examined:
    """Measure what is asked for; of `all`, what applies.

    Raises:
        UsageError: there is no such group, or one that was named does not apply.
    """
    found, refused = {}, {}
    for name in names_of(metrics):
        try:
            found[name] = measure(name, subject)
        except UsageError as error:
            if "all" not in metrics:
                raise UsageError(f"--metrics {name}: {error}") from error
            refused[name] = str(error)
    return Examined(found, refused)
