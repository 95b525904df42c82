"""How well a score tells anomalous examples, for which it should be high, from normal ones."""

import math

import numpy as np
from scipy.stats import rankdata

from jaxvae.checks import UsageError


def auroc(scores: np.ndarray, anomalous: np.ndarray) -> tuple[float, float | None]:
    """P(score of an anomalous example > score of a normal one), ties counted half.

    That is the area under the receiver operating characteristic; Hanley and McNeil 1982. 0.5 of a
    score that says nothing; 1 - AUROC of a score that is turned round.

    Args:
        scores: (n,); infinite ones are the highest or lowest.
        anomalous: which are, bool (n,).

    Returns:
        The value, and its standard error (DeLong, DeLong and Clarke-Pearson 1988,
        https://doi.org/10.2307/2531595); None with less than two examples of a kind.

    Raises:
        UsageError: a score is NaN, or all examples are of one kind.
    """
    scores, anomalous = _checked(scores, anomalous)
    above, below = scores[anomalous], scores[~anomalous]
    ranks = rankdata(scores)
    # Of each example of a kind, the share of the other kind that lies below it.
    beats = (ranks[anomalous] - rankdata(above)) / len(below)
    beaten = 1 - (ranks[~anomalous] - rankdata(below)) / len(above)
    value = float(beats.mean())
    if min(len(above), len(below)) < 2:
        return value, None
    return value, math.sqrt(beats.var(ddof=1) / len(above) + beaten.var(ddof=1) / len(below))


def average_precision(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Mean over the anomalous examples of the precision at their score (all ties taken together).

    The share of anomalous examples is what a score comes to that says nothing; scikit-learn's
    `average_precision_score`. The arguments are those of `auroc`.

    Raises:
        UsageError: as `auroc`.
    """
    scores, anomalous = _checked(scores, anomalous)
    from sklearn.metrics import average_precision_score

    # Ranks order alike, and are finite.
    return float(average_precision_score(anomalous, rankdata(scores)))


def _checked(scores: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, anomalous = np.asarray(scores, np.float64), np.asarray(anomalous, bool)
    if np.isnan(scores).any():
        raise UsageError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    if anomalous.all() or not anomalous.any():
        kind = "anomalous" if anomalous.all() else "normal"
        raise UsageError(f"all {len(scores)} examples are {kind}: nothing to tell them from")
    return scores, anomalous
