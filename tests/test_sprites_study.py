"""docs/variants.md says what docs/study.json has; how a measure's variance is divided."""

import csv
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.scripts import DOCS, script

study = script("study")


def test_the_tables_are_in_the_document():
    assert study.table(study.read()) in (DOCS / "variants.md").read_text()


def test_the_time_is_in_the_document():
    minutes = sum(one["seconds"] for one in study.read().values()) / 60
    said = re.search(r"\bmembers\s+took\s+(\d+)\s+minutes", (DOCS / "variants.md").read_text())
    assert said is not None and int(said[1]) == round(minutes)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_measurement_says_where_and_in_what_time(interrupted, tmp_path, monkeypatch):
    """Not its seconds where an earlier call had begun."""
    swept, folder = study.STUDIES[0], tmp_path / "study"
    if interrupted:
        folder.mkdir()

    def trained(*_, **__):
        folder.mkdir(exist_ok=True)
        names = ["seed", "recon", swept.field, *(f"disentanglement.{n}" for n in study.MEASURES)]
        with (folder / "study.csv").open("w") as file:
            csv.writer(file).writerows([names, range(len(names))])

    monkeypatch.setattr(subprocess, "run", trained)
    found = study.study(swept, folder, quick=True)
    assert found["members"][0] | {"mig": 3.0, "sap": 5.0} == found["members"][0]
    expected = {"members", "device", "versions", "date"} | (set() if interrupted else {"seconds"})
    assert found.keys() == expected


def test_the_figure_is_of_what_was_found(tmp_path):
    """As it is kept; other versions of Matplotlib set other pixels."""
    study.draw(study.read(), tmp_path / "drawn.png")
    assert Image.open(tmp_path / "drawn.png").size == Image.open(study.FIGURE).size


def made(value) -> dict:
    """Three objectives, two weights, four seeds, whose MIG is `value(objective, weight, seed)`."""
    return {
        str(o): {
            "members": [
                {"weight": w, "seed": s, "mig": float(value(o, w, s))}
                for w in range(2)
                for s in range(4)
            ]
        }
        for o in range(3)
    }


@pytest.mark.parametrize("which", range(3))
def test_what_depends_on_one_thing_has_its_variance_there(which):
    shares = study.shares(made(lambda *of: of[which]), "mig")
    assert shares == pytest.approx(np.eye(3)[which])


def test_shares_add_up_and_do_not_know_units():
    numbers = np.random.default_rng(0).normal(size=(3, 2, 4))
    shares = study.shares(made(lambda *of: numbers[of]), "mig")
    assert sum(shares) == pytest.approx(1)
    assert study.shares(made(lambda *of: 3 - 7 * numbers[of]), "mig") == pytest.approx(shares)
    # Objectives of independent numbers: on average 2 of the 23 degrees of freedom, 3, and 18.
    many = [
        study.shares(made(lambda *of, n=n: n[of]), "mig")
        for n in np.random.default_rng(1).normal(size=(400, 3, 2, 4))
    ]
    # 400 shares of a standard deviation below 0.1: the mean is known to 0.005.
    assert np.mean(many, axis=0) == pytest.approx([2 / 23, 3 / 23, 18 / 23], abs=0.02)
