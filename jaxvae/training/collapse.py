"""What the latents have come to at the end of a training, in summary.json and in words."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from jaxvae.config import Experiment
from jaxvae.data import Split
from jaxvae.evaluation import Trained
from jaxvae.evaluation.active import active_latents
from jaxvae.training.monitor import Standing

Active = dict[str, Any] | None
"""Of `active_latents`."""


def active_of_members(
    trained: Trained,
    split: Split,
    everyone: Sequence[Experiment],
    standings: Sequence[Standing],
    alone: bool,
) -> list[Active]:
    """Of each member at its best epoch; None where it had none, or the model has no posterior.

    Where members are not `alone`, the variables of `trained` have an axis of them.
    """
    found: list[Active] = []
    for i, (member, standing) in enumerate(zip(everyone, standings, strict=True)):
        own = trained.variables
        if not alone:
            own = jax.tree.map(lambda x: x[i], own)  # noqa: B023
        best = trained._replace(experiment=member, variables=own)
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
