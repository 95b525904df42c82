"""What parts of a batch become together: `vmap` with the axis's name stands for devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from jaxvae import axis

PARTS = jnp.arange(24.0).reshape(3, 4, 2)  # 3 devices with 4 examples of a batch of 12
WHOLE = PARTS.reshape(12, 2)


def on_parts(function, x, in_axes=0):
    return jax.vmap(function, in_axes, axis_name=axis.NAME, axis_size=3)(x)


def test_each_part_gets_the_same_of_all():
    assert axis.size() == 1 and not axis.is_bound()
    for function, expected in (
        (axis.mean, PARTS.mean(axis=0)),
        (axis.total, PARTS.sum(axis=0)),
        (axis.gather, WHOLE),
        (lambda x: axis.size(), 3),
    ):
        for part in on_parts(function, PARTS):
            np.testing.assert_array_equal(part, expected)
    for function in (axis.mean, axis.total, axis.gather, axis.divide):
        np.testing.assert_array_equal(function(WHOLE), WHOLE)  # which sees the whole


def test_a_batch_is_divided_and_gathered_in_its_order():
    np.testing.assert_array_equal(on_parts(axis.divide, WHOLE, None), PARTS)
    for part in on_parts(lambda x: axis.gather(axis.divide(x)), WHOLE, None):
        np.testing.assert_array_equal(part, WHOLE)


def test_the_mean_of_the_parts_gradients_is_that_of_a_term_across_the_batch():
    def term(x):
        return jnp.square(axis.gather(x)).sum() ** 2

    by_part = on_parts(lambda x: axis.mean(jax.grad(lambda w: term(w * x))(1.0)), PARTS)
    expected = jax.grad(lambda w: term(w * WHOLE))(1.0)
    np.testing.assert_allclose(by_part, expected, rtol=1e-6)  # float32 sums of 24 squares


def test_under_a_mesh_the_compiler_is_told_that_a_batch_is_divided():
    mesh = Mesh(np.array(jax.devices()[:1]), (axis.NAME,), axis_types=(AxisType.Auto,))
    assert "sharding_constraint" not in str(jax.make_jaxpr(axis.divide)(WHOLE))
    with jax.set_mesh(mesh):
        assert "sharding_constraint" in str(jax.make_jaxpr(axis.divide)(WHOLE))


def test_parts_are_joined_as_they_were_split(monkeypatch):
    """Also of several devices, which each have as many examples of every part."""
    monkeypatch.setattr(jax.lax, "with_sharding_constraint", lambda x, _: x)
    for count in (1, 2, 3):
        monkeypatch.setattr(axis, "devices", lambda: count)  # noqa: B023
        parts = axis.split(WHOLE, 2)
        np.testing.assert_array_equal(axis.joined(parts), WHOLE)
        first = WHOLE.reshape(count, 2, -1, 2)[:, 0].reshape(-1, 2)
        np.testing.assert_array_equal(parts[0], first)
