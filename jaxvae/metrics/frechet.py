"""The Frechet distance of two sets of features, each taken for a Gaussian."""

import numpy as np
from scipy.linalg import eigh, eigvalsh

from jaxvae.checks import UsageError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """`gaussian_frechet` of the means and covariances (ddof 1) of features (n, d) and (m, d).

    It grows as fewer examples are compared: of two halves of one set it is above 0. So numbers are
    compared at equal n, and beside that of two sets of real examples. (Known from FID, Heusel et
    al. 2017, arXiv:1706.08500, which is this on the features of one certain network.)

    Raises:
        UsageError: less than two examples, or features that are no numbers.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(a), len(b)) < 2:
        raise UsageError(f"{min(len(a), len(b))} example: a covariance takes at least 2")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UsageError("features are not finite")
    (mean_a, cov_a), (mean_b, cov_b) = (
        (x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (a, b)
    )
    return gaussian_frechet(mean_a, cov_a, mean_b, cov_b)


def gaussian_frechet(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): the squared 2-Wasserstein distance of Gaussians.

    Dowson and Landau 1982 (https://doi.org/10.1016/0047-259X(82)90077-X). The trace of the root is
    that of (S1^(1/2) S2 S1^(1/2))^(1/2), of a symmetric matrix, so covariances may be singular.

    Args:
        mean_a: (d,), float64.
        cov_a: (d, d).
        mean_b: (d,).
        cov_b: (d, d).
    """
    values, vectors = eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(eigvalsh(root @ cov_b @ root), 0)).sum()
    distance = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    return max(float(distance), 0.0)  # of equal sets rounding leaves a little
