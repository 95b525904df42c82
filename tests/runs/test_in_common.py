"""Which measures of several runs stand beside each other, and which must not."""

from dataclasses import fields, replace

import pytest

from jaxvae import Data, Experiment, Model, Objective, runs
from jaxvae.cli import closing
from jaxvae.info import Info
from jaxvae.runs import in_common, listing, measured
from jaxvae.runs.measured import TERMS, Record
from jaxvae.variants.kl import Capacity
from tests.commands import call

INFO = Info((8, 8, 1), 10, 100, 100)
BASE = Experiment("shapes", data=Data("digits"))
MSE = replace(BASE, model=Model(output="sigmoid"), objective=Objective("mse"))
BEST = {"checkpoint": "best", "source": "digits", "split": "test"}
KNN = {"knn_5": 0.5, "knn_5_se": 0.1}


def run(folder, experiment=BASE, *records, digest="0", info=INFO):
    folder.mkdir()
    config = runs.describe(experiment, (8, 8, 1), info, {"train": 100, "digest": digest})
    runs.write_json(folder / "config.json", config)
    measured.keep(folder, records)
    return folder


def record(group="probes", values=KNN, images=30, step=9, **options):
    return Record(group, BEST | options, values, (), step, images)


def found(*folders):
    return listing.compared(folders)["measures"]


def pair(top, one, other, *records):
    """Two runs of these experiments with the same records."""
    given = records or (record(),)
    return found(run(top / "a", one, *given), run(top / "b", other, *given))


def test_the_same_group_options_and_examples_share_a_row(tmp_path):
    a = run(tmp_path / "a", BASE, record(seed=0), record("elbo", {"mse": 2.0}))
    b = run(tmp_path / "b", BASE, record("reconstruction", {"mse": 1.0}))
    more = {"knn_5": 0.7, "knn_5_se": 0.2, "knn_10": 0.4}
    c = run(tmp_path / "c", BASE, record(values=more, seed=0, step=12))
    (table,) = found(a, b, c)
    assert table | {"rows": []} == {
        **{"group": "probes", "options": BEST | {"seed": 0}, "images": 30},
        **{"steps": [9, None, 12], "rows": []},
    }
    (row,) = table["rows"]  # knn_10 is of one run alone
    assert row["name"] == "knn_5" and row["unit"] == "" and row["better"] == "higher"
    assert row["values"] == [{"value": 0.5, "error": 0.1}, None, {"value": 0.7, "error": 0.2}]


@pytest.mark.parametrize(
    "other",
    [
        {"images": 29},
        {"limit": 30},
        {"split": "validation"},
        {"source": "mnist"},
        {"checkpoint": "latest"},
        {"seed": 1},
    ],
)
def test_other_options_or_examples_stand_apart(tmp_path, other):
    a = run(tmp_path / "a", BASE, record())
    assert found(a, run(tmp_path / "b", BASE, record())) != []
    assert found(a, run(tmp_path / "c", BASE, record(**other))) == []


@pytest.mark.parametrize(
    "data",
    [{"binarize": "threshold"}, {"pad": 2}, {"corruption": "gaussian", "corruption_level": 0.1}],
)
def test_examples_made_ready_in_another_way_stand_apart(tmp_path, data):
    other = replace(BASE, data=Data("digits", **data))
    assert pair(tmp_path, BASE, other) == []


def test_examples_that_are_others_by_their_digest_stand_apart(tmp_path):
    """Of the runs' own data; of a source that is neither's own, the digests say nothing."""
    own, foreign = record(), record("clusters", {"nmi": 1.0}, source="mnist")
    given = [run(tmp_path / d, BASE, own, foreign, digest=d) for d in "12"]
    assert [table["group"] for table in found(*given)] == ["clusters"]
    larger = run(tmp_path / "3", BASE, own, foreign, info=replace(INFO, shape=(9, 9, 1)))
    assert found(given[0], larger) == []


def test_batches_of_another_size_are_no_other_examples(tmp_path):
    other = replace(BASE, data=Data("digits", batch_size=7))
    terms = {"kl": 1.0, "tc_over_full_batches": 2.0}
    (table,) = pair(tmp_path, BASE, other, record(TERMS, terms, z="mean"))
    assert [row["name"] for row in table["rows"]] == ["kl"]  # the other depends on the batches


