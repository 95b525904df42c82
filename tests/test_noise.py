"""Noise follows from (seed, stream, step, index) alone, and is what it claims to be."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxvae import noise
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric

normal = jax.jit(lambda keys: noise.normal(keys, (1000,)))
uniform = jax.jit(lambda keys: noise.uniform(keys, (1000,)))
keys_of = jax.jit(
    lambda seed, step, index: noise.example_keys(noise.stream(noise.root(seed), "eps"), step, index)
)


def bits(keys: jax.Array) -> list[tuple[int, ...]]:
    return [tuple(key) for key in np.asarray(jax.random.key_data(keys)).reshape(-1, 2).tolist()]


@settings(max_examples=25)
@given(
    index=st.permutations(range(32)),
    step=st.integers(0, 2**31 - 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_an_examples_key_does_not_depend_on_its_batch(index, step, seed):
    seed, step, index = jnp.uint32(seed), jnp.int32(step), jnp.array(index)
    together = bits(keys_of(seed, step, index))
    in_order = bits(keys_of(seed, step, jnp.arange(32)))
    assert together == [in_order[i] for i in index.tolist()]
    alone = [bits(keys_of(seed, step, index[i : i + 1]))[0] for i in range(3)]
    assert together[:3] == alone


def test_noise_of_an_example_does_not_depend_on_its_batch():
    key = noise.stream(noise.root(3), "eps")
    order = np.random.default_rng(0).permutation(200)
    whole = normal(noise.example_keys(key, 7, jnp.arange(200)))
    moved = normal(noise.example_keys(key, 7, jnp.asarray(order)))
    np.testing.assert_array_equal(moved, whole[order])
    alone = noise.normal(noise.example_keys(key, 7, jnp.array([13])), (1000,))
    np.testing.assert_array_equal(alone[0], whole[13])


def test_seed_stream_step_and_index_all_count():
    keys = [
        key
        for seed, name, step in itertools.product((0, 1, 2**31, 2**32 - 1), ("eps",), (0, 1, 999))
        for key in bits(keys_of(jnp.uint32(seed), jnp.int32(step), jnp.arange(40)))
    ]
    streams = ("init", "objective", "initialise", "shuffle", "eps", "dropout", "binarize")
    streams += ("corrupt", "evaluate", "sample")
    for name in streams:
        keys += bits(noise.stream(noise.root(0), name))
        keys += bits(noise.example_keys(noise.stream(noise.root(0), name), 2, jnp.arange(5)))
    assert len(set(keys)) == len(keys) == 4 * 3 * 40 + 6 * len(streams)


def test_a_seed_gives_the_same_key_as_a_number_or_an_array_in_or_out_of_jit():
    for seed in (0, 5, 2**31, 2**32 - 1):
        expected = bits(noise.root(seed))
        assert bits(noise.root(jnp.uint32(seed))) == expected
        assert bits(jax.jit(noise.root)(jnp.uint32(seed))) == expected


def test_keys_are_threefry():
    assert str(jax.random.key_impl(noise.root(0))) == "threefry2x32"


def test_normal_noise_is_standard_normal_and_independent_between_examples():
    n = 200
    eps = np.asarray(normal(keys_of(jnp.uint32(0), jnp.int32(0), jnp.arange(n))), np.float64)
    assert eps.shape == (n, 1000)
    # Deviations of the sample mean, 1/sqrt(N), and of the sample variance, sqrt(2/N); five each.
    assert abs(eps.mean()) < 5 / np.sqrt(eps.size)
    assert abs(eps.var() - 1) < 5 * np.sqrt(2 / eps.size)
    assert stats.kstest(eps.ravel(), "norm").pvalue > 1e-4
    # Sample correlations of 1000 pairs deviate by 1/sqrt(1000); the largest of 20 000 by six.
    correlation = np.corrcoef(eps) - np.eye(n)
    assert np.abs(correlation).max() < 6 / np.sqrt(1000)


def test_uniform_noise_is_uniform_in_the_half_open_interval():
    u = np.asarray(uniform(keys_of(jnp.uint32(0), jnp.int32(0), jnp.arange(200))), np.float64)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-4


# The noise of a batch, by name


INDEX = jnp.array([3, 39, 0, 7])
OWN = Noise(noise.root(5), 7, INDEX)


def draws(own: Noise) -> dict[str, np.ndarray]:
    """Everything that a batch can draw, as bits."""
    return {
        "normal": np.asarray(own.normal("eps", (3,))),
        "uniform": np.asarray(own.uniform("binarize", (2, 2))),
        "keys": np.array(bits(own.keys("gumbel"))),
        "shared": np.array(bits(own.shared("permute"))),
        "dropout": np.array(bits(own.keys("dropout"))),
    }


def test_a_named_draw_is_that_of_its_stream_step_and_examples():
    keys = noise.example_keys(noise.stream(noise.root(5), "eps"), 7, INDEX)
    assert bits(OWN.keys("eps")) == bits(keys)
    np.testing.assert_array_equal(OWN.normal("eps", (6,)), noise.normal(keys, (6,)))
    np.testing.assert_array_equal(OWN.uniform("eps", (2, 3)), noise.uniform(keys, (2, 3)))
    assert (OWN.uniform("eps", (2, 3)) != OWN.uniform("binarize", (2, 3))).all()
    assert (OWN.normal("eps", (6,)) != OWN.normal("eps2", (6,))).all()


@pytest.mark.parametrize("traced", [False, True])
def test_another_draw_is_another_but_for_dropout(traced):
    """Draw 0 is the noise itself, bit for bit, whether or not the number of the draw is traced."""
    if traced:
        at = jax.jit(lambda k: jax.tree.map(lambda x: x, OWN.another(k)))
        found = [draws(at(jnp.int32(k))) for k in range(3)]
    else:
        found = [draws(OWN.another(k)) for k in range(3)]
    jax.tree.map(np.testing.assert_array_equal, found[0], draws(OWN))
    for a, b in itertools.combinations(found, 2):
        np.testing.assert_array_equal(a.pop("dropout"), b["dropout"])
        for name in a:
            assert (a[name] != b[name]).any(), name
        a["dropout"] = b["dropout"]


@pytest.mark.parametrize("name", ["eps", "dropout"])
def test_every_step_and_every_example_has_its_own_keys(name):
    found = [bits(Noise(OWN.key, step, INDEX).keys(name)) for step in (0, 1, 7)]
    assert len({key for of_step in found for key in of_step}) == 3 * len(INDEX)


def test_what_a_batch_shares_depends_on_its_name_and_step_alone():
    first = bits(OWN.shared("permute"))
    assert len(first) == 1
    assert bits(Noise(OWN.key, 7, jnp.array([1, 2])).shared("permute")) == first
    others = [
        Noise(OWN.key, 8, INDEX).shared("permute"),
        Noise(noise.root(6), 7, INDEX).shared("permute"),
        OWN.another(1).shared("permute"),
        OWN.shared("direction"),
    ]
    assert len({*first, *(bits(key)[0] for key in others)}) == 5
