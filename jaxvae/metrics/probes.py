"""Probes: how well a simple classifier tells classes from representations (codes, pixels, ...).

What is predicted comes back, (n,), so that the caller takes means and standard errors.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxvae.checks import UsageError, require

ITERATIONS = 1000
"""Of L-BFGS, at most."""


def linear_probe(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, bool]:
    """Classes of `test`, (n,), by logistic regression on features standardised as those of `train`.

    Multinomial, with scikit-learn's L2 penalty of C = 1, by L-BFGS
    (https://scikit-learn.org/stable/modules/linear_model.html#logistic-regression).

    Args:
        train: features of the examples that it is fitted on, (m, features).
        labels: their classes, (m,).
        test: features of others, (n, features).

    Returns:
        The classes, and whether the fit converged within 1000 iterations.

    Raises:
        UsageError: one class alone, or features that are no numbers.
    """
    _check(train, labels, test)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is returned instead
        probe.fit(train, labels)
    return probe.predict(test), bool(np.all(probe[-1].n_iter_ < ITERATIONS))


def nearest_neighbours(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, ks: tuple[int, ...]
) -> dict[int, np.ndarray]:
    """Classes of `test`, (n,), by majority among the k nearest of `train`, for each k.

    Euclidean distance of the features as they are; the lowest class of those that are even, as
    scikit-learn's KNeighborsClassifier. The arguments are those of `linear_probe`.

    Raises:
        UsageError: fewer examples than the largest k, one class alone, or no numbers.
    """
    _check(train, labels, test)
    require(max(ks) <= len(train), "k", max(ks), f"at most {len(train)}, the number of examples")
    classes, position = np.unique(labels, return_inverse=True)
    search = NearestNeighbors(n_neighbors=max(ks), algorithm="brute").fit(train)
    found = position[search.kneighbors(test, return_distance=False)]  # (n, largest k)
    votes = {k: (found[:, :k, None] == np.arange(len(classes))).sum(axis=1) for k in ks}
    return {k: classes[vote.argmax(axis=1)] for k, vote in votes.items()}


def balanced(labels: np.ndarray, number: int, seed: int) -> np.ndarray | None:
    """Indices of `number` examples, as many of each class (rounded down); None where too few.

    Args:
        labels: classes, (n,).
        number: of examples, of all classes together.
        seed: of the draw.
    """
    classes, counts = np.unique(labels, return_counts=True)
    each = number // len(classes)
    if each < 1 or counts.min() < each:
        return None
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == c), each, replace=False) for c in classes]
    return np.sort(np.concatenate(chosen))


def _check(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> None:
    if len(np.unique(labels)) < 2:
        raise UsageError("all examples that a probe is fitted on are of one class")
    if not (np.isfinite(train).all() and np.isfinite(test).all()):
        raise UsageError("features that a probe is given are not finite")
    if np.all(train == train[:1]):
        raise UsageError("all examples have the same features: there is nothing to tell them by")
