"""Rounded scalars by themselves: which codes there are, which features they are of, gradients."""

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import noise
from jaxvae.models.finite_scalars import FiniteScalars
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric

LEVELS = [(8, 6, 5), (2,), (3, 2, 2), (16, 15)]
FEATURES = 20_000


def variables_of(channels: int) -> dict[str, Any]:
    """With a projection that changes nothing, so that the features are z."""
    return {"params": {"projection": {"kernel": jnp.eye(channels), "bias": jnp.zeros(channels)}}}


@cache
def rounding(levels: tuple[int, ...]) -> Any:
    layer = FiniteScalars(levels)
    return jax.jit(lambda z: layer.apply(variables_of(len(levels)), z, None, False))


def rounded(levels: tuple[int, ...], z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes and indices of features (FEATURES, channels)."""
    code = rounding(levels)(jnp.asarray(z, jnp.float32)[None])
    return np.asarray(code.z)[0], np.asarray(code.aux["indices"])[0]


@pytest.mark.parametrize("levels", LEVELS)
def test_rounded_scalars_take_so_many_values_and_no_others(levels):
    """All in [-1, 1], every one is reached, and its index has the values as digits, the first
    channel's varying fastest."""
    rng, shape = np.random.default_rng(0), (FEATURES, len(levels))
    # In the middle, at the ends, and however far out.
    z = np.where(rng.random(shape) < 0.5, rng.standard_normal(shape), rng.uniform(-6, 6, shape))
    z[:2] = [[1e9], [-1e9]]
    values, index = rounded(levels, z)
    half = np.asarray(levels) // 2
    digits = np.rint(values * half + half).astype(int)
    np.testing.assert_allclose(values, (digits - half) / half, atol=1e-6)
    assert np.abs(values).max() <= 1
    np.testing.assert_array_equal(index, digits @ np.cumprod([1, *levels[:-1]]))
    assert set(index) == set(range(math.prod(levels)))
    assert len(np.unique(digits, axis=0)) == math.prod(levels)


@pytest.mark.parametrize("levels", [*LEVELS, (1000, 999)])
def test_features_of_zero_are_the_middle_code_and_larger_ones_no_lower(levels):
    """And those near 0 too: values are rounded, not cut off."""
    z = np.linspace(-6, 6, FEATURES)[:, None] * np.ones(len(levels))
    z[0] = 0
    values, index = rounded(levels, z)
    assert not values[0].any()
    assert index[0] == sum(n // 2 * math.prod(levels[:i]) for i, n in enumerate(levels))
    assert (np.diff(values[1:], axis=0) >= -1e-6).all()
    assert [len(np.unique(channel)) for channel in values.T] == [*levels]
    assert not values[np.abs(z[:, 0]) < 0.4 / max(levels)].any()


def test_gradients_pass_the_rounding_as_those_of_what_is_rounded():
    """tanh's slope of (L - 1)(1 + 1/1000) / 2, by floor(L / 2), where the tanh is shifted."""
    levels = (8, 5, 2)
    z = jnp.asarray(np.random.default_rng(0).standard_normal((1, 6, 3)), jnp.float32)
    gradient = jax.grad(lambda z: jnp.sum(rounding(levels)(z).z))(z)
    for channel, (level, offset) in enumerate(((8, 0.5), (5, 0.0), (2, 0.5))):
        half = (level - 1) * 1.001 / 2
        shifted = np.float64(z)[0, :, channel] + math.atanh(offset / half)
        expected = half * (1 - np.tanh(shifted) ** 2) / (level // 2)
        # 1 - tanh^2 in float32 has the rounding of 1.
        np.testing.assert_allclose(gradient[0, :, channel], expected, rtol=1e-4, atol=1e-6)


def test_every_code_of_rounded_scalars_is_drawn_alike():
    levels, own = (4, 3), Noise(noise.root(0), 0, jnp.arange(600))
    layer = FiniteScalars(levels)
    drawn = layer.apply(variables_of(2), own, (4,), method="uniform")
    assert drawn.shape == (600, 4, 2)
    values, counts = np.unique(np.asarray(drawn).reshape(-1, 2), axis=0, return_counts=True)
    assert {tuple(value) for value in values} == {
        (a / 2, b) for a in (-2, -1, 0, 1) for b in (-1, 0, 1)
    }
    share = 1 / 12
    error = math.sqrt(share * (1 - share) / 2400)
    assert np.abs(counts / 2400 - share).max() < 5 * error
