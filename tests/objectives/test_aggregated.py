"""The aggregated posterior: weights that add up, values of the literature, sums that telescope."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.objectives import gaussian_log_density
from jaxvae.objectives.aggregated import (
    aggregated,
    aggregated_in_parts,
    decomposition,
    log_mixture_weights,
)

pytestmark = pytest.mark.numeric


def posteriors(n: int, latents: int, seed: int = 0):
    """Codes, one of each posterior, means and logvars."""
    rng = np.random.default_rng(seed)
    mean, logvar = rng.normal(size=(n, latents)), rng.normal(size=(n, latents)) - 1
    z = mean + np.exp(logvar / 2) * rng.normal(size=(n, latents))
    return tuple(jnp.asarray(x, jnp.float32) for x in (z, mean, logvar))


def apart(n: int):
    """Posteriors so far apart that a code belongs to its own alone, and codes at their means."""
    mean = 100.0 * jnp.arange(n, dtype=jnp.float32)[:, None]
    return mean, mean, jnp.zeros_like(mean)


def means(z, mean, logvar, log_w) -> tuple[float, ...]:
    return tuple(
        float(x.mean()) for x in decomposition(z, mean, logvar, aggregated(z, mean, logvar, log_w))
    )


@pytest.mark.parametrize("number", [10, 60_000])
@pytest.mark.parametrize("batch", [2, 3, 10])
def test_weights_of_mss_add_up_and_the_example_itself_is_the_diagonal(batch, number):
    w = np.exp(np.asarray(log_mixture_weights("mss", batch, number), float))
    np.testing.assert_allclose(w.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(w.diagonal(), 1 / number, rtol=1e-6)
    m = batch - 1
    others = np.sort(w[~np.eye(batch, dtype=bool)].reshape(batch, m), axis=1)
    np.testing.assert_allclose(others[:, 0], (number - m) / (number * m), rtol=1e-5)
    np.testing.assert_allclose(others[:, 1:], 1 / m, rtol=1e-6)
    with pytest.raises(ValueError, match="at least 2 for mss"):
        log_mixture_weights("mss", 1, number)


def test_of_posteriors_apart_mss_gives_log_n_and_plain_log_b():
    """N = 60,000 and B = 1000: 11.00210 and 6.907755; where the first column is taken for the
    diagonal, it is log(B - 1) = 6.906755."""
    z, mean, logvar = apart(1000)
    found = {
        name: means(z, mean, logvar, log_mixture_weights(name, 1000, 60_000))[0]
        for name in ("mss", "plain", "mws")
    }
    assert found["mss"] == pytest.approx(11.00210, abs=1e-5)
    assert found["plain"] == pytest.approx(6.907755, abs=1e-5)
    assert found["mws"] == pytest.approx(math.log(60_000) + 6.907755, abs=2e-5)


@pytest.mark.parametrize("latents", [1, 4])
def test_of_posteriors_that_are_the_prior_mws_gives_its_offset(latents):
    """MI = log N, TC = (L - 1) log N, dwKL = -L log N; the others give 0."""
    z, _, _ = posteriors(20, latents)
    prior = jnp.zeros_like(z)
    offset = math.log(500)
    expected = (offset, (latents - 1) * offset, -latents * offset)
    mws = means(z, prior, prior, log_mixture_weights("mws", 20, 500))
    np.testing.assert_allclose(mws, expected, atol=2e-5)
    for name in ("mss", "plain"):
        found = means(z, prior, prior, log_mixture_weights(name, 20, 500))
        np.testing.assert_allclose(found, 0, atol=2e-5)


@pytest.mark.parametrize("name", ["mws", "mss", "plain"])
def test_parts_add_up_to_the_ratio_whatever_the_mixture(name):
    z, mean, logvar = posteriors(30, 3)
    q = aggregated(z, mean, logvar, log_mixture_weights(name, 30, 90))
    ratio = gaussian_log_density(z, mean, logvar) - gaussian_log_density(z)
    np.testing.assert_allclose(sum(decomposition(z, mean, logvar, q)), ratio, rtol=1e-4, atol=1e-4)


def test_independent_latents_have_no_total_correlation_and_equal_ones_have_one():
    """All posteriors of a grid: q(z) is a product. Where z_2 = z_1, TC is the entropy of one,
    here log 8 for 8 posteriors apart."""
    a, b = np.meshgrid(np.arange(5.0), np.arange(7.0))
    mean = jnp.asarray(np.stack([a.ravel(), b.ravel()], axis=1), jnp.float32)
    z, logvar = mean + 0.3, jnp.full_like(mean, -0.5)
    np.testing.assert_allclose(means(z, mean, logvar, -math.log(35))[1], 0, atol=1e-5)
    z, mean, logvar = (jnp.tile(x, (1, 2)) for x in apart(8))
    np.testing.assert_allclose(means(z, mean, logvar, -math.log(8))[1], math.log(8), rtol=1e-5)


@pytest.mark.parametrize("part", [1, 7, 20, 64])
def test_parts_of_the_mixture_are_the_mixture(part):
    z, mean, logvar = posteriors(20, 3)
    whole = aggregated(z[:6], mean, logvar, -math.log(20))
    found = aggregated_in_parts(z[:6], mean, logvar, part)
    np.testing.assert_allclose(found.joint, whole.joint, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.marginals, whole.marginals, rtol=1e-5, atol=1e-5)
