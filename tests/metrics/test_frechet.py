"""The Frechet distance of Gaussians by closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxvae.checks import UsageError
from jaxvae.metrics.frechet import frechet_distance, gaussian_frechet


def test_closed_forms():
    """N(0, I4) and N(1, 4 I4): 4 of the means, and 4 (1 + 4 - 2 * 2) of the covariances."""
    identity = np.eye(4)
    assert gaussian_frechet(np.zeros(4), identity, np.ones(4), 4 * identity) == pytest.approx(8)
    # Diagonal covariances: sum of squared differences of deviations.
    a, b = np.array([1.0, 2.0, 0.0]), np.array([3.0, 0.5, 4.0])
    found = gaussian_frechet(np.zeros(3), np.diag(a**2), np.zeros(3), np.diag(b**2))
    assert found == pytest.approx(np.sum((a - b) ** 2))


def test_covariances_that_do_not_commute():
    """Against the root of the product as it is written, by SciPy's Schur method."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 50, 5)) @ rng.standard_normal((2, 5, 5))
    a, b = np.cov(x.T), np.cov(y.T)
    written = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(x, y) == pytest.approx(written, rel=1e-8)
    assert frechet_distance(y, x) == pytest.approx(written, rel=1e-8)


def test_laws():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((30, 4))
    # Rounding in cov is 1e-16, of which a root is taken: 1e-8 at the most.
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-7)
    assert frechet_distance(x, x + np.array([3, 4, 0, 0])) == pytest.approx(25)
    assert frechet_distance(x[rng.permutation(30)], x + 1) == pytest.approx(4)
    turned, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    y = rng.standard_normal((20, 4))
    assert frechet_distance(x @ turned, y @ turned) == pytest.approx(frechet_distance(x, y))


def test_fewer_examples_are_further_apart():
    """Of one distribution: the bias that the docstring warns of."""
    rng = np.random.default_rng(2)
    few, many = (frechet_distance(*rng.standard_normal((2, n, 8))) for n in (50, 5000))
    assert few > 10 * many > 0


def test_what_has_no_covariance():
    with pytest.raises(UsageError, match="1 example"):
        frechet_distance(np.ones((1, 3)), np.ones((5, 3)))
    with pytest.raises(UsageError, match="not finite"):
        frechet_distance(np.full((3, 3), np.nan), np.ones((5, 3)))
