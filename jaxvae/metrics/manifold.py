"""Samples against real examples by their nearest neighbours: do they lie where the others do?"""

import numpy as np
from sklearn.metrics import pairwise_distances_argmin_min, pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from jaxvae.checks import UsageError

K = 5
ROUNDING = 1e-6  # of an example's norm, up to which a distance is that of a copy


def prdc(real: np.ndarray, fake: np.ndarray, k: int = K) -> dict[str, np.ndarray]:
    """Precision, recall, density and coverage of fake examples among real ones.

    An example's ball reaches to the k-th of its own kind, itself not counted; to lie on its edge is
    to lie outside.

    - precision: the share of fakes in the ball of some real one; recall: the share of real ones in
      the ball of some fake. Kynkaanniemi et al. 2019 (arXiv:1904.06991). They are not 1 for two
      sets of one distribution.
    - density: in how many real balls a fake lies, over k; its expectation is 1 for two sets of one
      distribution, and it may be larger. coverage: the share of real balls with a fake in them;
      then `expected_coverage` on average. Naeem et al. 2020 (arXiv:2002.09797), whose package
      `prdc` computes the same.

    Args:
        real: features, (n, d).
        fake: features, (m, d).
        k: which neighbour.

    Returns:
        What each is the mean of: precision and density of the fakes, (m,), recall and coverage of
        the real examples, (n,).

    Raises:
        UsageError: a set has at most k examples, or features that are no numbers.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    if (fewest := min(len(real), len(fake))) <= k:
        raise UsageError(f"{fewest} examples: precision and coverage take more than k = {k}")
    if not (np.isfinite(real).all() and np.isfinite(fake).all()):
        raise UsageError("features are not finite")
    real_radius, fake_radius = radii(real, k), radii(fake, k)
    in_real = np.zeros(len(fake), int)  # in how many real balls each fake lies
    covered: list[bool] = []
    recalled: list[bool] = []
    for distances in pairwise_distances_chunked(real, fake):
        radius = real_radius[len(covered) : len(covered) + len(distances)]
        inside = distances < radius[:, np.newaxis]
        in_real += inside.sum(axis=0)
        covered += inside.any(axis=1).tolist()
        recalled += (distances < fake_radius).any(axis=1).tolist()
    return {
        "precision": in_real > 0,
        "recall": np.array(recalled),
        "density": in_real / k,
        "coverage": np.array(covered),
    }


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """The distance of each example, (n,), to the k-th nearest of the others; 0 of k copies."""
    distances, _ = NearestNeighbors(n_neighbors=k).fit(features).kneighbors()
    # With many features it is the root of a difference of squares, and so of copies some 1e-8 of
    # the norm.
    found: np.ndarray = distances[:, -1]
    return np.where(found > ROUNDING * np.linalg.norm(features, axis=1), found, 0.0)


def expected_coverage(n: int, k: int = K) -> float:
    """Of two sets of n examples of one distribution: 1 - prod_{i=1..k} (n - i) / (2n - i).

    Naeem et al. 2020, lemma 2.
    """
    i = np.arange(1, k + 1)
    return float(1 - np.prod((n - i) / (2 * n - i)))


def nearest_distances(features: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The distance of each example, (n, d) to (n,), to the nearest one `among`, (m, d)."""
    return pairwise_distances_argmin_min(features, among)[1]
