"""docs/variants.md says what docs/reproductions.json has; what a difference by seed comes to."""

import json
import sys

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


def test_a_measurement_says_where_and_in_what_time(tmp_path, monkeypatch, capsys):
    """Not its seconds where an earlier call had begun; what is there already stays as it is."""
    kept = {"iwae": {"claims": []}}
    (tmp_path / "found.json").write_text(json.dumps(kept))
    monkeypatch.setattr(reproductions, "FOUND", tmp_path / "found.json")
    monkeypatch.setattr(reproductions, "arm", lambda *_: [{"nll.nll": x} for x in (1.0, 2.0, 3.0)])
    monkeypatch.setattr(sys, "argv", ["x", "iwae", "equal_cost", "several", "--out", str(tmp_path)])
    (tmp_path / "several").mkdir()
    reproductions.main()
    found = reproductions.read()
    assert found.keys() == {"iwae", "equal_cost", "several"} and found["iwae"] == kept["iwae"]
    where = {"claims", "device", "versions", "date"}
    assert found["equal_cost"].keys() == where | {"seconds"} and found["several"].keys() == where
    assert "| NLL of DReG below IWAE at equal cost (Tucker 2019) |" in capsys.readouterr().out
