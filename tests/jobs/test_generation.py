"""The baseline of the generation job has the moments of the images."""

import numpy as np

from experiments.jobs.generation import from_components


def test_samples_of_all_components_have_mean_and_covariance_of_the_images():
    """Of 4000 images near 1/2, where nothing is clipped: means to five standard errors."""
    rng = np.random.default_rng(0)
    known = (0.5 + 0.05 * rng.normal(size=(4000, 2, 2, 1))).astype(np.float32)
    known[:, 1] = known[:, 0]  # of rank 2
    found = from_components(known, 4000, 4).reshape(4000, -1)
    np.testing.assert_allclose(found.mean(axis=0), 0.5, atol=5 * 0.05 / 4000**0.5)
    expected = np.cov(known.reshape(4000, -1), rowvar=False)
    np.testing.assert_allclose(np.cov(found, rowvar=False), expected, atol=3e-4)
