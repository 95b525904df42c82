"""Distances of codes from draws of a prior: closed forms, loops, and what they are 0 for."""

import math
from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.objectives import discrepancies
from jaxvae.objectives.discrepancies import (
    inverse_multiquadratic,
    mmd,
    rbf,
    sliced_wasserstein,
    squared_distances,
)

pytestmark = pytest.mark.numeric

KERNELS = {"rbf": rbf(1.3), "imq": inverse_multiquadratic(3)}


def draws(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def kernel_by_hand(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """Of three latents."""
    squared = sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))
    if name == "rbf":
        return math.exp(-squared / (2 * 1.3**2))
    widths = [2 * 3 * scale for scale in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    return sum(width / (width + squared) for width in widths)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("name", KERNELS)
def test_mmd_by_loops(name, unbiased):
    """Of 5 codes and 7 draws; without bias all pairs across count, within each those of two."""
    x, y = np.asarray(draws(5, 3)), np.asarray(draws(7, 3, seed=1)) + 0.5

    def within(z: np.ndarray) -> float:
        n = len(z)
        pairs = [(i, j) for i in range(n) for j in range(n) if not (unbiased and i == j)]
        return sum(kernel_by_hand(name, z[i], z[j]) for i, j in pairs) / len(pairs)

    across = sum(kernel_by_hand(name, a, b) for a in x for b in y) / 35
    found = mmd(jnp.asarray(x), jnp.asarray(y), KERNELS[name], unbiased)
    # sums of seven kernels of at most 1 each, in float32
    np.testing.assert_allclose(found, within(x) + within(y) - 2 * across, atol=3e-6)


def repeated(n: int, shift: float, unbiased: bool, times: int = 120) -> tuple[np.ndarray, float]:
    """MMDs of n draws of N(0, I) and N(m, I), |m| = shift, two latents, h = 1; a mean's error."""
    m = jnp.asarray([0.6, 0.8]) * shift

    @jax.jit
    @jax.vmap
    def one(key: jax.Array) -> jax.Array:
        x, y = jax.random.normal(key, (2, n, 2))
        return mmd(x, y + m[None], rbf(1.0), unbiased)

    found = np.asarray(one(jax.random.split(jax.random.key(0), times)))
    return found, found.std() / math.sqrt(times)


def test_mmd_of_two_gaussians_has_its_closed_form():
    """2/3 (1 - exp(-1/6)) = 0.102346; by means over all pairs 2 (1 - 1/3) / n is added, since
    pairs of one draw with itself are 1 and not 1/3."""
    expected = 2 / 3 * (1 - math.exp(-1 / 6))
    assert expected == pytest.approx(0.102346, abs=5e-7)
    found, error = repeated(200, 1.0, unbiased=True)
    assert 5 * error < 0.15 * expected  # so that the next line can fail
    assert abs(found.mean() - expected) < 5 * error
    biased, error = repeated(200, 1.0, unbiased=False)
    assert abs(biased.mean() - expected - 4 / 3 / 200) < 5 * error


def test_without_bias_equal_distributions_give_0_on_average_and_less_at_times():
    found, error = repeated(20, 0.0, unbiased=True)
    assert abs(found.mean()) < 5 * error
    assert (found < 0).mean() > 0.3
    biased, _ = repeated(20, 0.0, unbiased=False)
    assert (biased > 0).all()
    assert biased.mean() > 5 * error  # 4 / 3 / 20


@pytest.mark.parametrize("name", KERNELS)
def test_equal_sets_have_no_mmd(name):
    """By all pairs; without bias it is below 0 then, as the pairs of two are less alike."""
    x = draws(30, 3)
    assert float(mmd(x, x, KERNELS[name])) == 0
    np.testing.assert_allclose(mmd(x, x[::-1], KERNELS[name]), 0, atol=2e-5)  # of sums of up to 7
    assert float(mmd(x, x[::-1], KERNELS[name], unbiased=True)) < -0.01


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 7, 3), (9, 2, 64)])
@pytest.mark.parametrize("away", [0.0, 30.0])
def test_distances_by_a_product_are_those_by_differences(shape, away):
    """To the rounding of |x|^2 + |y|^2, which is far above the distances where both are far."""
    n, m, latents = shape
    x, y = draws(n, latents) + away, draws(m, latents, seed=1) + away
    expected = np.square(np.float64(x)[:, None] - np.float64(y)[None]).sum(axis=-1)
    size = np.square(np.float64(x)).sum(axis=1)[:, None] + np.square(np.float64(y)).sum(axis=1)
    found = np.asarray(squared_distances(x, y))
    assert found.shape == (n, m)
    assert (np.abs(found - expected) <= 8 * np.finfo(np.float32).eps * size).all()


