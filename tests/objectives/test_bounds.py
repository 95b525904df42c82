"""Bounds of several samples by their log weights alone: closed forms, orders, limits, gradients."""

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxvae.objectives.bounds import (
    importance_weighted,
    mean_elbo,
    renyi,
    several_importance_weighted,
)

pytestmark = pytest.mark.numeric

K, BATCH = 12, 7


def weights(scale: float = 3.0, shift: float = -90.0) -> np.ndarray:
    """Log weights (samples, batch) in float32, spread as those of a poor posterior are."""
    drawn = np.random.default_rng(0).standard_normal((K, BATCH))
    return (shift + scale * drawn).astype(np.float32)


def iwae(log_w: np.ndarray) -> np.ndarray:
    """log mean_k w_k of the first axis, in float64."""
    return special.logsumexp(log_w.astype(np.float64), axis=0) - math.log(len(log_w))


def test_each_bound_is_its_formula_in_float64():
    log_w = weights()
    wide = log_w.astype(np.float64)
    groups = wide.reshape(3, 4, BATCH)
    # Numbers of about 100 are rounded to 8e-6; alpha = 0.5 divides that by 1 - alpha.
    np.testing.assert_allclose(mean_elbo(log_w), wide.mean(axis=0), atol=4e-5)
    np.testing.assert_allclose(importance_weighted(log_w), iwae(wide), atol=2e-5)
    several = np.mean([iwae(group) for group in groups], axis=0)
    np.testing.assert_allclose(several_importance_weighted(log_w, 3), several, atol=4e-5)
    for alpha in (-1.0, 0.25, 0.5, 2.0):
        expected = iwae((1 - alpha) * wide) / (1 - alpha)
        np.testing.assert_allclose(renyi(log_w, alpha), expected, atol=4e-5)


def test_values_that_can_be_counted():
    """Of weights 1, 1, 1 and 5: log 2; in pairs (1, 1), (1, 5): half of log 3; of their square
    roots, alpha = 1/2: 2 log((3 + sqrt 5) / 4)."""
    log_w = jnp.log(jnp.asarray([[1.0], [1.0], [1.0], [5.0]]))
    for found, expected in [
        (mean_elbo(log_w), math.log(5) / 4),
        (importance_weighted(log_w), math.log(2)),
        (several_importance_weighted(log_w, 2), math.log(3) / 2),
        (renyi(log_w, 0.5), 2 * math.log((3 + math.sqrt(5)) / 4)),
    ]:
        np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_a_bound_of_a_group_is_of_consecutive_samples():
    """Groups of equal weights: each bound is that weight, and their mean that of the groups.
    Were the other axis normalised, it would be log((1 + e^10) / 2) = 9.3069."""
    log_w = jnp.repeat(jnp.asarray([[0.0], [10.0]]), 3, axis=0)
    np.testing.assert_allclose(several_importance_weighted(log_w, 2), [5.0], atol=1e-6)
    others = log_w.reshape(2, 3, 1).swapaxes(0, 1).reshape(6, 1)
    np.testing.assert_allclose(
        several_importance_weighted(others, 3), [math.log((1 + math.exp(10)) / 2)], atol=1e-5
    )


def test_neutral_settings():
    log_w = weights()
    of_all, alone = importance_weighted(log_w), mean_elbo(log_w)
    np.testing.assert_array_equal(several_importance_weighted(log_w, 1), of_all)
    np.testing.assert_array_equal(several_importance_weighted(log_w, K), alone)
    np.testing.assert_array_equal(renyi(log_w, 0.0), of_all)
    one = log_w[:1]  # of one sample each is its log weight, to the bit
    for bound in (mean_elbo, importance_weighted, lambda w: several_importance_weighted(w, 1)):
        np.testing.assert_array_equal(bound(one), one[0])
    for alpha in (-1.0, 0.5, 3.0):  # 1 - alpha is a power of two: nothing is rounded
        np.testing.assert_array_equal(renyi(one, alpha), one[0])


@pytest.mark.parametrize("alpha", [0.99, 1.01])
def test_renyi_tends_to_the_mean_with_half_the_variance(alpha):
    """1/(1 - a) log mean w^(1 - a) = mean + (1 - a)/2 var + O((1 - a)^2), the first cumulants."""
    log_w = weights(scale=1.0, shift=0.0)
    expected = log_w.mean(axis=0) + (1 - alpha) / 2 * log_w.var(axis=0)
    # The third cumulant, below 2, times (1 - a)^2 / 6; a rounding of 2e-7 is divided by 0.01.
    np.testing.assert_allclose(renyi(log_w, alpha), expected, atol=7e-5)
    assert (np.abs(renyi(log_w, alpha) - log_w.mean(axis=0)) > 1e-3).all()


