"""How alike images are: PSNR and SSIM, of each pair."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from jaxvae.checks import UsageError

SIGMA = 1.5
RADIUS = 5
"""Of the window, in pixels: 11 by 11."""
VALUES = 1_000_000
"""Of images, at most, that are compared at once: some ten arrays of float64 of as many."""


def psnr(mse: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in decibels, -10 log10 of the mean squared error, (n,).

    Of pixels in [0, 1], whose peak is 1. Infinite where the images are equal.
    """
    with np.errstate(divide="ignore"):
        return -10 * np.log10(np.asarray(mse, np.float64))


def ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Structural similarity of images (n, height, width, channels) with pixels in [0, 1]: (n,).

    Wang et al. 2004 (https://doi.org/10.1109/TIP.2003.819861): a Gaussian window of sigma 1.5,
    11x11 pixels, of weighted moments; K1 = 0.01, K2 = 0.03; the mean over where the window lies
    within the image, and over channels. As scikit-image's `structural_similarity` with
    gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.

    Raises:
        UsageError: images smaller than the window.
    """
    side = 2 * RADIUS + 1
    if min(a.shape[1:3]) < side:
        height, width = a.shape[1:3]
        raise UsageError(f"images of {height}x{width}: SSIM takes at least {side}x{side} pixels")
    each = max(1, VALUES // math.prod(a.shape[1:]))
    parts = [_ssim(a[i : i + each], b[i : i + each]) for i in range(0, len(a), each)]
    return np.concatenate(parts)


def _ssim(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def smooth(x: np.ndarray) -> np.ndarray:
        x = gaussian_filter(x, (0, SIGMA, SIGMA, 0), radius=(0, RADIUS, RADIUS, 0))
        return x[:, RADIUS:-RADIUS, RADIUS:-RADIUS]

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return (luminance * structure).mean(axis=(1, 2, 3))
