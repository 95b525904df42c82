"""What examples that share one factor have in common: the scores of FactorVAE and of beta-VAE.

Codes are posterior means, (n, latents); factors integers, (n, factors). Examples that share a
factor are drawn from those that are there, with replacement, instead of being rendered anew; else
both are as in disentanglement_lib (https://github.com/google-research/disentanglement_lib).
"""

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from jaxvae.checks import UsageError

TRAIN, EVALUATION = (
    10_000,
    5_000,
)  # votes, or differences, to fit a classifier on and to judge it by
BATCH = 64  # examples of a vote, or pairs of a difference
COLLAPSED = 0.05  # standard deviation below which a latent does not vote
ITERATIONS = 1000  # of the logistic regression, at most
PART = 1000  # batches in memory at once


def factor_vae_score(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> float:
    """How often the latent that varies least tells which factor is fixed; Kim and Mnih 2018.

    Each vote takes 64 examples that share one factor, drawn at random, and goes to the latent whose
    variance over them is smallest, relative to that over all examples. The classifier says the
    factor that a latent won most of 10,000 votes for; the score is its accuracy on 5,000 others.
    Latents with a standard deviation below 0.05 get no votes; 0 where all have. arXiv:1802.05983,
    section 3.

    Raises:
        UsageError: a value of a factor is that of a single example.
    """
    codes, same, rng = np.asarray(codes, np.float64), sharing(factors), np.random.default_rng(seed)
    variances = codes.var(axis=0, ddof=1)
    alive = np.sqrt(variances) >= COLLAPSED
    if not alive.any():
        return 0.0
    codes, variances = codes[:, alive], variances[alive]
    train, evaluation = np.zeros((2, factors.shape[1], codes.shape[1]), int)
    for votes, number in ((train, TRAIN), (evaluation, EVALUATION)):
        for fixed in _fixed(factors, number, rng):
            first = rng.integers(len(codes), size=(len(fixed), 1))
            rows = same.partners(fixed, np.repeat(first, BATCH, axis=1), rng)
            winners = np.argmin(codes[rows].var(axis=1, ddof=1) / variances, axis=1)
            np.add.at(votes, (fixed, winners), 1)
    said = train.argmax(axis=0)
    return float(evaluation[said, np.arange(len(said))].sum() / EVALUATION)


def beta_vae_score(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> tuple[float, bool]:
    """How often differences of codes tell which factor is shared; Higgins et al. 2017.

    A point is the mean of |z1 - z2| over 64 pairs whose two examples share one factor, (latents,).
    A logistic regression is fitted on 10,000 points; the score is its accuracy on 5,000 others.
    https://openreview.net/forum?id=Sy2fzU9gl, section 3.

    Returns:
        The score, and whether the fit converged within 1000 iterations.

    Raises:
        UsageError: a value of a factor is that of a single example.
    """
    codes, same, rng = np.asarray(codes, np.float64), sharing(factors), np.random.default_rng(seed)
    points, shared = [], []
    for fixed in _fixed(factors, TRAIN + EVALUATION, rng):
        rows = rng.integers(len(codes), size=(len(fixed), BATCH))
        difference = np.abs(codes[rows] - codes[same.partners(fixed, rows, rng)])
        points.append(difference.mean(axis=1))
        shared.append(fixed)
    x, y = np.concatenate(points), np.concatenate(shared)
    fitted = LogisticRegression(max_iter=ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is returned instead
        fitted.fit(x[:TRAIN], y[:TRAIN])
    converged = bool(np.all(fitted.n_iter_ < ITERATIONS))
    return float(np.mean(fitted.predict(x[TRAIN:]) == y[TRAIN:])), converged


class Sharing(NamedTuple):
    """Of each factor: the rows by its value, and of each row where those of its value begin in this
    order and how many there are; (factors, n) each."""

    order: np.ndarray
    start: np.ndarray
    number: np.ndarray

    def partners(self, fixed: np.ndarray, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each of `rows`, (k, m), one that shares with it the factor `fixed`, (k,); at random,
        and perhaps itself."""
        which = fixed[:, None]
        skipped = (rng.random(rows.shape) * self.number[which, rows]).astype(int)
        return self.order[which, self.start[which, rows] + skipped]


def sharing(factors: np.ndarray) -> Sharing:
    """Who shares factors, (n, factors), with whom.

    Raises:
        UsageError: a value of a factor is that of a single example.
    """
    orders, starts, counts = [], [], []
    for j, column in enumerate(factors.T):
        values, inverse, count = np.unique(column, return_inverse=True, return_counts=True)
        if count.min() < 2:
            raise UsageError(
                f"of factor {j + 1}, one example alone has the value {values[count.argmin()]}: each"
                " must be that of several; give more examples"
            )
        orders.append(np.argsort(column, kind="stable"))
        starts.append((np.cumsum(count) - count)[inverse])
        counts.append(count[inverse])
    return Sharing(*(np.stack(each) for each in (orders, starts, counts)))


def _fixed(factors: np.ndarray, number: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`number` factors drawn at random, in parts (at most PART,)."""
    drawn = rng.integers(factors.shape[1], size=number)
    yield from np.split(drawn, range(PART, number, PART))
