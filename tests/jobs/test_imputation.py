"""Imputation: only what was hidden counts, and the methods are what they are called."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.impute import KNNImputer

import jaxvae
from experiments.jobs import imputation
from jaxvae import Data, Experiment, Model, Objective, Train


def test_what_was_observed_does_not_count():
    true, filled = np.zeros((2, 3)), np.full((2, 3), 5.0)
    hidden = np.array([[True, False, False], [False, True, False]])
    filled[hidden] = [1, 3]
    assert imputation.hidden_error(true, filled, hidden) == 5  # (1 + 9) / 2


def test_half_of_the_table_is_hidden():
    values, hidden = imputation.table()
    assert values.shape == (569, 30) and hidden.sum() == 569 * 30 // 2
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(values.std(axis=0), 1, rtol=1e-12)
    # Column means of what is seen: about the variance, 1 (the notes of MIWAE's authors: 1.0275).
    mean = np.nanmean(np.where(hidden, np.nan, values), axis=0)
    error = imputation.hidden_error(values, np.broadcast_to(mean, values.shape), hidden)
    assert error == pytest.approx(1.0, abs=0.06)


def test_nearest_images_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    known, images = (rng.random((n, 4, 4, 1)).astype(np.float32) for n in (40, 5))
    hidden = rng.random(images.shape) < 0.5
    found = imputation.nearest_images(images, hidden, known, [1, 3])
    given = np.where(hidden, np.nan, images).reshape(5, 16)
    for k, filled in found.items():
        imputer = KNNImputer(n_neighbors=k).fit(known.reshape(40, 16))
        np.testing.assert_allclose(filled.reshape(5, 16), imputer.transform(given), atol=1e-5)


def test_the_best_number_of_neighbours_is_found_from_what_is_observed():
    rng = np.random.default_rng(0)
    given = np.repeat(rng.normal(size=(30, 1)), 6, axis=1)
    given[rng.random(given.shape) < 0.3] = np.nan
    seen = []

    def fill(values, k):
        seen.append(np.isnan(values))
        return np.full(values.shape, 0.0) if k != 5 else np.nan_to_num(given)

    assert imputation.best_neighbours(given, fill) == 5
    hidden = np.isnan(given)
    assert all((now >= hidden).all() and now.sum() > hidden.sum() for now in seen)


def test_density_of_each_value_is_gaussian_but_for_a_constant():
    x, mean, logvar = jnp.linspace(-2, 2, 5), jnp.float32(0.3), jnp.float32(-0.7)
    found = imputation.gaussian_log_density_of_each(x, mean, logvar)
    truth = norm.logpdf(np.asarray(x), 0.3, np.exp(-0.35)) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_linear_model_comes_near_to_the_conditional_mean():
    """Three columns that are one number but for a little noise: two tell the third."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(800, 1)) + rng.normal(0, 0.1, (800, 3))
    hidden = np.zeros(values.shape, bool)
    hidden[np.arange(400), rng.integers(0, 3, 400)] = True
    given = np.where(hidden, np.nan, values).astype(np.float32)
    experiment = Experiment(
        name="linear",
        data=Data({"values": given}, batch_size=64, validation_fraction=0.1),
        model=Model(hidden_dims=(32,), latent_dim=1, output="linear"),
        objective=Objective("gaussian_learned"),
        train=Train(epochs=40, figures_every=None),
    )
    filled = imputation.expected(jaxvae.train(experiment, quiet=True), given, draws=200)
    # Means of columns come to the variance, 1.01; the best that can be done to 0.015, which takes
    # longer: after 40 epochs the codes are still drawn towards 0.
    assert imputation.hidden_error(values, filled, hidden) < 0.2


@pytest.mark.slow
def test_the_likeliest_code_is_likelier_than_where_it_began():
    run = jaxvae.train(
        Experiment(
            name="images",
            data=Data("digits", limit=200, batch_size=50),
            model=Model(hidden_dims=(32,), latent_dim=4),
            train=Train(epochs=60, figures_every=None),
        ),
        quiet=True,
    )
    images = run.dataset.test.images[:20] / np.float32(255)
    hidden = np.random.default_rng(0).random(images.shape) < 0.5
    start = np.full(images.shape, 0.5, np.float32)
    filled = imputation.most_likely(run, images, hidden, start)
    assert np.array_equal(filled[~hidden], images[~hidden])
    once = np.where(hidden, run.reconstruct(np.where(hidden, start, images)), images)
    errors = [imputation.hidden_error(images, each, hidden) for each in (start, once, filled)]
    assert errors[0] > errors[1] > errors[2]
