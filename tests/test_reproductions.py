"""docs/variants.md says what docs/reproductions.json has; what a difference by seed comes to."""

import json
import sys
from collections import Counter

import pytest

from tests.scripts import DOCS, script

reproductions = script("reproductions")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def test_the_table_is_in_the_document():
    assert reproductions.table(reproductions.read()) in (DOCS / "variants.md").read_text()


def test_every_claim_is_of_arms_that_there_are():
    assert reproductions.CLAIMS.keys() == reproductions.ARMS.keys()
    for name, claims in reproductions.CLAIMS.items():
        for claim in claims:
            assert {claim.lower, claim.higher} <= reproductions.ARMS[name].keys()


def test_only_what_a_paper_has_is_called_published():
    for name, found in reproductions.read().items():
        for claim, row in zip(reproductions.CLAIMS[name], found["claims"], strict=True):
            assert row["claim"] == claim.text
            assert row["verdict"] != ("resolved" if claim.published else "as published")


def test_the_text_counts_what_is_resolved():
    rows = [row for found in reproductions.read().values() for row in found["claims"]]
    verdicts = Counter(row["verdict"] for row in rows)
    published, reverse = verdicts["as published"], verdicts["the reverse"]
    text = " ".join((DOCS / "variants.md").read_text().split())
    for words in (
        f"Of the orders that papers have {NUMBERS[published + reverse]} are",
        f"{NUMBERS[published]} as published, {NUMBERS[reverse]} the reverse",
        f"which no paper has, {NUMBERS[verdicts['resolved']]} are",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("higher", "published", "verdict"),
    # Of differences 1, 2, 3 the mean is 2 and its standard error 1 / sqrt(3) = 0.58.
    [
        ((2.0, 4.0, 6.0), True, "as published"),
        ((2.0, 4.0, 6.0), False, "resolved"),
        ((0.0, 0.0, 0.0), True, "the reverse"),
        ((0.0, 2.5, 3.0), True, "not resolved"),
    ],
)
def test_differences_are_paired_by_seed(higher, published, verdict):
    """Arms that differ much between seeds, and little at each of them."""
    claim = reproductions.Claim("a below b", "a", "b", "nll", published)
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
    out = capsys.readouterr().out
    assert "| NLL of DReG below IWAE at equal cost (Tucker 2019) |" in out
    assert "| `equal_cost` |" in out and "| `several` |" in out
