"""What was measured stays in the run, once for each group and its options."""

import json
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Experiment, Model, Population, Train, runs
from jaxvae.checks import UsageError
from jaxvae.cli import closing
from jaxvae.evaluation.subject import Measuring
from jaxvae.runs import measured
from jaxvae.runs.measured import Record
from jaxvae.training.extract import extract
from jaxvae.training.page import write_page
from tests.commands import call
from tests.evaluation.subjects import images

BEST = {"checkpoint": "best", "source": "digits", "split": "test"}


@pytest.fixture
def folder(tmp_path):
    runs.write_json(tmp_path / "config.json", {})
    return tmp_path


def record(group="nll", value=1.0, step=10, **options):
    return Record(group, BEST | options, {group: value}, ("a note",), step, 30)


def test_the_same_options_take_the_place_of_the_old_record(folder):
    assert measured.read(folder) == []
    first, other, whole = record(value=1.0), record(num_samples=5), record(normal=(0, 1))
    path = measured.keep(folder, [first, other, whole])
    assert path == folder / "evaluation.json"
    newer = record(value=2.0, step=20)
    measured.keep(folder, [newer])
    found = measured.read(folder)
    assert [r.values["nll"] for r in found] == [1.0, 1.0, 2.0]  # the newest is the last
    assert found[-1] == newer and found[0] == other
    measured.keep(folder, [record(normal=[0, 1], value=3.0)])  # a tuple is a list in JSON
    assert len(measured.read(folder)) == 3
    assert {*json.loads(path.read_text())[0]} == {*asdict(first)}


def test_what_several_processes_measure_at_once_is_all_kept(folder):
    """Each reads, adds and writes: without a lock some would be lost."""
    writers = [
        threading.Thread(target=measured.keep, args=(folder, [record(limit=i)])) for i in range(40)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(r.options["limit"] for r in measured.read(folder)) == [*range(40)]


def test_a_folder_that_cannot_be_written_is_said_and_no_error(folder, caplog, monkeypatch):
    def read_only(*given):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(measured, "write_json", read_only)
    assert measured.keep(folder, [record()]) is None
    assert "what was measured is not kept in the run: [Errno 30] Read-only" in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{}", "not a readable JSON file"),
        ("{}", "must be a list of records"),
        ('[{"group": 3}]', r"\[0\].group = 3: must be of the type str"),
        ('[{"values": {"a": "b"}}]', r"\[0\].values"),
        ('[{"group": "nll"}]', r"\[0\].options: missing"),
        ("[1]", r"\[0\] = 1: must be an object"),
        ('[{"group": "nll", "values": {"nll": NaN}}]', "not a readable JSON file"),
    ],
)
def test_a_damaged_file_is_named_and_not_written_over(folder, caplog, text, says):
    (folder / "evaluation.json").write_text(text)
    with pytest.raises(UsageError, match=says):
        measured.read(folder)
    assert measured.keep(folder, [record()]) is None and "is not kept" in caplog.text
    assert (folder / "evaluation.json").read_text() == text


def test_what_goes_along_with_a_member_and_with_an_export(folder, tmp_path):
    kept = [record(member=1), record(member=2, value=2.0), record(checkpoint="latest", step=20)]
    measured.keep(folder, [*kept, record(value=4.0, step=10)])
    for name in ("member", "export", "none"):
        (tmp_path / name).mkdir()
        runs.write_json(tmp_path / name / "config.json", {})
    measured.carry(folder, tmp_path / "member", member=2)
    assert measured.read(tmp_path / "member") == [replace(kept[1], options=BEST)]
    measured.carry(folder, tmp_path / "export", step=20)
    assert measured.read(tmp_path / "export") == [replace(kept[2], options=BEST)]
    measured.carry(folder, tmp_path / "none", step=5)
    assert not (tmp_path / "none" / "evaluation.json").exists()


def test_settings_that_a_group_does_not_heed_are_no_options():
    settings = Measuring(num_samples=7, generated=8, seed=9, normal=(1,))
    heeded = {name: measured.heeded(name, settings) for name in ("units", "nll", "anomaly")}
    assert heeded == {
        "units": {},
        "nll": {"num_samples": 7},
        "anomaly": {"num_samples": 7, "normal": (1,), "seed": 9},
    }


@pytest.mark.parametrize("name", ["num_samples", "generated", "seed"])
def test_numbers_of_numpy_are_settings(name):
    settings = Measuring(**{name: np.int64(5)})
    assert settings == Measuring(**{name: 5})
    kept = {group: measured.heeded(group, settings) for group in ("nll", "anomaly", "samples")}
    assert "5" in json.dumps(kept)


