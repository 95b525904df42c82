"""PSNR and SSIM against scikit-image, and of constants in closed form."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from jaxvae.checks import UsageError
from jaxvae.metrics import similarity
from jaxvae.metrics.similarity import psnr, ssim

RNG = np.random.default_rng(0)
A = RNG.random((3, 14, 17, 3))
B = np.clip(A + 0.2 * RNG.standard_normal(A.shape), 0, 1)


def test_against_scikit_image():
    expected = [
        structural_similarity(
            *pair,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1.0,
            channel_axis=-1,
        )
        for pair in zip(A, B, strict=True)
    ]
    np.testing.assert_allclose(ssim(A, B), expected, rtol=1e-10)
    assert 0.1 < min(expected) < max(expected) < 0.95
    mse = np.square(A - B).mean(axis=(1, 2, 3))
    theirs = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(A, B, strict=True)]
    np.testing.assert_allclose(psnr(mse), theirs, rtol=1e-12)


def test_constants():
    """0 against 1: C1 / (1 + C1), C1 = 1e-4, and variances of nothing."""
    zeros, ones = np.zeros((1, 11, 11, 1)), np.ones((1, 11, 11, 1))
    assert ssim(zeros, ones)[0] == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-9)
    assert ssim(zeros, ones)[0] == pytest.approx(9.999e-5, abs=5e-9)
    np.testing.assert_allclose(psnr(np.array([1.0, 0.1, 0.01])), [0, 10, 20], atol=1e-12)
    assert psnr(np.zeros(1))[0] == np.inf


def test_laws():
    np.testing.assert_allclose(ssim(A, A), 1, rtol=1e-12)
    np.testing.assert_allclose(ssim(A, B), ssim(B, A), rtol=1e-12)
    np.testing.assert_array_equal(ssim(A[::-1], B[::-1]), ssim(A, B)[::-1])
    np.testing.assert_array_equal(ssim(A[:1], B[:1]), ssim(A, B)[:1])


def test_images_smaller_than_the_window():
    with pytest.raises(UsageError, match="images of 8x12: SSIM takes at least 11x11"):
        ssim(np.zeros((1, 8, 12, 1)), np.zeros((1, 8, 12, 1)))


def test_parts_of_ssim(monkeypatch):
    """As many images at once as have so many values, and the same numbers."""
    a, b = np.random.default_rng(0).random((2, 7, 12, 12, 3))
    whole, sizes = similarity.ssim(a, b), []
    part = similarity._ssim
    monkeypatch.setattr(similarity, "_ssim", lambda x, y: sizes.append(len(x)) or part(x, y))
    monkeypatch.setattr(similarity, "VALUES", 3 * 12 * 12 * 3)
    np.testing.assert_array_equal(similarity.ssim(a, b), whole)
    monkeypatch.setattr(similarity, "VALUES", 5)
    np.testing.assert_array_equal(similarity.ssim(a, b), whole)
    assert sizes == [3, 3, 1] + [1] * 7
