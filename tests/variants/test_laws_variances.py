"""Laws of Gaussian likelihoods whose one variance is learned, or follows from the errors."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Objective
from jaxvae.variants.kl import OptimalSigma
from tests.variants.outputs import BATCH, PIXELS, images, measured, output, outputs

pytestmark = pytest.mark.numeric

LEARNED = Objective("gaussian_learned")


def mean_squared_error(decoded: jax.Array, given: Any) -> jax.Array:
    squared = jnp.square(decoded - given.target)
    if given.observed is None:
        return jnp.mean(squared)
    return jnp.sum(jnp.where(given.observed, squared, 0.0)) / jnp.sum(given.observed.astype(float))


@pytest.mark.parametrize("masked", [False, True])
def test_the_optimal_variance_is_the_mean_squared_error(masked):
    """Mean recon = D/2 (log(2 pi MSE) + 1), D the mean number of observed values, of which examples
    have 3 to 12. Its gradient is that of this function, whose variance is derived too: at a minimum
    it adds nothing."""
    counts = 3 + np.arange(BATCH) % 10
    observed = jnp.asarray(np.arange(PIXELS) < counts[:, None]) if masked else None
    own, given = outputs(), images(observed=observed)
    number = float(counts.mean()) if masked else PIXELS

    def unstopped(decoded: jax.Array) -> jax.Array:
        mse = mean_squared_error(decoded, given)
        return number / 2 * (jnp.log(2 * math.pi * mse) + 1)

    expected, slope = jax.value_and_grad(unstopped)(own["decoded"])
    found, gradient = measured(OptimalSigma(), own, given)
    assert float(jnp.mean(found["recon"])) == pytest.approx(float(expected), rel=1e-6)
    mse = float(mean_squared_error(own["decoded"], given))
    assert float(found["sigma"]) == pytest.approx(math.sqrt(mse), rel=1e-6)
    np.testing.assert_allclose(gradient["decoded"], slope, rtol=1e-5, atol=1e-7)
    if masked:
        np.testing.assert_array_equal(np.asarray(gradient["decoded"]) != 0, observed)
        unmasked, _ = measured(OptimalSigma(), own, images())
        assert abs(float(unmasked["sigma"] / found["sigma"]) - 1) > 1e-3


def test_the_learned_variance_is_best_where_it_is_the_optimal_one():
    """Its gradient is D/2 (1 - MSE / sigma^2): 0 there, so that both have the same loss and, by
    what the model said, the same gradient; below it negative, above it positive."""
    own, given = outputs(), images()
    best = jnp.log(mean_squared_error(own["decoded"], given))

    def loss(logvar: jax.Array) -> jax.Array:
        params = {"logvar": logvar}
        return jnp.mean(LEARNED.terms(output(own), given, params)["loss"])

    for factor in (0.5, 1.0, 2.0):
        slope = jax.grad(loss)(best + jnp.log(factor))
        np.testing.assert_allclose(slope, PIXELS / 2 * (1 - 1 / factor), rtol=1e-5, atol=1e-5)
    learned, of_learned = measured(LEARNED, own, given, {"logvar": best})
    optimal, of_optimal = measured(OptimalSigma(), own, given)
    np.testing.assert_allclose(learned["loss"], optimal["loss"], rtol=1e-6)
    for name in own:
        np.testing.assert_allclose(of_learned[name], of_optimal[name], rtol=1e-5, atol=1e-7)
