"""Whether single latents stand for single factors: MIG, SAP, DCI and modularity.

Codes are posterior means, (n, latents); factors integers, (n, factors), of the same examples.
Definitions are those of disentanglement_lib (Locatello et al. 2019, arXiv:1811.12359;
https://github.com/google-research/disentanglement_lib), with NumPy instead of loops where the
numbers are the same. scikit-learn's version changes the trees and machines, and so the numbers, a
little.
"""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

BINS = 20
DEAD = 1e-12  # variance, or information, up to which a latent says nothing


def discretised(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Codes as whole numbers (n, latents): in which of `bins` equal parts of its latent's range."""
    codes = np.asarray(codes, np.float64)
    columns = [np.digitize(z, np.histogram(z, bins)[1][:-1]) for z in codes.T]
    return np.stack(columns, axis=1)


def mutual_information(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """I(code; factor) in nats, (latents, factors), of codes that are whole numbers (n, latents)."""
    return np.array([[mutual_info_score(v, z) for v in factors.T] for z in codes.T])


def mig(codes: np.ndarray, factors: np.ndarray, bins: int = BINS) -> float:
    """Mutual information gap: the mean over factors of (I1 - I2) / H(factor), in [0, 1].

    I1 and I2 are the two largest mutual informations of a factor with latents, in 20 bins each.
    Chen et al. 2018 (arXiv:1802.04942), who take samples of the posterior instead of its means, and
    exact entropies of the grid: their numbers are others.
    """
    information = mutual_information(discretised(codes, bins), factors)
    entropies = np.array([mutual_info_score(v, v) for v in factors.T])
    return gap(information / entropies)


def gap(scores: np.ndarray) -> float:
    """The mean over factors of the best latent's score minus the second best's, (latents, factors).

    Of squared correlations or accuracies it is the separated attribute predictability (SAP) of
    Kumar et al. 2018 (arXiv:1711.00848).
    """
    ordered = np.sort(scores, axis=0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def squared_correlations(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Of each latent with each factor as a number, (latents, factors); 0 of a dead latent."""
    z, v = (np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=float) for x in (codes, factors))
    alive = z.var(axis=0, ddof=1) > DEAD
    squares = np.outer(np.where(alive, np.square(z).sum(axis=0), 1), np.square(v).sum(axis=0))
    return np.where(alive[:, None], np.square(z.T @ v) / squares, 0.0)


def accuracies(
    codes: np.ndarray, factors: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, bool]:
    """Of telling each factor from one latent, (latents, factors); 0 of a dead latent.

    By a linear support vector machine (C = 0.01, balanced classes) that is fitted on the rows
    `train`, on the rows `test`.

    Returns:
        The accuracies, and whether every fit converged within scikit-learn's 1000 iterations.
    """
    codes, converged = np.asarray(codes, np.float64), True
    found = np.zeros((codes.shape[1], factors.shape[1]))
    for i, z in enumerate(codes.T):
        if z[train].var(ddof=1) <= DEAD:
            continue
        for j, v in enumerate(factors.T):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # it is returned instead
                machine.fit(z[train, None], v[train])
            converged &= bool(machine.n_iter_ < machine.max_iter)
            found[i, j] = np.mean(machine.predict(z[test, None]) == v[test])
    return found, converged


def modularity(information: np.ndarray) -> float:
    """Whether each latent knows of one factor alone: in [0, 1], from `mutual_information`.

    The mean over latents of 1 - (sum of I^2 - max I^2) / ((factors - 1) max I^2), and 0 for one
    that knows nothing. Ridgeway and Mozer 2018 (arXiv:1802.05312).
    """
    information = np.where(information > DEAD, information, 0)  # of nothing, rounding is left
    squares = np.square(information)
    largest = squares.max(axis=1)
    others = squares.sum(axis=1) - largest
    most = np.where(largest == 0, 1, largest) * (squares.shape[1] - 1)
    return float(np.mean(np.where(largest == 0, 0.0, 1 - others / most)))


class Importances(NamedTuple):
    """values: of each latent for each factor, (latents, factors), at least 0.
    train, test: mean accuracy over factors.
    """

    values: np.ndarray
    train: float
    test: float


def importances(
    codes: np.ndarray, factors: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int = 0
) -> Importances:
    """How much gradient boosted trees use each latent to tell each factor from all latents.

    Fitted on the rows `train`. `test` is the informativeness of DCI.
    """
    values = np.zeros((codes.shape[1], factors.shape[1]))
    right = np.zeros((2, factors.shape[1]))
    for j, v in enumerate(factors.T):
        trees = GradientBoostingClassifier(random_state=seed).fit(codes[train], v[train])
        values[:, j] = np.abs(trees.feature_importances_)
        right[:, j] = [np.mean(trees.predict(codes[rows]) == v[rows]) for rows in (train, test)]
    return Importances(values, *right.mean(axis=1).tolist())


def disentanglement(values: np.ndarray) -> float:
    """Whether each latent matters for one factor alone: in [0, 1], of importances.

    The mean over latents, weighted by their importance, of 1 - H / ln(factors), where H is the
    entropy of a latent's importances over factors. Eastwood and Williams 2018
    (https://openreview.net/forum?id=By-7dz-AZ).
    """
    each = 1 - entropy(values.T + 1e-11, base=values.shape[1])
    total = values.sum()
    weights = values.sum(axis=1) / total if total else np.full(len(values), 1 / len(values))
    return float(np.sum(weights * each))


def completeness(values: np.ndarray) -> float:
    """Whether one latent alone matters for each factor: `disentanglement` with the roles
    changed."""
    return disentanglement(values.T)
