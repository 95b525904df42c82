"""Precision, recall, density and coverage against the authors' package and in expectation."""

import numpy as np
import prdc as theirs
import pytest
import sklearn

from jaxvae.checks import UsageError
from jaxvae.metrics import manifold
from jaxvae.metrics.manifold import expected_coverage, nearest_distances, radii


def prdc(real, fake, k=5):
    """Means of what is said of each example; there are as many as there should be."""
    found = manifold.prdc(real, fake, k)
    sizes = {name: len(each) for name, each in found.items()}
    of_fakes, of_real = dict.fromkeys(("precision", "density"), len(fake)), len(real)
    assert sizes == of_fakes | dict.fromkeys(("recall", "coverage"), of_real)
    return {name: each.mean() for name, each in found.items()}


def test_against_the_authors_package():
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((200, 6)), 0.8 * rng.standard_normal((150, 6)) + 0.3
    expected = theirs.compute_prdc(real, fake, nearest_k=5)
    found = prdc(real, fake, 5)
    assert found.keys() == expected.keys()
    with sklearn.config_context(working_memory=0.05):  # MiB: in five parts
        assert prdc(real, fake, 5) == found
    for name, value in found.items():
        assert value == pytest.approx(expected[name], abs=1e-12), name
        assert 0 < value < 1.5 and value != 1, name


def test_expected_coverage():
    """0.968773 for 10,000 examples, and by sampling for few: 100 sets of 50, of one law."""
    assert expected_coverage(10_000) == pytest.approx(0.968773, abs=5e-7)
    rng = np.random.default_rng(1)
    found = [prdc(*rng.standard_normal((2, 50, 3))) for _ in range(100)]
    coverage = np.array([each["coverage"] for each in found])
    density = np.array([each["density"] for each in found])
    for values, expectation in ((coverage, expected_coverage(50)), (density, 1.0)):
        error = values.std(ddof=1) / 10
        assert abs(values.mean() - expectation) < 4 * error
    assert max(coverage.std(), density.std()) < 0.2  # so that 4 errors are at most 0.08


def test_to_lie_on_the_edge_is_to_lie_outside():
    """Real examples at whole numbers, k = 1: balls of radius 1, whose edges the fakes lie on."""
    real, fake = np.array([[0.0], [1.0], [10.0], [11.0]]), np.array([[2.0], [9.0]])
    found = prdc(real, fake, 1)
    assert found == {"precision": 0, "recall": 1, "density": 0, "coverage": 0}
    np.testing.assert_array_equal(radii(real, 1), 1)


@pytest.mark.parametrize("dims", [3, 64])
def test_copies_have_no_ball(dims):
    """Six of each, with k = 5: radius 0, on whose edge copies among the fakes lie."""
    points = np.random.default_rng(3).standard_normal((40, dims))
    real = np.repeat(points, 6, axis=0)
    np.testing.assert_array_equal(radii(real, 5), 0)
    assert {*prdc(real, real).values()} == {0.0}
    assert (radii(np.repeat(points, 5, axis=0), 5) > 0.01).all()


def test_laws():
    """Another order, another place, another scale; and far away there is nothing."""
    rng = np.random.default_rng(2)
    real, fake = rng.standard_normal((2, 60, 3))
    found = prdc(real, fake)
    assert prdc(real[rng.permutation(60)], fake[rng.permutation(60)]) == pytest.approx(found)
    assert prdc(4 * real + 8, 4 * fake + 8) == pytest.approx(found)
    assert {*prdc(real, fake + 1000).values()} == {0.0}


def test_nearest_distances():
    found = nearest_distances(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0], [3, 0]]))
    np.testing.assert_allclose(found, [0, 4])


def test_too_few():
    with pytest.raises(UsageError, match=r"5 examples: .* more than k = 5"):
        prdc(np.eye(5), np.eye(9, 5))
    with pytest.raises(UsageError, match="not finite"):
        prdc(np.full((9, 2), np.inf), np.zeros((9, 2)))
