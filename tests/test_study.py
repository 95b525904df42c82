"""Studies: members trained at once and measured as each is alone; interrupted and gone on with."""

import csv
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Population, Train, cli, runs
from jaxvae import data as datasets
from jaxvae import study as studies
from jaxvae.checks import UsageError
from jaxvae.evaluation import groups, score
from jaxvae.evaluation.subject import Findings, Measuring
from jaxvae.runs import measured
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import loop
from tests.commands import call

RNG = np.random.default_rng(0)
FACTORS = RNG.integers(0, 3, (160, 2))
IMAGES = (80 * FACTORS.repeat(8, axis=1)).reshape(160, 4, 4).astype(np.uint8)
SWEEP = ("objective.beta=0.5,4",)


@pytest.fixture
def experiment(tmp_path):
    np.savez(tmp_path / "data.npz", images=IMAGES, factors=FACTORS)
    return Experiment(
        "small",
        data=Data(str(tmp_path / "data.npz"), batch_size=16),
        model=Model(hidden_dims=(8,), latent_dim=2),
        objective=Objective(),
        train=Train(epochs=2, figures_every=0),
    )


def counted(monkeypatch):
    """Which group measures which beta, in order, instead of the groups `elbo` and `dci`."""
    seen = []

    def group(name):
        def measure(subject):
            beta = subject.trained.experiment.objective.beta
            seen.append((name, subject.trained.experiment.seed, beta))
            if name == "dci" and beta == 4:
                raise UsageError("not of this one")
            return Findings({"value": beta + len(subject.split.images)}, ("a note",))

        return measure

    monkeypatch.setattr(groups, "GROUPS", {name: group(name) for name in ("elbo", "dci")})
    return seen


