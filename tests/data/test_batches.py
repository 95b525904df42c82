"""A batch is a pure function of (seed, epoch, step)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae import noise
from jaxvae.data.batches import batch_index, epoch_order, steps_per_epoch

order_of = jax.jit(lambda seed, epoch: epoch_order(noise.root(seed), epoch, 103))


def order(seed: int, epoch: int) -> np.ndarray:
    return np.asarray(order_of(jnp.uint32(seed), jnp.int32(epoch)))


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 2**31 - 1))
def test_an_epoch_visits_every_example_once(seed, epoch):
    first = order(seed, epoch)
    assert sorted(first) == list(range(103))
    np.testing.assert_array_equal(first, order(seed, epoch))  # nothing else decides it
    # 103! orders: two that should differ never agree by chance.
    assert (first != order(seed, epoch ^ 1)).any()
    assert (first != order(seed ^ 1, epoch)).any()


def test_the_order_does_not_depend_on_where_it_is_compiled():
    np.testing.assert_array_equal(epoch_order(noise.root(5), 3, 103), order(5, 3))


def test_positions_are_uniform():
    """Every example lands everywhere: the mean position of 2000 epochs is that of a uniform."""
    orders = jax.jit(jax.vmap(lambda e: epoch_order(noise.root(0), e, 10)))(jnp.arange(2000))
    counts = np.stack([(np.asarray(orders) == i).sum(axis=0) for i in range(10)])
    # 200 expected per (example, position), binomial deviation 13.4; five of them.
    assert np.abs(counts - 200).max() < 5 * np.sqrt(2000 * 0.1 * 0.9)


@pytest.mark.parametrize("batch_size", [1, 10, 51, 103])
def test_batches_of_an_epoch_are_consecutive_and_disjoint(batch_size):
    visits = order(0, 0)
    steps = steps_per_epoch(103, batch_size)
    assert steps == 103 // batch_size
    take = jax.jit(lambda step: batch_index(jnp.asarray(visits), step, batch_size))
    batches = np.concatenate([take(jnp.int32(step)) for step in range(steps)])
    np.testing.assert_array_equal(batches, visits[: steps * batch_size])
    assert len(set(batches.tolist())) == steps * batch_size


def test_a_batch_larger_than_the_set_is_refused():
    assert steps_per_epoch(10, 10) == 1
    with pytest.raises(ValueError, match=r"data\.batch_size = 11: .*at most .* 10"):
        steps_per_epoch(10, 11)