def test_bounds_are_ordered_for_every_draw():
    """mean <= Renyi <= IWAE for 0 < alpha < 1, falling in alpha, beyond it on both sides; and
    mean <= MIWAE <= IWAE, rising as the groups become fewer: all by Jensen's inequality."""
    log_w = weights()
    alphas = (2.0, 0.9, 0.5, 0.1, 0.0, -1.0)
    bounds = [np.asarray(renyi(log_w, alpha)) for alpha in alphas]
    for lower, upper in pairwise(bounds):
        assert (lower < upper).all()
    assert (bounds[0] < mean_elbo(log_w)).all() and (mean_elbo(log_w) < bounds[1]).all()
    groups = [np.asarray(several_importance_weighted(log_w, m)) for m in (12, 6, 3, 1)]
    for lower, upper in pairwise(groups):
        assert (lower < upper).all()


BOUNDS = {
    "mean": mean_elbo,
    "iwae": importance_weighted,
    "miwae": lambda log_w: several_importance_weighted(log_w, 3),
    "renyi": lambda log_w: renyi(log_w, 0.5),
    "renyi below 0": lambda log_w: renyi(log_w, -1.0),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_equal_weights_give_themselves_and_a_constant_moves_the_bound(name):
    """Also where exp of the weights overflows or vanishes."""
    bound = BOUNDS[name]
    for value in (-1e4, 0.0, 1e4):
        found = bound(jnp.full((K, BATCH), value))
        np.testing.assert_allclose(found, np.full(BATCH, value), rtol=1e-6, atol=1e-6)
    log_w = weights(shift=0.0)
    moved = bound(log_w + np.float32(4096))  # of which 4096 + x keeps 2.4e-4 of x
    np.testing.assert_allclose(moved - 4096, bound(log_w), atol=1e-3)


def of_weights(log_w: np.ndarray, power: float = 1.0) -> np.ndarray:
    return special.softmax(power * log_w.astype(np.float64), axis=0)


def test_gradients_are_normalised_weights():
    """By log w_k: 1/K, w_k / sum w, in its group divided by M, and w_k^(1 - a) / sum w^(1 - a)."""
    log_w = weights()
    groups = [of_weights(group) / 3 for group in log_w.reshape(3, 4, BATCH)]
    expected = {
        "mean": np.full((K, BATCH), 1 / K),
        "iwae": of_weights(log_w),
        "miwae": np.concatenate(groups),
        "renyi": of_weights(log_w, 0.5),
        "renyi below 0": of_weights(log_w, 2.0),
    }
    assert expected.keys() == BOUNDS.keys()
    for name, bound in BOUNDS.items():
        slope = jax.grad(lambda w: bound(w).sum())(jnp.asarray(log_w))  # noqa: B023
        # Weights below 1; their logarithms, of about 100, are rounded to 8e-6.
        np.testing.assert_allclose(slope, expected[name], rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(slope.sum(axis=0), 1, rtol=1e-5)


def test_burdas_bounds_on_how_far_an_estimate_is_off():
    """p(z) = N(0, 1), p(x|z) = N(z, 1), x = 1, q the prior: log p(1) = -1.515512. An estimate is
    above it by b with probability e^-b at most (Markov), off by 2 + 2 (log p(1) - its mean) at most
    in the mean (their appendix B), and bounds rise with K towards it."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((64, 20_000)).astype(np.float32)
    log_w = -0.5 * np.square(1 - z) - np.float32(0.5 * math.log(2 * math.pi))
    log_p = -0.25 - 0.5 * math.log(4 * math.pi)
    assert log_p == pytest.approx(-1.515512, abs=1e-6)
    means = []
    for samples in (1, 2, 4, 16, 64):
        bound = np.asarray(importance_weighted(log_w[:samples]))
        for b in (0.25, 0.5, 1.0):
            assert (bound > log_p + b).mean() <= math.exp(-b)
        assert np.abs(bound - log_p).mean() <= 2 + 2 * (log_p - bound.mean())
        means.append((bound.mean(), bound.std() / math.sqrt(len(bound))))
    assert abs(means[0][0] + 1.918939) < 5 * means[0][1]
    for (lower, _), (upper, error) in pairwise(means):
        assert lower + 5 * error < upper < log_p + 5 * error
