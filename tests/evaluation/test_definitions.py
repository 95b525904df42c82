"""What the values of groups are said to be: each has a line, and it is that of the document."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from jaxvae import Experiment, Model
from jaxvae.evaluation import classifier, groups
from jaxvae.evaluation.definitions import BESIDE, DEFINITIONS, base_of, definition
from jaxvae.evaluation.subject import Measuring, Subject
from tests.evaluation import subjects

DOCUMENT = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()


def plain(text: str) -> str:
    """Markdown without its signs."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.replace("\\", "").replace("`", ""))
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_document_has_it_in_a_row(name):
    """The name in the first column of a table, and behind it the definition, letter by letter."""
    rows = [plain(line) for line in DOCUMENT.splitlines() if line.startswith("| ")]
    begins = re.compile(rf"\| (.*, )?{re.escape(name)}(, [^|]*)? \| ")
    assert any(begins.match(row) and definition(name).text in row for row in rows), name


def test_names_with_numbers_and_names_within():
    assert definition("kl_17") is DEFINITIONS["kl_N"]
    assert definition("knn_10") is DEFINITIONS["knn_N"]
    assert definition("sap_r2") is DEFINITIONS["sap_r2"]
    assert definition("auroc_recon_at_mean") is DEFINITIONS["auroc_NAME"]
    assert definition("tc_over_full_batches") is DEFINITIONS["NAME_over_full_batches"]
    assert definition("active_z2") is DEFINITIONS["active"]
    assert definition("sparsity").text == "" and definition("kl_of_mine").text == ""


def test_what_stands_beside_what():
    values = {"knn_5": 1.0, "knn_5_pixels": 0.5, "free_train": 1.0}
    assert base_of("knn_5_pixels", values) == ("knn_5", "pixels")
    assert base_of("knn_5", values) == ("knn_5", "") and base_of("free_train", values)[1] == ""


class Watched(Measuring):
    """Settings that note which of them are asked for."""

    def __getattribute__(self, name):
        if name in {field.name for field in dataclasses.fields(Measuring)}:
            object.__getattribute__(self, "__dict__").setdefault("asked", set()).add(name)
        return object.__getattribute__(self, name)


@pytest.fixture(scope="module")
def subject():
    experiment = Experiment("small", model=Model(hidden_dims=(8,), latent_dim=2))
    made = subjects.subject(experiment)
    rng = np.random.default_rng(0)
    factors = {n: rng.integers(0, 3, len(made.split.images), np.int32) for n in ("a", "b")}
    return dataclasses.replace(made, split=made.split._replace(factors=factors))


SLOW = ("dci", "samples", "anomaly", "geometry", "disentanglement", "probes")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in groups.GROUPS]
)
def test_every_group_has_definitions_and_heeds_what_it_says(name, subject, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 20)
    settings = Watched(num_samples=2, generated=20, normal=(0,))
    settings.__dict__["asked"] = set()
    watched = Subject(subject.trained, subject.split, subject.load, settings)
    found = groups.measure(name, watched)
    # anomalies is asked for in vain where normal is given
    assert settings.__dict__["asked"] == {*groups.HEEDS[name]}
    for value in found.values:
        base, end = base_of(value.removesuffix("_se"), found.values)
        assert definition(base).text, value
        assert end == "" or end in BESIDE


def test_every_group_says_what_it_heeds():
    assert groups.HEEDS.keys() == groups.GROUPS.keys()
    fields = {field.name for field in dataclasses.fields(Measuring)}
    assert {name for heeded in groups.HEEDS.values() for name in heeded} == fields
