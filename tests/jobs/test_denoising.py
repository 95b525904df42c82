"""Denoising: what the PSNR is, and that nothing adds noise but the job."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.decomposition import PCA

import jaxvae
from experiments.jobs import denoising
from jaxvae import Data, Experiment, Model, Objective, Train


def test_psnr_is_of_each_image_and_in_decibels():
    clean = np.zeros((2, 4, 4, 1), np.float32)
    shown = clean.copy()
    shown[0] += 0.1  # 20 dB
    shown[1] += 0.01  # 40 dB
    assert denoising.psnr(clean, shown) == pytest.approx(30, abs=1e-3)


def test_noise_has_its_level_and_stays_in_range():
    grey = np.full((10, 28, 28, 1), 0.5, np.float32)
    given = denoising.noisy(grey, 0.1, seed=0)
    assert given.std() == pytest.approx(0.1, rel=0.05)  # of 7840 draws: 3 standard errors are 2.4 %
    assert np.array_equal(given, denoising.noisy(grey, 0.1, seed=0))
    wide = denoising.noisy(grey, 5, seed=0)
    assert wide.min() == 0 and wide.max() == 1


def test_all_components_give_the_image_back():
    images = np.random.default_rng(0).random((30, 3, 3, 1)).astype(np.float32)
    pca = PCA(9).fit(images.reshape(30, 9))
    np.testing.assert_allclose(denoising.projected(pca, images, 9), images, atol=1e-5)
    errors = [np.square(denoising.projected(pca, images, k) - images).sum() for k in (1, 4, 8)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_a_window_of_one_pixel_changes_nothing():
    images = np.random.default_rng(0).random((2, 5, 5, 1)).astype(np.float32)
    assert np.array_equal(denoising.median(images, 1), images)
    dot = np.zeros((1, 5, 5, 1), np.float32)
    dot[0, 2, 2] = 1
    assert denoising.median(dot, 3).max() == 0


@pytest.mark.slow
def test_a_denoising_run_adds_no_noise_of_its_own():
    """Its own `reconstruct` does, as in validation."""
    experiment = Experiment(
        name="dae",
        data=Data("digits", limit=64, batch_size=32, corruption="gaussian", corruption_level=0.5),
        model=Model(family="AE", hidden_dims=(16,), latent_dim=4, output="sigmoid"),
        objective=Objective("mse"),
        train=Train(epochs=1, figures_every=None),
    )
    run = jaxvae.train(experiment, quiet=True)
    images = run.dataset.test.images[:4]
    plain = replace(
        run.trained.experiment,
        data=replace(experiment.data, corruption="none", corruption_level=0.0),
    )
    clean_run = run.trained._replace(experiment=plain)
    twice = np.repeat(images[:1], 2, axis=0)
    a, b = denoising.through(run, twice)
    assert np.array_equal(a, b) and clean_run.experiment.data.corruption == "none"
    a, b = run.reconstruct(twice)
    assert not np.array_equal(a, b)
