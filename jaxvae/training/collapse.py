"""What the latents have come to at the end of a training, in summary.json and in words."""

from collections.abc import Iterator, Sequence
from typing import Any

from jaxvae.config import Experiment
from jaxvae.data import Split
from jaxvae.evaluation import Trained
from jaxvae.evaluation.active import active_latents
from jaxvae.training.members import one_of
from jaxvae.training.monitor import Standing

UNUSED = 0.005
"""Nats of KL below which no latent can be active: KL(N(m, s) || N(0, 1)) is at least m^2 / 2, so
the variance of a posterior mean is at most twice the KL, 0.01."""

Active = dict[str, Any] | None
"""Of `active_latents`."""


def begun(of_epoch: Sequence[dict[str, float]], before: Sequence[dict[str, float]]) -> list[str]:
    """A line for each member whose KL has come to nothing in this epoch, while one can still stop.

    Args:
        of_epoch: the rows of metrics.csv of an epoch, one of each member.
        before: those of the epochs before it.
    """
    lines = []
    for row in of_epoch:
        earlier = [r["val_kl"] for r in before if r.get("member") == row.get("member")]
        # Exactly 0 is the KL of a model that has none.
        if 0 < row["val_kl"] < UNUSED and not (earlier and 0 < earlier[-1] < UNUSED):
            whose = f"member {row['member']:.0f}: " if len(of_epoch) > 1 else ""
            lines.append(
                f"{whose}validation kl {row['val_kl']:.1g} nats: none of the latents is active so"
                " far, and the codes say nothing about the examples; a smaller objective.beta may"
                " help, or a warm-up (objective.warmup_steps)"
            )
    return lines


def active_of_members(
    trained: Trained,
    split: Split,
    everyone: Sequence[Experiment],
    standings: Sequence[Standing],
    alone: bool,
) -> list[Active]:
    """Of each member at its best epoch; None where it had none, or `active_latents` has none.

    Where members are not `alone`, the variables of `trained` have an axis of them.
    """
    found: list[Active] = []
    for i, standing in enumerate(standings):
        best = trained if alone else one_of(trained, everyone, i)
        found.append(active_latents(best, split) if standing.monitor.best_epoch else None)
    return found


def noted(summary: dict[str, Any], active: Sequence[Active], alone: bool) -> dict[str, Any]:
    """The summary with `active_latents`: its own, or those of its members."""
    if not any(active):
        return summary
    if alone:
        return summary | {"active_latents": active[0]}
    pairs = zip(summary["members"], active, strict=True)
    return summary | {"members": [m | {"active_latents": found} for m, found in pairs]}


def lines(active: Sequence[Active], alone: bool) -> Iterator[str]:
    """A line for each layer of which no latent is active, of a run or of some members."""
    dead: dict[tuple[str, int], list[int]] = {}
    for i, found in enumerate(active):
        layers = {"": found} if found and "of" in found else found or {}
        for name, layer in layers.items():
            if layer["active"] == 0:
                dead.setdefault((name, layer["of"]), []).append(i)
    for (name, count), which in dead.items():
        whose = "" if alone else f"member{'s' * (len(which) > 1)} {', '.join(map(str, which))}: "
        latents = f"{count} latents{f' of {name}' if name else ''}"
        yield (
            f"{whose}none of the {latents} is active (best checkpoint): the posterior means hardly"
            " differ between images, so the codes say nothing about them; a smaller objective.beta"
            " may help, or a warm-up (objective.warmup_steps)"
        )
