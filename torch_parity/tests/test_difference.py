"""How far arrays are apart: the worst entry, the scale it is relative to, and what is no number."""

import json

import numpy as np
import pytest

from torch_parity.difference import Comparison, difference

INF, NAN = np.inf, np.nan


def of(ours, theirs, **options):
    names = "abc"[: len(ours)]
    return difference(
        "pixels",
        dict(zip(names, map(np.array, ours), strict=True)),
        dict(zip(names, map(np.array, theirs), strict=True)),
        tolerance=1e-10,
        **options,
    )


def test_the_worst_entry_is_named_with_its_differences():
    found = of([[1.0, 2.0], [10.0, 20.5]], [[1.0, 2.25], [10.0, 20.0]])
    assert (found.where, found.absolute, found.relative) == ("a[1]", 0.25, 0.25 / 2.25)
    assert not found.equal


def test_the_floor_is_a_fraction_of_the_largest_entry_of_all_arrays():
    ours, theirs = [[1e-9], [100.0]], [[0.0], [100.0]]
    assert of(ours, theirs).relative == INF
    found = of(ours, theirs, floor=0.1)
    # One rounding of 0.1 * 100 and one of the quotient.
    np.testing.assert_allclose(found.relative, 1e-10, rtol=1e-15)


@pytest.mark.parametrize("floor", [0.0, 0.1])
@pytest.mark.parametrize("ours", [2.0, INF, -INF, NAN])
@pytest.mark.parametrize("theirs", [2.0, INF, NAN])
def test_what_is_not_finite_is_never_equal(ours, theirs, floor):
    found = of([[1.0], [1.0, ours]], [[1.0], [1.0, theirs]], floor=floor)
    assert found.equal == (ours == theirs == 2)
    if not found.equal:
        assert (found.where, found.absolute, found.relative) == ("b[1]", INF, INF)


def test_other_names_and_shapes_are_named():
    assert difference("q", {"a": np.ones(2)}, {"b": np.ones(2)}, 1).where.endswith("side: a, b")
    found = of([[1.0, 2.0]], [[1.0]])
    assert not found.equal and found.where == "a: shape (2,), in PyTorch (1,)"


def test_a_comparison_prints_its_verdict_and_is_json():
    unequal = of([[INF]], [[1.0]])
    text = str(Comparison("model", (of([[1.0]], [[1.0]]), unequal)))
    assert text.startswith("model: NOT EQUAL\n") and text.endswith("NOT EQUAL at a[0]")
    rows = json.loads(json.dumps(Comparison("model", (unequal,)).as_dict(), allow_nan=False))
    assert rows["passed"] is False
    assert (rows["differences"][0]["relative"], rows["differences"][0]["equal"]) == (None, False)
