"""Speeds, lengths and geodesics of decoders whose geometry is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.metrics import geometry as g

RNG = np.random.default_rng(0)
MATRIX = jnp.asarray(RNG.normal(size=(3, 7)), jnp.float32)
W1, W2 = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((2, 8), (8, 20)))


def linear(z):
    return z @ MATRIX


def circle(z):
    return jnp.concatenate([jnp.cos(z), jnp.sin(z)], axis=1)


def sphere(z):
    theta, phi = z[:, 0], z[:, 1]
    ring = jnp.sin(theta)
    return jnp.stack([ring * jnp.cos(phi), ring * jnp.sin(phi), jnp.cos(theta)], axis=1)


def network(z):
    return jax.nn.sigmoid(jnp.tanh(z @ W1) @ W2).reshape(-1, 4, 5)


def ends(*points):
    return [jnp.asarray([point], jnp.float32) for point in points]


@pytest.mark.parametrize("decode", [sphere, network])
def test_speeds_are_those_of_the_jacobian(decode):
    z, v = (jnp.asarray(RNG.normal(size=(6, 2)), jnp.float32) for _ in range(2))
    jacobian = jax.vmap(jax.jacfwd(lambda one: decode(one[None])[0].ravel()))(z)
    pushed = jnp.einsum("npl,nl->np", jacobian, v)
    np.testing.assert_allclose(g.speeds(decode, z, v), np.linalg.norm(pushed, axis=1), atol=1e-5)


def test_a_quarter_circle():
    line = g.straight(*ends([0.0], [np.pi / 2]), 100)
    assert float(g.curve_lengths(circle, line)[0]) == pytest.approx(1.570796, abs=1e-5)
    chords = 100 * 2 * np.sin(np.pi / 400)  # 1.6e-5 less
    assert float(g.lengths(circle, line)[0]) == pytest.approx(chords, abs=1e-6)
    two = g.straight(*ends([0.0], [np.pi / 2]), 1)
    assert float(g.lengths(circle, two)[0]) == pytest.approx(np.sqrt(2), abs=1e-6)


def test_geodesics_of_a_linear_decoder_are_straight_and_evenly_spaced():
    start, end = ends([0.0, 1, 2], [3.0, -1, 1])
    line = g.straight(start, end, 8)
    bent = np.array(line)
    bent[:, 1:-1] += RNG.normal(size=bent[:, 1:-1].shape)
    found = g.geodesics(linear, jnp.asarray(bent, jnp.float32))
    np.testing.assert_allclose(found, line, atol=2e-3)
    length = np.linalg.norm((end - start) @ MATRIX)
    assert float(g.lengths(linear, jnp.asarray(found))[0]) == pytest.approx(length, rel=1e-4)


def test_a_geodesic_of_the_sphere_is_a_great_circle():
    """Both ends at 45 degrees of latitude, a quarter turn apart: 60 degrees along the great circle,
    sin(45) of a quarter turn along the parallel, on which coordinates are straight."""
    line = g.straight(*ends([np.pi / 4, 0.0], [np.pi / 4, np.pi / 2]), 32)
    found = jnp.asarray(g.geodesics(sphere, line))
    along_line, along_found = (float(g.curve_lengths(sphere, x)[0]) for x in (line, found))
    assert along_line == pytest.approx(np.sin(np.pi / 4) * np.pi / 2, abs=1e-4)
    assert along_found == pytest.approx(np.pi / 3, abs=1e-3)
    x = sphere(found[0])
    normal = np.cross(x[0], x[-1])
    np.testing.assert_allclose(x @ jnp.asarray(normal), 0, atol=5e-3)  # in the plane of the ends
    steps = np.linalg.norm(np.diff(x, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)  # at a constant speed


def test_energy_is_at_least_squared_length_over_segments():
    points = jnp.asarray(RNG.normal(size=(50, 6, 2)), jnp.float32)
    energies, lengths = g.energies(network, points), g.lengths(network, points)
    assert (energies >= np.square(lengths) / 5 * (1 - 1e-5)).all()
    # Equal where all steps are equal.
    line = g.straight(*ends([0.0, 1, 2], [3.0, -1, 1]), 5)
    expected = np.square(g.lengths(linear, line)) / 5
    np.testing.assert_allclose(g.energies(linear, line), expected, rtol=1e-5)


def test_a_line_from_a_code_to_itself_has_no_length():
    """Exactly: rounding would be divided by rounding."""
    z = jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32)
    line = g.straight(z, z, 16)
    for points in (line, jnp.asarray(g.geodesics(network, line))):
        np.testing.assert_array_equal(g.curve_lengths(network, points), 0)


def test_several_lines_at_once_are_as_each_alone():
    start, end = (jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32) for _ in range(2))
    lines = g.straight(start, end, 6)
    np.testing.assert_allclose(lines[:, 0], start)
    np.testing.assert_allclose(lines[:, -1], end, atol=1e-6)
    for measure in (g.energies, g.lengths, g.curve_lengths):
        each = [float(measure(network, line[None])[0]) for line in lines]
        np.testing.assert_allclose(measure(network, lines), each, rtol=1e-5)
    found = jnp.asarray(g.geodesics(network, lines))
    np.testing.assert_array_equal(found[:, [0, -1]], lines[:, [0, -1]])
    assert (g.energies(network, found) <= g.energies(network, lines)).all()
    alone = [g.geodesics(network, line[None])[0] for line in lines]
    np.testing.assert_allclose(
        g.energies(network, found), g.energies(network, jnp.asarray(np.stack(alone))), rtol=1e-3
    )
