"""The log-cosh error: its known value, both of its ends, and its gradient."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Objective
from jaxvae.models import Output
from jaxvae.objectives.likelihoods import log_cosh_error
from tests.given import batch

pytestmark = pytest.mark.numeric


@jax.jit
def log_cosh(t, a):
    """1/a log cosh(a t) of each t by itself, and its gradient by the mean of p(x|z)."""
    x = t.reshape(-1, 1, 1, 1)
    slope = jax.grad(lambda mean: log_cosh_error(x, mean, 1 / a).sum())(jnp.zeros_like(x))
    return log_cosh_error(x, jnp.zeros_like(x), 1 / a), slope.ravel()


def test_log_cosh_has_its_known_value_and_is_even():
    """a = 10: at t = 0.1 it is log(cosh 1) / 10 = 0.043378, at 0 it is 0."""
    value, slope = log_cosh(jnp.asarray([0.1, -0.1, 0.0]), 10.0)
    assert slope[2] == 0
    np.testing.assert_allclose(value, [0.043378, 0.043378, 0.0], atol=5e-7)
    x = jnp.full((1, 4, 4, 1), 0.1)  # 16 of them, by a = 1 / sigma of the objective
    objective = Objective("log_cosh", sigma=0.1)
    recon = objective.recon(Output(jnp.zeros_like(x), jnp.zeros((1, 2))), batch(x), {})
    np.testing.assert_allclose(recon, [16 * 0.043378], atol=1e-5)


@pytest.mark.parametrize("a", [0.5, 10.0])
def test_log_cosh_is_square_near_zero_and_absolute_far_away(a):
    """a t^2 / 2 - a^3 t^4 / 12 + ..., and |t| - log(2) / a, finite where cosh is not; its gradient
    is tanh(a t) everywhere, also at 0, and is that of |t| in the tails."""
    near = jnp.asarray([1e-3, 1e-2, 3e-2]) / a
    value, _ = log_cosh(near, a)
    # log1p(..) - log 2 is rounded at 0.7, so to 1e-7 / a absolute.
    np.testing.assert_allclose(value, a * near**2 / 2, rtol=2e-4, atol=2e-7 / a)
    far = jnp.asarray([-1e6, -1e3, -30.0 / a, 30.0 / a, 1e3, 1e6])
    value, slope = log_cosh(far, a)
    np.testing.assert_allclose(value, jnp.abs(far) - math.log(2) / a, rtol=1e-6)
    np.testing.assert_array_equal(slope, -jnp.sign(far))
    everywhere = jnp.linspace(-3, 3, 61) / a
    _, slope = log_cosh(everywhere, a)
    np.testing.assert_allclose(slope, -np.tanh(a * np.float64(everywhere)), atol=3e-7)
