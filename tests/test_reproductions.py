"""docs/variants.md says what docs/reproductions.json has; what a difference by seed comes to."""

import pytest

from tests.scripts import DOCS, script

reproductions = script("reproductions")


def test_the_table_is_in_the_document():
    assert reproductions.table(reproductions.read()) in (DOCS / "variants.md").read_text()


def test_every_claim_is_of_arms_that_there_are():
    assert reproductions.CLAIMS.keys() == reproductions.ARMS.keys()
    for name, claims in reproductions.CLAIMS.items():
        for claim in claims:
            assert {claim.lower, claim.higher} <= reproductions.ARMS[name].keys()


@pytest.mark.parametrize(
    ("higher", "verdict"),
    # Of differences 1, 2, 3 the mean is 2 and its standard error 1 / sqrt(3) = 0.58.
    [
        ((2.0, 4.0, 6.0), "as published"),
        ((0.0, 0.0, 0.0), "the reverse"),
        ((0.0, 2.5, 3.0), "not resolved"),
    ],
)
def test_differences_are_paired_by_seed(higher, verdict):
    """Arms that differ much between seeds, and little at each of them."""
    claim = reproductions.Claim("a below b", "a", "b", "nll")
    arms = {
        "a": [{"nll": x} for x in (1.0, 2.0, 3.0)],
        "b": [{"nll": x} for x in higher],
    }
    found = reproductions.compared(claim, arms)
    assert found["verdict"] == verdict
    assert found["lower"] == {"a": 2.0}
    if verdict == "as published":
        assert found["difference"] == pytest.approx(2.0)
        assert found["se"] == pytest.approx(3**-0.5)