@pytest.mark.parametrize("unbiased", [False, True])
def test_the_gradient_is_finite_where_codes_coincide(unbiased):
    """And by hand: of exp(-d^2 / (2 h^2)) it is -(x - y) / h^2 times the kernel, 0 at d = 0."""
    x = jnp.concatenate([draws(4, 3), draws(2, 3)])  # the last two are the first two
    y = jnp.concatenate([x[:1], draws(4, 3, seed=1)])
    found = jax.grad(mmd)(x, y, rbf(1.3), unbiased)
    assert jnp.isfinite(jax.grad(mmd)(x, y, inverse_multiquadratic(3), unbiased)).all()

    def pull(a: np.ndarray, others: np.ndarray) -> np.ndarray:
        difference = a - others
        kernel = np.exp(-np.square(difference).sum(axis=1, keepdims=True) / (2 * 1.3**2))
        return -(kernel * difference).sum(axis=0) / 1.3**2

    a, b = np.float64(x), np.float64(y)
    pairs = 6 * (5 if unbiased else 6)
    expected = [2 * pull(row, a) / pairs - 2 * pull(row, b) / 30 for row in a]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_sliced_distance_of_a_shift():
    """Along u it is (m.u)^2, on average over the sphere |m|^2 / L; over the axes exactly."""
    x, m = draws(50, 3), jnp.asarray([1.0, -2.0, 0.5])
    shifted = x + m[None]
    axes = jnp.diag(jnp.asarray([1.0, 5.0, -0.1]))
    np.testing.assert_allclose(sliced_wasserstein(x, shifted, axes), 5.25 / 3, rtol=1e-5)
    directions = draws(2000, 3, seed=1)
    unit = np.float64(directions)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    each = np.square(unit @ np.float64(m))
    found = float(sliced_wasserstein(x, shifted, directions))
    assert found == pytest.approx(each.mean(), rel=1e-5)
    assert abs(found - 5.25 / 3) < 5 * each.std() / math.sqrt(2000)


def test_along_a_direction_it_is_the_best_of_all_assignments():
    x, y, direction = draws(5, 3), draws(5, 3, seed=1), draws(1, 3, seed=2)
    along = np.float64(direction[0] / jnp.linalg.norm(direction))
    p, q = np.float64(x) @ along, np.float64(y) @ along
    best = min(np.square(p - q[list(order)]).mean() for order in permutations(range(5)))
    np.testing.assert_allclose(sliced_wasserstein(x, y, direction), best, rtol=1e-5)


@pytest.mark.parametrize("rows", [2, 33, discrepancies.COUNTED, discrepancies.COUNTED + 1])
@pytest.mark.parametrize("kinds", [3, 1000])
def test_columns_are_put_in_order_as_a_sort_does(rows, kinds):
    """Equal numbers too, whose gradients go to the same of them; a NaN is not lost."""
    x = jax.random.randint(jax.random.key(rows), (rows, 4), 0, kinds).astype(float)
    np.testing.assert_array_equal(discrepancies.in_order(x), jnp.sort(x, axis=0))
    weights = draws(rows, 4, seed=1)

    def gradient(order: Any) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(weights * jnp.square(order(x) + 1.0)))(x)

    ours, sort = gradient(discrepancies.in_order), gradient(lambda x: jnp.sort(x, axis=0))
    np.testing.assert_array_equal(ours, sort)
    lost = discrepancies.in_order(x.at[rows // 2, 1].set(jnp.nan))
    assert bool(jnp.isnan(lost[:, 1]).any())


def test_neither_the_order_of_codes_nor_the_length_of_directions_matters():
    x, y, directions = draws(40, 3), draws(40, 3, seed=1), draws(7, 3, seed=2)
    order = np.random.default_rng(3).permutation(40)
    # A product's sums may be taken in another order for another row.
    np.testing.assert_allclose(sliced_wasserstein(x, x[order], directions), 0, atol=1e-12)
    found = sliced_wasserstein(x, y, directions)
    assert float(found) > 0.01
    lengths = jnp.asarray(np.logspace(-3, 3, 7), jnp.float32)[:, None]
    np.testing.assert_allclose(sliced_wasserstein(x, y, directions * lengths), found, rtol=1e-5)
    np.testing.assert_allclose(sliced_wasserstein(x, y[order], directions), found, rtol=1e-5)


def test_penalties_of_a_covariance():
    """Covariances count twice, once for each order of the two latents."""
    c = jnp.asarray([[2.0, 0.5, -1.0], [0.5, 0.0, 0.0], [-1.0, 0.0, 1.0]])
    off_diagonal, diagonal = discrepancies.covariance_penalties(c)
    assert (float(off_diagonal), float(diagonal)) == (2.5, 2.0)
    assert [float(x) for x in discrepancies.covariance_penalties(jnp.eye(4))] == [0, 0]