def test_a_damaged_file_of_measures_goes_along_nowhere_and_that_is_said(folder, tmp_path, caplog):
    (folder / "evaluation.json").write_text("{}")
    measured.carry(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "evaluation.json: must be a list of records; mend it, or remove it" in caplog.text


# As a user does it

OWN, HELD = images(40), images(20, seed=1)
SMALL = Experiment(
    "small",
    data=Data(
        {
            **{"images": OWN.images, "labels": OWN.labels},
            **{"test_images": HELD.images, "test_labels": HELD.labels},
        },
        batch_size=8,
    ),
    model=Model(hidden_dims=(8,), latent_dim=2),
    train=Train(epochs=2, figures_every=None),
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run of images in a file."""
    folder = tmp_path_factory.mktemp("kept")
    np.savez(folder / "images.npz", **SMALL.data.source.arrays)
    data = replace(SMALL.data, source=str(folder / "images.npz"))
    jaxvae.train(replace(SMALL, data=data), folder / "run", quiet=True)
    return folder / "run"


def test_evaluate_keeps_what_it_says(saved, capsys, tmp_path):
    run = jaxvae.load(saved).save(tmp_path / "run").folder
    status, found, _ = call(
        *(capsys, "evaluate", run, "--metrics", "nll", "reconstruction"),
        *("--num-samples", 3, "--seed", 4, "--limit", 10),
    )
    assert status == 0 and found["kept"] == str(run / "evaluation.json")
    said = closing.text("evaluate", found)
    assert f"{found['kept']}: the page shows it, jaxvae report" in " ".join(said.split())
    terms, nll, reconstruction = measured.read(run)
    source = str(saved.parent / "images.npz")
    options = BEST | {"source": source, "limit": 10}
    assert terms.options == options | {"z": "sampled"} and terms.group == "terms"
    named = ("loss", "recon", "kl", "mse")
    assert terms.values == {n: found[n] for name in named for n in (name, f"{name}_se")}
    assert nll.options == options | {"num_samples": 3}
    assert reconstruction.options == options and reconstruction.images == 10
    assert nll.values == found["metrics"]["nll"] and list(nll.notes) == found["notes"]["nll"]
    assert nll.checkpoint_step == found["checkpoint_step"] > 0

    # From Python the same; other images stand beside it, by their name.
    opened = jaxvae.load(run)
    again = opened.evaluate("nll", num_samples=3, seed=4)["nll"]
    assert measured.read(run)[-1].options == {**BEST, "source": source, "num_samples": 3}
    assert measured.read(run)[-1].values == again
    opened.evaluate(HELD.images[:7])
    of_arrays = measured.read(run)[-1]
    assert of_arrays.options["source"].startswith("arrays in memory: uint8 of 7x12x12x1, ")
    assert (of_arrays.options["split"], of_arrays.images) == ("all", 7)
    opened.evaluate(Data(source, limit=5), z="mean")
    assert measured.read(run)[-1].options == {
        **{"checkpoint": "best", "source": source, "split": "all"},
        **{"limit": 5, "z": "mean"},
    }
    assert len(measured.read(run)) == 6
    jaxvae.load(run).save(tmp_path / "copy")
    assert measured.read(tmp_path / "copy") == measured.read(run)


def test_a_run_that_cannot_be_written_is_evaluated(saved, capsys, caplog, monkeypatch):
    def read_only(*given):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(measured, "write_json", read_only)
    status, found, _ = call(capsys, "evaluate", saved)
    assert status == 0 and found["kept"] is None and found["loss"] > 0
    assert "what was measured is not kept in the run: [Errno 30] Read-only" in caplog.text
    assert "the page shows it" not in closing.text("evaluate", found)
    assert jaxvae.load(saved).evaluate()["loss"] == pytest.approx(found["loss"])


def test_a_callback_measures_what_no_checkpoint_has(tmp_path):
    losses = []

    def measure(run, row):
        losses.append(run.evaluate()["loss"])

    run = jaxvae.train(SMALL, tmp_path / "run", callbacks=[measure], quiet=True)
    assert len(losses) == 2 and not (run.folder / "evaluation.json").exists()


def test_a_damaged_file_of_measures_is_left_out_of_the_page(saved, tmp_path, caplog):
    run = jaxvae.load(saved).save(tmp_path / "run").folder
    (run / "evaluation.json").write_text('[{"group": "nll", "of": "a newer version"}]')
    assert write_page(run).is_file()
    assert f"what was measured is left out: {run}/evaluation.json: '[0].of'" in caplog.text


@pytest.mark.slow
def test_of_a_population_by_member(tmp_path, capsys):
    np.savez(tmp_path / "images.npz", **SMALL.data.source.arrays)
    experiment = replace(SMALL, data=replace(SMALL.data, source=str(tmp_path / "images.npz")))
    run = jaxvae.train(experiment, tmp_path / "run", population=Population(seeds=2), quiet=True)
    found = [call(capsys, "evaluate", run.folder, "--member", i)[1] for i in (0, 1)]
    assert [r.options["member"] for r in measured.read(run.folder)] == [0, 1]
    assert found[0]["loss"] != found[1]["loss"] and found[1]["member"] == 1
    # The same as of the member taken out, which takes its own along.
    extract(run.folder, 1, tmp_path / "one")
    [own] = measured.read(tmp_path / "one")
    assert own.values["loss"] == found[1]["loss"] and "member" not in own.options
    assert call(capsys, "evaluate", tmp_path / "one")[1]["loss"] == pytest.approx(found[1]["loss"])
    assert len(measured.read(tmp_path / "one")) == 1  # it took that one's place
    status, _, err = call(capsys, "evaluate", run.folder)
    assert status == 2 and "give the number of one member, --member 0" in " ".join(err.split())
    status, _, err = call(capsys, "evaluate", tmp_path / "one", "--member", 0)
    assert status == 2 and "member = 0: must be left out: a single run" in " ".join(err.split())


@pytest.mark.slow
def test_an_exported_run_has_what_was_measured_on_its_checkpoint(saved, tmp_path):
    pytest.importorskip("safetensors")
    run = jaxvae.load(saved).save(tmp_path / "run")
    own = run.evaluate()
    other = replace(measured.read(run.folder)[0], checkpoint_step=1, group="nll")
    measured.keep(run.folder, [other])
    out = run.export(tmp_path / "out")
    [kept] = measured.read(out)
    assert kept.values == own and kept.group == "terms"
    assert jaxvae.load(out).evaluate()["loss"] == pytest.approx(own["loss"])
    assert len(measured.read(out)) == 1
