"""AUROC by pairs, its standard error by redrawing, average precision by hand."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from jaxvae.checks import UsageError
from jaxvae.metrics.ranking import auroc, average_precision


def test_by_pairs_with_ties():
    """One pair of four is even: (1 + 1 + 0.5 + 0) / 4."""
    value, _ = auroc(np.array([3.0, 1.0, 1.0, 2.0]), np.array([True, True, False, False]))
    assert value == pytest.approx(2.5 / 4)
    rng = np.random.default_rng(0)
    scores, anomalous = rng.integers(0, 6, 200).astype(float), rng.random(200) < 0.3
    a, b = scores[anomalous][:, None], scores[~anomalous]
    assert auroc(scores, anomalous)[0] == pytest.approx(np.mean((a > b) + 0.5 * (a == b)))
    assert auroc(scores, anomalous)[0] == pytest.approx(roc_auc_score(anomalous, scores))
    expected = average_precision_score(anomalous, scores)
    assert average_precision(scores, anomalous) == pytest.approx(expected)


def test_laws():
    """What says nothing, what says all, the other way round, another scale, another order."""
    rng = np.random.default_rng(1)
    scores, anomalous = rng.standard_normal(100), rng.random(100) < 0.5
    value, error = auroc(scores, anomalous)
    assert auroc(np.zeros(100), anomalous) == (0.5, pytest.approx(0))
    assert auroc(anomalous * 1.0, anomalous)[0] == 1 == average_precision(anomalous, anomalous)
    assert auroc(-scores, anomalous)[0] == pytest.approx(1 - value)
    assert auroc(np.exp(scores), anomalous)[0] == pytest.approx(value)
    order = rng.permutation(100)
    assert auroc(scores[order], anomalous[order]) == pytest.approx((value, error))
    assert average_precision(np.zeros(100), anomalous) == pytest.approx(anomalous.mean())


def test_average_precision_by_hand():
    """Anomalous ones at ranks 1 and 3: (1/1 + 2/3) / 2."""
    found = average_precision(np.array([4.0, 3.0, 2.0, 1.0]), np.array([1, 0, 1, 0], bool))
    assert found == pytest.approx((1 + 2 / 3) / 2)


def test_standard_error():
    """As the spread over fresh draws of the same two Gaussians; 1000 of them know it to 2 %."""
    rng = np.random.default_rng(2)
    anomalous = np.arange(90) < 30
    found = [auroc(rng.standard_normal(90) + anomalous, anomalous) for _ in range(1000)]
    values, errors = np.array(found).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.06)


def test_infinite_scores_are_the_highest():
    scores, anomalous = np.array([np.inf, 1.0, 0.0]), np.array([True, False, False])
    assert auroc(scores, anomalous) == (1.0, None) and average_precision(scores, anomalous) == 1


@pytest.mark.parametrize("function", [auroc, average_precision])
def test_what_cannot_be_ranked(function):
    with pytest.raises(UsageError, match="all 3 examples are normal"):
        function(np.arange(3), np.zeros(3, bool))
    with pytest.raises(UsageError, match="all 3 examples are anomalous"):
        function(np.arange(3), np.ones(3, bool))
    with pytest.raises(UsageError, match="1 of 3 scores are NaN"):
        function(np.array([0, 1, np.nan]), np.array([0, 0, 1], bool))
