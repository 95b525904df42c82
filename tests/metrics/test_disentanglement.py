"""MIG, SAP, modularity and DCI: values that follow from their definitions.

The standard set are ten factors, uniform on 1..10, and codes made of them.
"""

import functools

import numpy as np
import pytest

from jaxvae.metrics import disentanglement as d

FACTORS = np.random.default_rng(0).integers(1, 11, (3000, 10))
IDENTITY = FACTORS.astype(float)
ZEROS = np.zeros_like(IDENTITY)
TRAIN, TEST = np.arange(2000), np.arange(2000, 3000)


def test_histogram_and_entropy():
    found = d.discretised(np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).T, bins=3)
    assert found[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    three = np.array([[0, 1, 2]]).T
    np.testing.assert_allclose(d.mutual_information(three, three), np.log(3))


def test_information_of_two_independent_bits():
    bits = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_allclose(
        d.mutual_information(bits, bits), np.diag([np.log(2)] * 2), atol=1e-9
    )


def test_mig():
    assert 0.9 < d.mig(IDENTITY, FACTORS) <= 1
    assert 0 <= d.mig(ZEROS, FACTORS) <= 0.2
    assert 0 <= d.mig(np.repeat(IDENTITY, 2, axis=1), FACTORS) <= 0.1
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    # The first factor is told by one code (ln 2 of ln 2), the second by none.
    assert d.mig(np.stack([rows[:, 0], 0 * rows[:, 0]], axis=1), rows) == pytest.approx(0.5)


def test_modularity():
    assert d.modularity(np.diag(np.arange(1.0, 6))) == pytest.approx(1)
    empty = np.array([[1.0, 0], [0, 1], [0, 0]])
    assert d.modularity(empty) == pytest.approx(2 / 3)
    shared = np.vstack([np.eye(10)[0] + np.eye(10)[1], np.eye(10)[2:]])
    # Eight latents of one factor each, and one of two of ten: 1 - 1/9.
    assert d.modularity(shared[:1]) == pytest.approx(1 - 1 / 9)
    assert d.modularity(shared) == pytest.approx((8 + 1 - 1 / 9) / 9)
    assert d.modularity(d.mutual_information(ZEROS, FACTORS)) == 0


def test_sap_of_squared_correlations():
    """That of two independent columns is 1/n in the mean."""
    squares = d.squared_correlations(IDENTITY, FACTORS)
    np.testing.assert_allclose(np.diag(squares), 1)
    rng = np.random.default_rng(1)
    noisy = IDENTITY[:, :2] + rng.normal(size=(3000, 2))
    reference = np.corrcoef(noisy.T, FACTORS[:, :2].T)[:2, 2:] ** 2
    np.testing.assert_allclose(d.squared_correlations(noisy, FACTORS[:, :2]), reference)
    assert 0.97 < d.gap(squares) <= 1
    assert d.gap(d.squared_correlations(np.repeat(IDENTITY, 2, axis=1), FACTORS)) == pytest.approx(
        0
    )
    assert (d.squared_correlations(ZEROS + 1e-7 * noisy[:, :1], FACTORS) == 0).all()  # dead


def test_sap_of_accuracies():
    """Two classes that a threshold divides; of ten by one line, only some are told."""
    bits = FACTORS[:, :3] > 5
    found, converged = d.accuracies(bits.astype(float), bits, TRAIN, TEST)
    assert converged
    np.testing.assert_array_equal(np.diag(found), 1)
    assert np.abs(found[~np.eye(3, dtype=bool)] - 0.5).max() < 0.08  # 5 of 0.016
    assert 0.42 < d.gap(found) < 0.58
    dead = np.stack([bits[:, 0], np.full(3000, 7.0)], axis=1)
    assert (d.accuracies(dead, bits, TRAIN, TEST)[0][1] == 0).all()


@pytest.mark.filterwarnings("error")
def test_a_machine_that_does_not_converge_is_said(monkeypatch):
    """And warns of nothing on the way."""
    monkeypatch.setattr(d, "LinearSVC", functools.partial(d.LinearSVC, max_iter=1))
    found, converged = d.accuracies(IDENTITY[:, :1], FACTORS[:, :1] > 5, TRAIN, TEST)
    assert not converged and 0 <= found[0, 0] <= 1


def test_dci_of_importances():
    eye = np.eye(10)
    for values in (eye, np.vstack([eye, np.zeros(10)])):
        assert d.disentanglement(values) == pytest.approx(1, abs=1e-6)
        assert d.completeness(values) == pytest.approx(1, abs=1e-6)
    assert [d.disentanglement(0 * eye), d.completeness(0 * eye)] == pytest.approx([0, 0])
    told = 1 - np.log(2) / np.log(10)
    assert told == pytest.approx(0.69897, abs=1e-5)
    # One latent for two of ten factors, for each pair of them; and the other way round.
    pairs = np.repeat(np.eye(5), 2, axis=1)
    assert d.disentanglement(pairs) == pytest.approx(told)
    assert d.completeness(pairs) == pytest.approx(1)
    assert d.disentanglement(pairs.T) == pytest.approx(1)
    assert d.completeness(pairs.T) == pytest.approx(told)


def test_dci_weighs_latents_by_their_importance():
    values = np.array([[3.0, 0], [0.5, 0.5]])  # 1 and 0, with weights 3/4 and 1/4
    assert d.disentanglement(values) == pytest.approx(0.75)


def test_dci_of_codes():
    """Trees use the one latent that says all; zeros are used for nothing."""
    factors = FACTORS[:600, :3] % 3
    train, test = np.arange(400), np.arange(400, 600)
    found = d.importances(factors.astype(float), factors, train, test)
    np.testing.assert_allclose(found.values, np.eye(3), atol=0.02)
    assert (found.train, found.test) == (1, 1)
    assert d.disentanglement(found.values) > 0.95
    nothing = d.importances(np.zeros((600, 3)), factors, train, test)
    assert d.disentanglement(nothing.values) == pytest.approx(0)
    assert nothing.test < 0.5  # a third, by guessing


@pytest.mark.parametrize("measure", [d.mig, lambda z, v: d.gap(d.squared_correlations(z, v))])
def test_neither_the_order_nor_signs_and_scales_matter(measure):
    rng = np.random.default_rng(3)
    codes = IDENTITY @ rng.normal(size=(10, 4)) + rng.normal(size=(3000, 4))
    order, latents = rng.permutation(3000), rng.permutation(4)
    other = (codes * np.array([1, 2, 4, 0.5]))[order][:, latents]
    assert measure(other, FACTORS[order]) == pytest.approx(measure(codes, FACTORS), abs=1e-9)
