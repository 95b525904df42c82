"""Batches travel through compiled functions: their arrays traced, what is known of them not."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.batch import Batch
from jaxvae.info import Info
from jaxvae.noise import Noise
from tests.given import batch

X = jnp.arange(6.0).reshape(3, 2)
OWN = Noise(noise.root(1), 0, jnp.arange(3))


def labelled(classes: int) -> Batch:
    return Batch(X, X, jnp.array([0, -1, 1]), None, None, Info((2,), num_classes=classes))


def test_info_is_static_under_jit():
    """A module may be built from it: it holds plain numbers, and others are another program."""
    seen = []

    @jax.jit
    def one_hot(examples: Batch) -> jax.Array:
        seen.append(examples.info)
        return jax.nn.one_hot(examples.label, examples.info.num_classes)

    expected = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0]], np.float32)  # no class: no one
    np.testing.assert_array_equal(one_hot(labelled(3)), expected)
    np.testing.assert_array_equal(one_hot(labelled(3)), expected)
    assert one_hot(labelled(4)).shape == (3, 4)
    assert seen == [Info((2,), 3), Info((2,), 4)]  # traced once each
    assert len(jax.tree.leaves(labelled(3))) == 3  # input, target, label


def test_batches_cross_transformations_whole():
    examples = batch(X, own=OWN)
    again = jax.jit(lambda b: b)(examples)
    assert again.info == examples.info and again.observed is None
    np.testing.assert_array_equal(
        again.noise.normal("eps", (4,)), examples.noise.normal("eps", (4,))
    )


def test_other_draws_and_none():
    examples = batch(X, own=OWN)
    assert examples.without_noise().noise is None
    assert examples.without_noise().another(3).noise is None
    first, second = (examples.another(k).noise.normal("eps", (4,)) for k in range(2))
    np.testing.assert_array_equal(first, examples.noise.normal("eps", (4,)))
    assert (first != second).all()
    np.testing.assert_array_equal(examples.another(1).input, X)
