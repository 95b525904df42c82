"""Interpolation: pairs, middles and distances."""

import numpy as np
import pytest

from experiments.jobs import interpolation


def test_pairs_are_of_different_classes():
    labels = np.random.default_rng(0).integers(0, 10, 300)
    pairs = interpolation.pairs_of(labels, 200)
    assert pairs.shape == (200, 2) and (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()


def test_the_ends_are_what_they_are_and_the_middle_is_the_mean():
    a, b = np.array([0.0, 4.0]), np.array([2.0, 0.0])
    assert np.array_equal(interpolation.between(a, b, 0), a)
    assert np.array_equal(interpolation.between(a, b, 1), b)
    assert np.array_equal(interpolation.between(a, b, 0.5), [1, 2])


def test_distances_do_not_depend_on_contrast():
    """Of orthogonal images sqrt(2); of their mean to either of them, at 45 degrees, 2 sin 22.5."""
    known = np.eye(4)[:2].reshape(2, 2, 2, 1)
    middle = interpolation.between(known[:1], known[1:], 0.5)
    images = np.concatenate([0.1 * known[:1], middle, np.eye(4)[3:].reshape(1, 2, 2, 1)])
    found = interpolation.to_data(images, known)
    expected = [0, 2 * np.sin(np.pi / 8), np.sqrt(2)]
    assert found == pytest.approx(expected, abs=1e-6)
