"""A mixture of Gaussians on codes: its density by SciPy, its draws by their moments."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxvae.checks import UsageError
from jaxvae.evaluation import density
from jaxvae.evaluation.density import Density

# Two components far apart, of different weights, with correlations: a factor that is transposed, or
# a weight that is left out, changes every moment below.
MIXTURE = Density(
    np.array([0.2, 0.8]),
    np.array([[-6.0, 1.0], [5.0, 0.5]]),
    np.array([[[1.0, 0.8], [0.8, 2.0]], [[0.5, -0.3], [-0.3, 0.4]]]),
    (1, 2),
    step=3,
)


def test_log_density_is_that_of_scipy():
    z = np.random.default_rng(0).normal(0, 4, (50, 1, 2))
    of_each = [
        np.log(w) + stats.multivariate_normal(mean, cov).logpdf(z[:, 0])
        for w, mean, cov in zip(*MIXTURE[:3], strict=True)
    ]
    np.testing.assert_allclose(MIXTURE.log_prob(z), logsumexp(of_each, axis=0), rtol=1e-10)


def test_draws_have_the_weights_means_and_covariances():
    n = 20_000
    z = MIXTURE.sample(n, seed=1)
    assert z.shape == (n, 1, 2) and z.dtype == np.float32
    rows = z[:, 0].astype(np.float64)
    first = rows[:, 0] < 0  # more than five deviations from both means
    # Five standard errors: of a share, of means, and of products of two normals.
    assert abs(first.mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / n)
    for part, mean, cov in zip((rows[first], rows[~first]), *MIXTURE[1:3], strict=True):
        np.testing.assert_array_less(
            np.abs(part.mean(0) - mean), 5 * np.sqrt(np.diag(cov) / len(part))
        )
        spread = np.sqrt((np.square(cov) + np.outer(np.diag(cov), np.diag(cov))) / len(part))
        np.testing.assert_array_less(np.abs(np.cov(part.T) - cov), 5 * spread)
    assert (MIXTURE.sample(5, seed=1) == MIXTURE.sample(5, seed=1)).all()
    assert (MIXTURE.sample(5, seed=1) != MIXTURE.sample(5, seed=2)).any()


def test_one_component_is_the_codes_mean_and_covariance():
    codes = MIXTURE.sample(500, seed=2)
    found = density.fit(codes, step=7, components=1)
    rows = codes.reshape(500, 2).astype(np.float64)
    np.testing.assert_allclose(found.means[0], rows.mean(0), rtol=1e-6)
    # scikit-learn adds 1e-6 to each variance.
    np.testing.assert_allclose(found.covariances[0], np.cov(rows.T, bias=True), atol=1e-5)
    assert found.weights == pytest.approx([1]) and (found.shape, found.step) == ((1, 2), 7)
    with pytest.raises(UsageError, match=r"--components = 501: must be in 1\.\.500"):
        density.fit(codes, step=7, components=501)


def test_what_is_kept_with_a_run_comes_back(tmp_path):
    density.save(MIXTURE, tmp_path)
    found = density.read(tmp_path)
    assert (found.shape, found.step) == ((1, 2), 3)
    for ours, kept in zip(found[:3], MIXTURE[:3], strict=True):
        np.testing.assert_array_equal(ours, kept)
    (tmp_path / density.FILE).write_bytes(b"no archive")
    with pytest.raises(UsageError, match="damaged"):
        density.read(tmp_path)
