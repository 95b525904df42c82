"""The groups of measures that `evaluate --metrics` knows, and how they are asked for."""

import logging
from collections.abc import Callable, Sequence

from jaxvae.checks import UsageError
from jaxvae.evaluation import bounds, curved, factors, posterior, score
from jaxvae.evaluation.anomaly import anomaly
from jaxvae.evaluation.clustering import clusters
from jaxvae.evaluation.evaluate import not_finite
from jaxvae.evaluation.probing import probes
from jaxvae.evaluation.reconstructing import reconstruction
from jaxvae.evaluation.sampling import samples
from jaxvae.evaluation.subject import Examined, Findings, Subject

log = logging.getLogger("jaxvae")

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

HEEDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("elbo", "units", "reconstruction"), ()),
    "nll": ("num_samples",),
    "anomaly": ("num_samples", "normal", "anomalies", "seed"),
    "samples": ("generated", "seed"),
    **dict.fromkeys(("decomposition", "probes", "clusters", "geometry"), ("seed",)),
    **dict.fromkeys(("disentanglement", "dci"), ("seed",)),
}
"""The fields of `Measuring` that each has a use for."""


def names_of(metrics: Sequence[str]) -> list[str]:
    """The groups that are meant, once each, in their order; `all` means every one.

    Raises:
        UsageError: there is no such group.
    """
    for name in metrics:
        if name not in (*GROUPS, "all"):
            raise UsageError(f"--metrics = {name!r}: must be some of {', '.join(GROUPS)}, or all")
    return [name for name in GROUPS if name in metrics or "all" in metrics]


def measure(name: str, subject: Subject) -> Findings:
    """What one group comes to.

    Raises:
        UsageError: it does not apply, what it needs is not there, or a value is no number.
    """
    try:
        found = GROUPS[name](subject)
    except (score.NotFinite, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    if bad := not_finite(found.values):
        raise UsageError(f"not finite: {', '.join(bad)}")
    return found


def examine(subject: Subject, metrics: Sequence[str]) -> Examined:
    """Measure what is asked for; of `all`, what applies.

    Raises:
        UsageError: there is no such group, or one that was named does not apply.
    """
    found, refused = {}, {}
    names = names_of(metrics)
    for name in names:
        if len(names) > 1:
            log.info("measuring %s", name)
        try:
            found[name] = measure(name, subject)
        except UsageError as error:
            if "all" not in metrics:
                raise UsageError(f"--metrics {name}: {error}") from error
            refused[name] = str(error)
    return Examined(found, refused)