@pytest.mark.slow
@pytest.mark.ci
def test_each_member_is_measured_once(experiment, tmp_path, monkeypatch):
    seen, folder, terms = counted(monkeypatch), tmp_path / "study", score.terms
    population = Population(2, SWEEP)
    restored, restore = [], Checkpoints.restore

    def counting(self, *args):
        restored.append(self._folder.parent.name)
        return restore(self, *args)

    monkeypatch.setattr(Checkpoints, "restore", counting)
    score._program.cache_clear()
    result = studies.study(experiment, folder, population, ["elbo"])
    assert restored == ["population", "0", "1", "2", "3"]  # what all share is read once
    assert score._program.cache_info().misses == 2  # and members of one beta share a program
    everyone = [(seed, beta) for seed in (0, 1) for beta in (0.5, 4.0)]
    assert seen == [("elbo", *member) for member in everyone]
    assert [(m["seed"], m["objective.beta"]) for m in result["members"]] == everyone
    assert json.loads((folder / "study.json").read_text()) == result
    for i, member in enumerate(result["members"]):  # which are runs: their pages show it
        kept = {r.group: r for r in measured.read(folder / "members" / str(i))}
        assert {name: r.values for name, r in kept.items()} == member["measured"]
        assert kept["terms"].checkpoint_step > 0 and kept["terms"].options["z"] == "sampled"

    with (folder / "study.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["elbo.value"]) for row in rows] == [32.5, 36, 32.5, 36]
    of_beta = result["settings"][1]
    losses = [float(row["loss"]) for row in rows if float(row["objective.beta"]) == 4]
    assert of_beta["objective.beta"] == 4 and of_beta["measured"]["loss"] == pytest.approx(
        {"mean": np.mean(losses), "std": np.std(losses, ddof=1), "n": 2}
    )
    assert (folder / "study.png").stat().st_size > 10_000

    # The same call again measures nothing, another group is added, also where it does not apply.
    seen.clear()
    monkeypatch.setattr(score, "terms", None)  # nor the terms
    assert studies.study(experiment, folder, population, ["elbo"]) == result
    assert seen == []
    added = studies.study(experiment, folder, population, ["dci"])
    assert seen == [("dci", *member) for member in everyone]
    assert added["members"][1]["refused"] == {"dci": "not of this one"}
    assert added["members"][0]["measured"]["elbo"] == result["members"][0]["measured"]["elbo"]
    seen.clear()
    studies.study(experiment, folder, population, ["dci", "elbo"])
    assert seen == []

    # With other settings what is asked for is measured again, and nothing else is lost.
    monkeypatch.setattr(score, "terms", terms)
    few = studies.study(experiment, folder, population, ["elbo"], limit=10)
    assert seen == [("elbo", *member) for member in everyone]
    assert few["members"][0]["measured"]["elbo"]["value"] == 10.5
    seen.clear()
    changed = Measuring(seed=3, normal=(1,), anomalies=IMAGES)
    kept = studies.study(experiment, folder, population, ["elbo"], 10, changed)
    assert len(seen) == 4 and kept["members"][0]["measured"]["dci"] == {"value": 32.5}
    assert kept["members"][0]["measuring"]["elbo"]["anomalies"].startswith("arrays in memory")
    seen.clear()
    assert studies.study(experiment, folder, population, ["elbo"], 10, changed) == kept
    assert seen == []

    for changed, message in (
        (Population(2, ("objective.beta=0.5,8",)), "population"),
        (Population(3, SWEEP), "population"),
    ):
        with pytest.raises(UsageError, match=message):
            studies.study(experiment, folder, changed)
    other = replace(experiment, train=Train(epochs=3, figures_every=0))
    with pytest.raises(UsageError, match=r"cannot change train\.epochs \(2 to 3\)"):
        studies.study(other, folder, population)


@pytest.mark.slow
@pytest.mark.ci
def test_interrupted_in_training_and_in_measuring(experiment, tmp_path, monkeypatch, capsys):
    """By the command: status 75, then the same command; what it ends with is that of one call."""
    (tmp_path / "small.py").write_text(
        "from jaxvae import *\n"
        f"experiment = Experiment('small', data=Data({experiment.data.source!r}, batch_size=16),\n"
        "    model=Model(hidden_dims=(8,), latent_dim=2),\n"
        "    train=Train(epochs=2, figures_every=0))\n"
    )
    words = ["study", tmp_path / "small.py", "--sweep", *SWEEP, "--metrics", "disentanglement"]
    status, whole, err = call(capsys, *words, "--out", tmp_path / "whole")
    assert status == 0, err

    train_epoch, group, calls = loop.train_epoch, groups.GROUPS["disentanglement"], []

    def stopped(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)
        return train_epoch(*args, **kwargs)

    def broken(subject):
        calls.append(subject.trained.experiment.objective.beta)
        if len(calls) == 2:
            raise OSError("the power went")
        return group(subject)

    words += ["--out", tmp_path / "parts"]
    monkeypatch.setattr(loop, "train_epoch", stopped)
    status, _, err = call(capsys, *words)
    assert status == cli.main.__globals__["INTERRUPTED"] and "give the same command again" in err
    assert not (tmp_path / "parts" / "study.json").exists()
    monkeypatch.setattr(loop, "train_epoch", train_epoch)
    monkeypatch.setitem(groups.GROUPS, "disentanglement", broken)
    status, _, err = call(capsys, *words)
    assert status == 1 and "the power went" in err
    status, parts, err = call(capsys, *words)
    assert (status, calls) == (0, [0.5, 4, 4]), err

    assert studies.rows_of(parts) == studies.rows_of(whole)
    status, alone, _ = call(
        *(capsys, "evaluate", tmp_path / "parts" / "members" / "1", "--metrics", "disentanglement")
    )
    row = studies.rows_of(parts)[1]
    assert {name: alone[name] for name in ("loss", "recon", "kl", "mse")} == pytest.approx(
        {name: row[name] for name in ("loss", "recon", "kl", "mse")}
    )
    for name, value in alone["metrics"]["disentanglement"].items():
        assert row[f"disentanglement.{name}"] == value


@pytest.mark.slow
@pytest.mark.ci
def test_data_are_read_once(experiment, tmp_path, monkeypatch, capsys, caplog):
    """One line, for training and every measure of every member; of the anomalies another."""
    np.save(tmp_path / "noise.npy", RNG.integers(0, 256, (20, 4, 4), np.uint8))
    own, others = str(experiment.data.source), str(tmp_path / "noise.npy")
    read, seen = datasets._read, []

    def watched(found, settings):
        seen.append(settings.source)
        return read(found, settings)

    monkeypatch.setattr(datasets, "_read", watched)
    words = ["--anomalies", others, "--num-samples", 2, "--metrics", "anomaly", "disentanglement"]
    words += ["--data.source", own, "--data.batch-size", 16, "--model.latent-dim", 2]
    words += ["--model.hidden-dims", 8, "--train.epochs", 1, "--seeds", 2]
    status, result, err = call(capsys, "study", "digits_vae", *words, "--out", tmp_path / "a")
    assert status == 0, err
    assert [set(each["measured"]) for each in result["members"]] == [
        {"terms", "anomaly", "disentanglement"}
    ] * 2
    assert seen == [own, others]
    said = [
        caplog.text.count(f"{Path(name).name}: {n} images")
        for name, n in ((own, 160), (others, 20))
    ]
    assert said == [1, 1]


@pytest.mark.slow
@pytest.mark.ci
def test_without_a_folder_the_same_command_goes_on(experiment, tmp_path, monkeypatch, capsys):
    """In runs/study_NAME, which is said first; another study of the experiment is refused there."""
    monkeypatch.chdir(tmp_path)
    words = ["study", "digits_vae", "--data.source", experiment.data.source, "--train.epochs", 1]
    words += ["--data.batch-size", 16, "--model.hidden-dims", 8, "--train.figures-every", 0]
    status, first, err = call(capsys, *words, "--seeds", 2)
    assert status == 0 and first["folder"] == "runs/study_digits_vae", err
    trained = json.loads(Path("runs/study_digits_vae/population/summary.json").read_text())
    status, again, _ = call(capsys, *words, "--seeds", 2)
    assert (status, again) == (0, first)
    assert trained == json.loads(Path("runs/study_digits_vae/population/summary.json").read_text())
    status, _, err = call(capsys, *words, "--seeds", 3)
    assert status == 2 and "give another --out" in err
    assert [path.name for path in Path("runs").iterdir()] == ["study_digits_vae"]


def test_what_cannot_be_a_study(experiment, tmp_path, capsys):
    with pytest.raises(UsageError, match="--seeds: a study compares members"):
        studies.study(experiment, tmp_path / "a", Population())
    with pytest.raises(UsageError, match="must be some of elbo"):
        studies.study(experiment, tmp_path / "a", Population(2), ["none"])
    with pytest.raises(UsageError, match="limit = 0"):
        studies.study(experiment, tmp_path / "a", Population(2), limit=0)
    for metrics, settings, message in (
        (["anomaly"], Measuring(), "--metrics anomaly: .* give --normal CLASS"),
        (["anomaly"], Measuring(anomalies="./nowhere"), "--anomalies = './nowhere': no such file"),
        (["anomaly"], Measuring(normal=1), "--normal = 1: the images have no labels"),
        (["probes"], Measuring(), "--metrics probes: the images have no labels"),
        (["clusters"], Measuring(), "--metrics clusters: the images have no labels"),
    ):
        with pytest.raises(UsageError, match=message):
            studies.study(experiment, tmp_path / "a", Population(2), metrics, None, settings)
    np.savez(tmp_path / "data.npz", images=IMAGES)
    for name in ("disentanglement", "dci"):
        with pytest.raises(UsageError, match=f"--metrics {name}: the images have no factors"):
            studies.study(experiment, tmp_path / "a", Population(2), [name])
    assert not (tmp_path / "a").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="b: exists and is not empty"):
        studies.study(experiment, tmp_path / "b", Population(2))
    for words, says in (
        (["study"], "study: give an experiment"),
        (["study", "--out", tmp_path / "c"], "study: give an experiment"),
        (["study", "digits_vae"], "--sweep = (): must be given, or --seeds"),
        (["study", "digits_vae", "--seeds", 2, "--limit", 0], "--limit = 0: must be None or"),
        (["study", "digits_vae", "--num-samples", 0], "--num-samples = 0: must be at least 1"),
        (["study", "digits_vae", "--metrics-seed", -1], "--metrics-seed = -1: must be in"),
    ):
        status, _, err = call(capsys, *words)
        assert status == 2 and says in err
    assert not Path("runs", "study_digits_vae").exists()
    assert runs.load_experiment("sprites_factor_vae").objective.gamma == 10


