"""A batch is a pure function of (seed, epoch, step)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae import noise
from jaxvae.data.batches import (
    batch_index,
    epoch_order,
    labelled_per_batch,
    order_of_epoch,
    shared_order,
    steps_per_epoch,
)

order_of = jax.jit(lambda seed, epoch: epoch_order(noise.root(seed), epoch, 103))


def order(seed: int, epoch: int) -> np.ndarray:
    return np.asarray(order_of(jnp.uint32(seed), jnp.int32(epoch)))


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


# Where few examples have a label


@pytest.mark.slow
@pytest.mark.ci
@settings(max_examples=20)
@given(labelled=st.integers(1, 59), batch_size=st.integers(2, 30), epoch=st.integers(0, 9))
def test_every_batch_has_its_share_of_labelled_examples(labelled, batch_size, epoch):
    """First in the batch; each kind is visited evenly: nobody twice before everybody once."""
    labels = np.random.default_rng(0).permutation(np.where(np.arange(60) < labelled, 1, -1))
    own, steps = labelled_per_batch(batch_size, labelled, 60), steps_per_epoch(60, batch_size)
    assert 1 <= own < batch_size
    assert abs(own - batch_size * labelled / 60) <= 1
    visits = np.asarray(shared_order(noise.root(1), epoch, labels, batch_size))
    assert visits.shape == (steps * batch_size,)
    batches = visits.reshape(steps, batch_size)
    assert (labels[batches[:, :own]] == 1).all() and (labels[batches[:, own:]] == -1).all()
    for kind in (1, -1):
        times = np.bincount(visits, minlength=60)[labels == kind]
        assert times.max() - times.min() <= 1


def test_labelled_examples_come_in_another_order_each_time():
    """Five of a hundred, one in each of ten batches: an epoch visits them twice."""
    labels = np.where(np.arange(100) < 5, 0, -1)
    orders = [shared_order(noise.root(1), epoch, labels, 10).reshape(10, 10) for epoch in range(3)]
    visits = np.stack([np.asarray(order)[:, 0].reshape(2, 5) for order in orders])
    np.testing.assert_array_equal(np.sort(visits, axis=-1), np.tile(np.arange(5), (3, 2, 1)))
    # Two orders of five agree by chance once in 120 times, three pairs of them hardly ever.
    assert (visits[:, 0] != visits[:, 1]).any(axis=1).sum() >= 2


def test_every_labelled_example_is_visited():
    """Ten of a hundred: one in each batch of ten, so that an epoch visits each of them."""
    labels = np.full(100, -1)
    labels[::10] = 0
    first, second = (shared_order(noise.root(1), epoch, labels, 10) for epoch in (0, 1))
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order.reshape(10, 10)[:, 0]), np.arange(0, 100, 10))
        np.testing.assert_array_equal(np.sort(order), np.arange(100))
    assert (np.asarray(first) != np.asarray(second)).any()
    np.testing.assert_array_equal(first, shared_order(noise.root(1), 0, labels, 10))
    np.testing.assert_array_equal(first, order_of_epoch(10, labels, noise.root(1), 0, 10))
    plain = order_of_epoch(None, labels, noise.root(1), 0, 10)
    np.testing.assert_array_equal(plain, epoch_order(noise.root(1), 0, 100))
