"""Anomaly detection: the entropy of grey images, and PCA's errors."""

import math

import numpy as np
import pytest

from experiments.jobs import anomalies
from jaxvae.objectives.likelihoods import bernoulli_nll


def test_the_floor_is_what_the_best_logits_come_to():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)).astype(np.uint8)
    images[0] = 0
    x = np.clip(images / 255, 1e-7, 1 - 1e-7).astype(np.float32)
    logits = np.log(x) - np.log1p(-x)
    least = np.asarray(bernoulli_nll(logits, (images / 255).astype(np.float32)))
    np.testing.assert_allclose(anomalies.entropy_floor(images), least, rtol=1e-4, atol=1e-4)
    assert anomalies.entropy_floor(images)[0] == 0
    half = np.full((1, 2, 2, 1), 127.5)
    assert anomalies.entropy_floor(half)[0] == pytest.approx(4 * math.log(2))


def test_errors_of_pca_are_those_of_its_projection():
    rng = np.random.default_rng(0)
    normal, images = (rng.integers(0, 256, (n, 10, 10, 1)) for n in (300, 7))
    from sklearn.decomposition import PCA

    flat = images.reshape(7, -1) / 255.0
    for k, errors in anomalies.pca_errors(normal, images).items():
        pca = PCA(k).fit(normal.reshape(300, -1) / 255.0)
        shown = pca.inverse_transform(pca.transform(flat))
        np.testing.assert_allclose(errors, np.square(flat - shown).sum(axis=1), rtol=1e-3)