def test_options_of_measuring(experiment, tmp_path, monkeypatch, capsys):
    """Each arrives where `evaluate` has it; --seed stays that of the training."""
    given = []
    monkeypatch.setattr(studies, "study", lambda *args: given.append(args) or {})
    words = ["--num-samples", 3, "--generated", 20, "--metrics-seed", 4, "--normal", 1, 2]
    words += ["--anomalies", "digits", "--seed", 7]
    status, _, err = call(capsys, "study", "digits_vae", "--out", tmp_path / "a", *words)
    assert status == 0, err
    (settings,) = (args[5] for args in given)
    assert settings == Measuring(3, 20, 4, (1, 2), "digits") and given[0][0].seed == 7


def test_a_value_that_is_no_number_is_refused_and_the_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(groups, "GROUPS", {"elbo": lambda subject: Findings({"a": float("nan")})})
    entry = {"member": 0, "measured": {"elbo": {"a": 1.0}}, "notes": {}, "refused": {}}
    studies._measure(entry, "elbo", None)
    assert entry["measured"] == {} and "a" in entry["refused"]["elbo"]
    runs.write_json(tmp_path / "study.json", entry)
    assert runs.read_json(tmp_path / "study.json") == entry


def test_an_epoch_is_the_least(experiment, tmp_path):
    short = replace(experiment, train=replace(experiment.train, max_steps=3))
    with pytest.raises(UsageError, match=r"train\.max_steps = 3: must be None or at least \d+, an"):
        studies.study(short, tmp_path / "study", Population(2))
    assert not (tmp_path / "study").exists()
