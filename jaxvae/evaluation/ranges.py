"""Where walks through a latent space go: over which latents, how far, between which examples."""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from jaxvae.data import Split
from jaxvae.evaluation.active import VARIANCE

PERCENTILES = 1, 99
"""Of the aggregated posterior: a latent is varied between these."""
STRATA = 64
"""Places at which each example's posterior stands in the aggregated one."""


class Ranges(NamedTuple):
    """What is known of each latent, (latents,) each.

    low, high: percentiles 1 and 99 of what the data's codes take.
    weight: the KL in nats where `has_kl`, else the codes' standard deviation.
    used: whether it says anything about the examples.
    """

    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray
    used: np.ndarray
    has_kl: bool

    def shown(self, dims: int) -> np.ndarray:
        """At most `dims` latents, those of largest weight first; unused ones where all are."""
        order = np.argsort(-self.weight, kind="stable")
        return (order[self.used[order]] if self.used.any() else order)[:dims]

    def name(self, index: int) -> str:
        """How much a latent says, in words."""
        weight = self.weight[index]
        says = f"{weight:.2f} nats" if self.has_kl else f"std {weight:.2g}"
        return says if self.used[index] else f"{says}, unused"


def ranges(codes: np.ndarray, posterior: tuple[np.ndarray, np.ndarray] | None) -> Ranges:
    """Of the codes of examples, (n, latents).

    Args:
        codes: what is decoded.
        posterior: mean and logvar of q(z|x), (n, latents) each, where that is a Gaussian which is
            compared with N(0, I) latent by latent. The percentiles are then those of the aggregated
            posterior, the mixture of all q(z|x), and a latent is used where its mean has a variance
            above 0.01 (Burda et al. 2016). Otherwise they are those of the codes, and a latent is
            used where these differ.
    """
    spread = codes.std(axis=0)
    if posterior is None:
        low, high = np.percentile(codes, PERCENTILES, axis=0)
        return Ranges(low, high, spread, spread > 0, False)
    mean, logvar = posterior
    eps = [NormalDist().inv_cdf((k + 0.5) / STRATA) for k in range(STRATA)]
    draws = mean + np.exp(0.5 * logvar) * np.reshape(eps, (-1, 1, 1)).astype(mean.dtype)
    low, high = np.percentile(draws.reshape(-1, mean.shape[1]), PERCENTILES, axis=0)
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    return Ranges(low, high, kl, mean.var(axis=0) > VARIANCE, True)


def pairs(split: Split, most: int, alike: bool = False) -> list[tuple[int, int]]:
    """At most so many pairs of examples of different classes: the first ones of each, in turn.

    Args:
        split: whose labels below 0 stand for none.
        most: pairs.
        alike: of one class each instead, for models that are told the class.

    Returns:
        Indices. Without two classes the first examples and as many that follow them.
    """
    labels, n = split.every_label, min(most, len(split.images) // 2)
    of = [np.flatnonzero(labels == c).tolist() for c in np.unique(labels[labels >= 0])]
    if len(of) < 2:
        return [(i, n + i) for i in range(n)]
    found: list[tuple[int, int]] = []
    seen: set[frozenset[int]] = set()
    for turn in range(2 * n):  # half of them may have been there, the other way round
        for a, own in enumerate(of):
            b = a if alike else (a + len(of) // 2) % len(of)
            first, second = (2 * turn, 2 * turn + 1) if alike else (turn, turn)
            pair = own[first % len(own)], of[b][second % len(of[b])]
            if len(found) < n and pair[0] != pair[1] and frozenset(pair) not in seen:
                seen.add(frozenset(pair))
                found.append(pair)
    return found
