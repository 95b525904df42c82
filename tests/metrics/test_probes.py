"""Probes on scikit-learn's digits, against its own classifiers, and on what cannot be told."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from jaxvae.checks import UsageError
from jaxvae.metrics.probes import balanced, linear_probe, nearest_neighbours


@pytest.fixture(scope="module")
def digits():
    digits = load_digits()
    x = digits.data / 16
    return x[:1000], digits.target[:1000], x[1000:], digits.target[1000:]


def test_digits(digits):
    """5-NN 0.9573 of the first thousand, on the rest; logistic regression within two digits of
    what it comes to without standardisation, 0.9322."""
    train, labels, test, truth = digits
    nearest = nearest_neighbours(train, labels, test, (1, 5, 10))
    assert np.mean(nearest[5] == truth) == pytest.approx(0.9573, abs=5e-5)
    predicted, converged = linear_probe(train, labels, test)
    assert converged and np.mean(predicted == truth) == pytest.approx(0.9335, abs=0.0026)


def test_nearest_neighbours_are_scikit_learns(digits):
    """Ties too, which k = 10 has many of."""
    train, labels, test, _ = digits
    found = nearest_neighbours(train, labels, test, (1, 5, 10))
    for k, predicted in found.items():
        theirs = KNeighborsClassifier(k, algorithm="brute").fit(train, labels).predict(test)
        np.testing.assert_array_equal(predicted, theirs)


def test_a_linear_probe_does_not_see_units(digits):
    """Features are standardised: scaled and shifted ones are the same ones, to the optimizer."""
    train, labels, test, _ = digits
    scale, shift = np.linspace(0.1, 1000, 64), np.linspace(-5, 5, 64)
    here, _ = linear_probe(train[:300], labels[:300], test)
    there, _ = linear_probe(train[:300] * scale + shift, labels[:300], test * scale + shift)
    assert np.mean(here == there) > 0.995  # but for where two classes are even


def test_order_does_not_matter(digits):
    train, labels, test, _ = digits
    order = np.random.default_rng(0).permutation(300)
    for probe in (
        lambda x, y: nearest_neighbours(x, y, test, (1,))[1],
        lambda x, y: linear_probe(x, y, test)[0],
    ):
        here, there = probe(train[:300], labels[:300]), probe(train[order], labels[order])
        assert np.mean(here == there) > 0.995


def test_balanced():
    labels = np.repeat([0, 1, 2], [50, 20, 7])
    index = balanced(labels, 20, seed=0)  # 6 of each
    assert np.bincount(labels[index]).tolist() == [6, 6, 6] and len({*index}) == 18
    np.testing.assert_array_equal(index, balanced(labels, 20, seed=0))
    assert index.tolist() != balanced(labels, 20, seed=1).tolist()
    assert balanced(labels, 24, seed=0) is None and balanced(labels, 2, seed=0) is None


@pytest.mark.parametrize(
    "train, labels, says",
    [
        (np.eye(4), np.zeros(4), "one class"),
        (np.ones((4, 4)), np.arange(4) % 2, "the same features"),
        (np.diag([1, 1, 1, np.nan]), np.arange(4) % 2, "not finite"),
    ],
)
def test_what_cannot_be_told(train, labels, says):
    for probe in (linear_probe, lambda *args: nearest_neighbours(*args, (1,))):
        with pytest.raises(UsageError, match=says):
            probe(train, labels, np.eye(4))


def test_fewer_examples_than_neighbours():
    with pytest.raises(UsageError, match="k = 10: must be at most 4, the number of examples"):
        nearest_neighbours(np.eye(4), np.arange(4) % 2, np.eye(4), (1, 10))
