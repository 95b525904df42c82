"""Categorical codes by themselves: their KL, the Gumbel-max trick, its relaxation, the prior."""

import math
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from jaxvae import noise
from jaxvae.models.bottlenecks import Gaussian
from jaxvae.models.categorical import (
    Categorical,
    ContinuousAndCategorical,
    categorical_kl,
    gumbel_softmax,
    log_ratio,
    most_likely,
)
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric

NUMBER, CATEGORIES = 2, 4
PROBABILITIES = np.array([0.7, 0.2, 0.1])
LOGITS = jnp.asarray(np.random.default_rng(0).standard_normal((5, NUMBER, CATEGORIES)), jnp.float32)


def of(n: int, step: int = 0) -> Noise:
    return Noise(noise.root(0), step, jnp.arange(n))


def test_the_kl_to_the_uniform_categorical():
    """KL(.7, .2, .1 || uniform) = log 3 - H = 0.296794; 0 of the uniform, log K of one for sure."""
    log_p = jnp.log(jnp.asarray(PROBABILITIES, jnp.float32))
    assert float(categorical_kl(log_p)) == pytest.approx(0.296794, abs=1e-6)
    assert float(categorical_kl(jnp.zeros(5))) == pytest.approx(0, abs=1e-6)
    assert float(categorical_kl(jnp.asarray([0.0, 900.0, 0.0]))) == pytest.approx(math.log(3))
    p = jax.nn.softmax(LOGITS)
    expected = [[entropy(row, np.full(CATEGORIES, 0.25)) for row in rows] for rows in np.float64(p)]
    np.testing.assert_allclose(categorical_kl(LOGITS), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(categorical_kl(LOGITS + 30), expected, rtol=1e-4, atol=1e-5)


def test_the_mean_of_the_log_ratio_is_the_kl():
    """Exactly, over all codes of two variables; and within 5 standard errors over draws."""
    log_q = np.float64(jax.nn.log_softmax(LOGITS))
    codes = [np.eye(CATEGORIES)[list(c)] for c in product(range(CATEGORIES), repeat=NUMBER)]
    mean = np.zeros(len(LOGITS))
    for code in codes:
        y = jnp.broadcast_to(jnp.asarray(code, jnp.float32), LOGITS.shape)
        mean += np.exp((code * log_q).sum(axis=(1, 2))) * np.asarray(log_ratio(y, LOGITS))
    kl = categorical_kl(LOGITS).sum(axis=1)
    np.testing.assert_allclose(mean, kl, rtol=1e-4, atol=1e-6)
    logits = jnp.broadcast_to(LOGITS[:1], (4000, NUMBER, CATEGORIES))
    ratio = np.asarray(log_ratio(gumbel_softmax(logits, of(4000), None), logits))
    assert abs(ratio.mean() - float(kl[0])) < 5 * ratio.std() / math.sqrt(4000)
    assert ratio.std() > 0.1


def test_the_largest_of_perturbed_logits_is_a_draw_of_the_categorical():
    """Frequencies of three categories, within 5 standard errors; variables are drawn apart."""
    n = 5000
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32)), (n, 2, 3)) + 7
    y = np.asarray(gumbel_softmax(logits, of(n), None))
    assert set(np.unique(y)) == {0, 1} and (y.sum(axis=-1) == 1).all()
    error = np.sqrt(PROBABILITIES * (1 - PROBABILITIES) / n)
    assert (np.abs(y.mean(axis=0) - PROBABILITIES) < 5 * error).all()
    both = np.einsum("ni,nj->ij", y[:, 0], y[:, 1]) / n
    expected = np.outer(PROBABILITIES, PROBABILITIES)
    assert (np.abs(both - expected) < 5 * np.sqrt(expected / n)).all()
    again = gumbel_softmax(logits, of(n, step=1), None)
    assert (again != y).any(axis=(1, 2)).mean() > 0.3


def test_without_noise_the_most_likely_category():
    for temperature in (None, 0.5):
        y = gumbel_softmax(LOGITS, None, temperature)
        np.testing.assert_array_equal(y, np.eye(CATEGORIES)[np.argmax(LOGITS, axis=-1)])
    np.testing.assert_array_equal(most_likely(jnp.asarray([1.0, 3.0, 3.0])), [0, 1, 0])