OF_LOSS = {"loss": 9.0, "recon": 8.0, "kl": 1.0, "own": 0.5}


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (replace(BASE, objective=Objective(beta=4.0)), ["recon", "kl", "own"]),
        (MSE, ["kl", "own"]),
        (replace(BASE, objective=Capacity()), ["recon", "kl"]),
    ],
)
def test_numbers_of_other_things_share_no_row(tmp_path, other, names):
    """A loss of another objective, nats of another likelihood, a variant's own term."""
    (table,) = pair(tmp_path, BASE, other, record(TERMS, OF_LOSS, z="mean"))
    assert [row["name"] for row in table["rows"]] == names


def test_two_of_one_likelihood_and_two_of_another_have_two_rows(tmp_path):
    given = [
        run(tmp_path / str(i), one, record("nll", {"nll": float(i)}))
        for i, one in enumerate((BASE, MSE, MSE, BASE))
    ]
    (table,) = found(*given)
    values = [[cell and cell["value"] for cell in row["values"]] for row in table["rows"]]
    assert values == [[0.0, None, None, 3.0], [None, 1.0, 2.0, None]]


def test_latents_have_no_number_in_common(tmp_path):
    (table,) = pair(tmp_path, BASE, BASE, record("units", {"active": 2.0, "kl_1": 3.0}))
    assert [row["name"] for row in table["rows"]] == ["active"]


def test_terms_are_not_said_twice(tmp_path):
    """Group elbo has them too; but one run has it not, or has newer terms."""
    terms, elbo = record(TERMS, {"kl": 1.0}, z="sampled"), record("elbo", {"kl": 1.0, "kl_se": 0.1})
    assert [table["group"] for table in pair(tmp_path, BASE, BASE, terms, elbo)] == ["elbo"]
    without = run(tmp_path / "c", BASE, terms)
    groups = [t["group"] for t in found(tmp_path / "a", tmp_path / "b", without)]
    assert groups == [TERMS, "elbo"]
    newer = run(tmp_path / "d", BASE, replace(terms, checkpoint_step=10), elbo)
    assert [table["group"] for table in found(tmp_path / "a", newer)] == [TERMS, "elbo"]


def test_of_a_population_its_best_member(tmp_path):
    a = run(tmp_path / "a", BASE, record())
    better, worse = (record(values={"knn_5": x}, member=m) for m, x in ((1, 0.9), (0, 0.1)))
    b = run(tmp_path / "b", BASE, better, worse)
    best = [{"member": m, "best": {"epoch": 1, "val_loss": 2.0 - m}} for m in (0, 1)]
    runs.write_json(b / "summary.json", {"members": best})
    (table,) = found(a, b)
    assert [cell["value"] for cell in table["rows"][0]["values"]] == [0.5, 0.9]
    assert "member" not in table["options"]


def test_a_damaged_file_is_said_and_left_out(tmp_path, caplog):
    a, b = run(tmp_path / "a", BASE, record()), run(tmp_path / "b", BASE, record())
    (b / measured.FILE).write_text("{")
    assert found(a, b) == [] and "what was measured is left out" in caplog.text


def test_the_command(capsys, tmp_path):
    """In JSON, and on a terminal with errors, unit, definition and which way is better."""
    values = {"elbo": -99.0, "elbo_se": 1.25} | {f"x{i}": 1.0 for i in range(9)}
    a = run(tmp_path / "a", BASE, record("elbo", values))
    b = run(tmp_path / "b", BASE, record("elbo", values | {"elbo": -98.0}))
    status, result, _ = call(capsys, "compare", a, b)
    assert status == 0
    assert result["measures"][0]["rows"][0]["values"][1] == {"value": -98.0, "error": 1.25}
    text = " ".join(closing.text("compare", result).split())
    says = "elbo: -99 ± 1.2 | -98 ± 1.2 (-(recon + kl), at weight 1 whatever beta was in training"
    assert f"{says}; nats; higher is better)" in text and "and 2 more" in text
    assert "30 examples (checkpoint best, source digits, split test)" in text


def test_what_makes_no_other_examples_is_a_setting():
    """A name that no setting has would exclude nothing."""
    names = {f"data.{field.name}" for field in fields(Data)}
    assert {*in_common.NOT_OF_EXAMPLES} <= names
