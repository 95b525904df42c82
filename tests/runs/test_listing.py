"""Which runs are below a folder, where they stand, and in what they differ."""

import json
import math
from dataclasses import replace

import pytest

from jaxvae import Data, Experiment, Model, Objective, Train, runs
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.runs import guards, listing
from jaxvae.variants.aggregated import BetaTC
from jaxvae.variants.kl import Capacity
from tests.commands import call

BASE = Experiment("shapes", data=Data("digits"), train=Train(epochs=9))
INFO = Info((8, 8, 1), 10, 100, 100)
FINISHED = {"status": "finished", "total_seconds": 12.5, "num_parameters": 7}


def row(epoch, loss):
    best = {"val_loss": loss, "val_recon": loss - 5, "val_kl": 5.0, "val_mse": 0.1}
    return {"epoch": epoch, "step": epoch, **best, "train_loss": loss}


def made(folder, experiment=BASE, losses=(), summary=None):
    """A run as `train` leaves it, but for its checkpoints."""
    folder.mkdir(parents=True)
    config = runs.describe(experiment, (8, 8, 1), INFO, {"train": 100, "digest": "0"})
    runs.write_json(folder / "config.json", config)
    rows = [dict.fromkeys(runs.COLUMNS, 0.0) | row(i, x) for i, x in enumerate(losses, 1)]
    if rows:
        runs.write_metrics(folder / "metrics.csv", rows)
    if summary is not None:
        runs.write_json(folder / "summary.json", summary)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Runs in every state, one of them of a study, and what is no run."""
    made(tmp_path / "done", losses=(20, 18, 19), summary=FINISHED | {"best": row(2, 18)})
    made(tmp_path / "killed", losses=(20, math.nan, 19.5))
    failed = {"status": "failed: not finite"}
    made(tmp_path / "failed", losses=(math.nan,), summary=failed)
    members = [
        {"member": 0, "seed": 0, "best": row(3, 17)},
        {"member": 1, "seed": 1, "best": row(1, 16)},
        {"member": 2, "seed": 2, "best": None},
    ]
    best = {"val_loss": {"mean": 16.5, "std": 0.7}}
    made(tmp_path / "study" / "population", summary=FINISHED | {"best": best, "members": members})
    runs.write_json(made(tmp_path / "weights") / "import.json", {})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    return tmp_path


def test_where_each_stands(folder):
    by_name = {each.name: listing.standing(each) for each in listing.below(folder)}
    assert [*by_name] == ["done", "failed", "killed", "population", "weights"]
    states = {name: found["state"] for name, found in by_name.items()}
    assert states["done"] == states["population"] == "finished"
    assert (states["failed"], states["killed"]) == ("failed: not finite", "stopped")
    assert states["weights"] == "imported"
    done = by_name["done"]
    assert (done["epoch"], done["epochs"], done["seconds"]) == (3, 9, 12.5)
    assert done["best"] == {n: row(2, 18)[n] for n in ("epoch", *listing.TERMS)}
    assert by_name["killed"]["best"]["epoch"] == 3 and by_name["failed"]["best"] == {}
    population = by_name["population"]
    assert (population["members"], population["member"]) == (3, 1)
    assert population["best"]["val_loss"] == 16


def test_a_run_that_trains(folder):
    with guards.held(folder / "done"):
        # The kernel's lock is the open file's, so another one in this process is another's too.
        assert listing.standing(folder / "done")["state"] == "trains"
    assert listing.standing(folder / "done")["state"] == "finished"


def test_what_differs(tmp_path):
    a = made(tmp_path / "a", losses=(20.0,))
    longer = replace(BASE, train=Train(epochs=12), seed=3)
    b = made(tmp_path / "b", longer, losses=(19.0,))
    found = listing.compared([a, b])
    assert found["settings"] == {"train.epochs": [9, 12], "seed": [0, 3]}
    assert found["notes"] == [] and [each["run"] for each in found["runs"]] == [str(a), str(b)]
    gaussian = replace(
        BASE, model=Model(output="sigmoid"), objective=Objective("gaussian", sigma=0.1)
    )
    c = made(tmp_path / "c", gaussian, losses=(-19.0,))
    (note,) = listing.compared([a, c])["notes"]
    assert "different things (objective.likelihood, objective.sigma)" in note
    d = made(tmp_path / "d", replace(BASE, objective=Capacity()), losses=(9.0,))
    found = listing.compared([a, b, d])
    assert found["settings"]["objective"][::2] == [
        "jaxvae.config.Objective",
        "jaxvae.variants.kl.Capacity",
    ]
    assert found["settings"]["objective.gamma"] == [None, None, 30.0]
    config = json.loads((b / "config.json").read_text())
    runs.write_json(b / "config.json", config | {"images": {"train": 100, "digest": "1"}})
    (note,) = listing.compared([a, b])["notes"]
    assert "images differ" in note


def test_what_is_refused(folder):
    with pytest.raises(UsageError, match=r"runs = 1: must be two at least"):
        listing.compared([folder / "done"])
    with pytest.raises(UsageError, match="must be each given once"):
        listing.compared([folder / "done", folder / "failed" / ".." / "done"])
    with pytest.raises(UsageError, match="not the configuration of a run"):
        listing.compared([folder / "done", folder / "other"])
    with pytest.raises(UsageError, match="no run in it"):
        listing.below(folder / "other")
    with pytest.raises(UsageError, match="no such folder"):
        listing.below(folder / "nothing")


def test_commands(folder, capsys):
    status, found, _ = call(capsys, "runs", folder)
    assert status == 0 and len(found["runs"]) == 5
    status, found, _ = call(capsys, "compare", folder / "done", folder / "killed")
    assert status == 0 and found["settings"] == {} and len(found["runs"]) == 2
    assert call(capsys, "runs", folder / "other")[0] == 2
    assert call(capsys, "compare", folder / "done")[0] == 2


@pytest.mark.parametrize(
    ("changed", "one_kind"),
    [
        (replace(BASE, objective=Objective(beta=2)), {"loss": False, "recon": True}),
        (replace(BASE, data=Data("digits", binarize="threshold")), {"loss": False, "recon": False}),
        (replace(BASE, train=Train(epochs=9, report=True)), {"loss": True, "recon": True}),
        (replace(BASE, data=Data("digits", batch_size=8)), {"loss": True, "recon": True}),
    ],
)
def test_which_numbers_are_of_one_kind(tmp_path, changed, one_kind):
    found = listing.compared([made(tmp_path / "a"), made(tmp_path / "b", changed)])
    assert found["one_kind"] == one_kind and bool(found["notes"]) != one_kind["loss"]
    assert "train.report" not in found["settings"]


def test_every_number_of_a_variants_objective_tells_losses_apart(tmp_path):
    runs_of = [replace(BASE, objective=BetaTC(tc_weight=weight)) for weight in (2.0, 6.0)]
    found = listing.compared([made(tmp_path / str(i), of) for i, of in enumerate(runs_of)])
    assert found["notes"] == ["losses are of different things (objective.tc_weight)"]


def test_settings_that_an_older_version_did_not_have_are_as_they_are_by_default(tmp_path):
    new, old = made(tmp_path / "new"), made(tmp_path / "old")
    config = runs.saved_config(old)
    del config["experiment"]["train"]["sub_batch"]
    runs.write_json(old / "config.json", config)
    assert listing.compared([new, old])["settings"] == {}