def test_soft_codes_are_the_softmax_of_the_same_perturbed_logits_by_the_temperature():
    """They add up to 1; temperature log y - logits are the Gumbel draws, but for a constant,
    whatever temperature and logits are; from 0, the hard ones, to infinity, uniform ones."""
    draws = {}
    for temperature in (0.5, 1.0, 3.0):
        y = gumbel_softmax(LOGITS, of(5), temperature)
        np.testing.assert_allclose(y.sum(axis=-1), 1, rtol=1e-5)
        gumbel = temperature * np.log(np.float64(y)) - np.float64(LOGITS)
        draws[temperature] = gumbel - gumbel.mean(axis=-1, keepdims=True)
    # log y in float32, of y down to exp(-20)
    np.testing.assert_allclose(draws[0.5], draws[1.0], atol=1e-4)
    np.testing.assert_allclose(draws[3.0], draws[1.0], atol=1e-4)
    assert draws[1.0].std() > 0.5
    other = gumbel_softmax(jnp.zeros_like(LOGITS), of(5), 1.0)
    gumbel = np.log(np.float64(other))
    np.testing.assert_allclose(gumbel - gumbel.mean(axis=-1, keepdims=True), draws[1.0], atol=1e-4)
    hard = gumbel_softmax(LOGITS, of(5), None)
    np.testing.assert_allclose(gumbel_softmax(LOGITS, of(5), 1e-4), hard, atol=1e-3)
    np.testing.assert_allclose(gumbel_softmax(LOGITS, of(5), 1e5), 1 / CATEGORIES, atol=1e-3)


H = jnp.asarray(np.random.default_rng(1).standard_normal((6, 2, 3)), jnp.float32)


def of_shapes(layer: Any, seed: int = 2) -> Any:
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), H, None, False))
    return jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), shapes)


def test_codes_are_soft_in_training_and_drawn_in_evaluation():
    """Only of the drawn ones a density is known; the KL is that of the categories in both."""
    layer = Categorical(NUMBER, CATEGORIES)
    own = of_shapes(layer)
    dense = own["params"]["logits"]
    logits = H.reshape(6, 6) @ dense["kernel"] + dense["bias"][None]
    logits = logits.reshape(6, NUMBER, CATEGORIES)
    soft = layer.apply(own, H, of(6), True, 0.8)
    drawn = layer.apply(own, H, of(6), False, 0.8)
    np.testing.assert_allclose(
        soft.z.reshape(logits.shape), gumbel_softmax(logits, of(6), 0.8), rtol=1e-4, atol=1e-5
    )
    hard = gumbel_softmax(logits, of(6), None)
    np.testing.assert_array_equal(drawn.z.reshape(logits.shape), hard)
    assert soft.log_ratio is None
    np.testing.assert_allclose(drawn.log_ratio, log_ratio(hard, logits), rtol=1e-4, atol=1e-5)
    for code in (soft, drawn):
        expected = categorical_kl(logits).sum(axis=1)
        np.testing.assert_allclose(code.kl, expected, rtol=1e-4, atol=1e-5)
    best = np.asarray(most_likely(logits)).reshape(6, -1)
    np.testing.assert_array_equal(layer.apply(own, H, method="embed"), best)
    np.testing.assert_array_equal(layer.apply(own, H, None, False).z, best)
    assert (np.asarray(drawn.z) != best).any()


def test_every_category_of_the_prior_is_as_likely():
    n = 3000
    layer = Categorical(NUMBER, CATEGORIES)
    z = np.asarray(layer.apply(of_shapes(layer), of(n), method="prior"))
    assert z.shape == (n, NUMBER * CATEGORIES) and set(np.unique(z)) == {0, 1}
    y = z.reshape(n, NUMBER, CATEGORIES)
    assert (y.sum(axis=-1) == 1).all()
    assert np.abs(y.mean(axis=0) - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / n)


def test_a_continuous_and_a_categorical_code_stand_side_by_side():
    """Each as by itself, to the bit; KLs and log-ratios add up."""
    both = ContinuousAndCategorical(3, CATEGORIES)
    parts = Gaussian(3), Categorical(1, CATEGORIES)
    own = of_shapes(both)
    assert set(own["params"]) == {"mean", "logvar", "logits"}
    for train in (True, False):
        code = both.apply(own, H, of(6), train, 0.7)
        continuous = parts[0].apply(own, H, of(6), train)
        discrete = parts[1].apply(own, H, of(6), train, 0.7)
        np.testing.assert_array_equal(code.z[:, :3], continuous.z)
        np.testing.assert_array_equal(code.z[:, 3:], discrete.z)
        np.testing.assert_array_equal(code.aux["kl_continuous"], continuous.kl)
        np.testing.assert_array_equal(code.aux["kl_discrete"], discrete.kl)
        np.testing.assert_array_equal(code.kl, continuous.kl + discrete.kl)
        assert (code.log_ratio is None) == train
    np.testing.assert_array_equal(code.log_ratio, continuous.log_ratio + discrete.log_ratio)
    best = np.concatenate([part.apply(own, H, method="embed") for part in parts], axis=1)
    np.testing.assert_array_equal(both.apply(own, H, method="embed"), best)
    z = np.asarray(both.apply(own, of(3000), method="prior"))
    np.testing.assert_array_equal(z[:, 3:].sum(axis=1), 1)
    assert np.abs(z[:, 3:].mean(axis=0) - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 3000)
    assert np.abs(z[:, :3].mean(axis=0)).max() < 5 / math.sqrt(3000)
    assert np.abs(z[:, :3].var(axis=0) - 1).max() < 5 * math.sqrt(2 / 3000)
