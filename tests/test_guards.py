"""Who may write to a run folder: its lock, what is left behind, links, other images."""

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train, runs
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.runs import guards
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import train


def held_by_another(folder) -> bool:
    """A lock belongs to the handle it was taken with, so a second one can be tried from here."""
    try:
        with guards.held(folder):
            return False
    except UsageError as error:
        assert str(error) == f"{folder}: another process is training in it"
        return True


def test_who_is_refused_leaves_the_lock_alone(tmp_path):
    """Also before the first has written anything."""
    run = tmp_path / "run"
    with guards.held(run):
        assert held_by_another(run) and held_by_another(run) and run.is_dir()
        (run / "config.json").touch()
    assert not held_by_another(run) and (run / "config.json").exists()


def test_a_folder_that_vanishes_before_it_is_locked(tmp_path, monkeypatch):
    """The one who held it has removed it, empty: the lock is then one of the new folder."""
    run, flock, handles = tmp_path / "run", guards.fcntl.flock, []

    def vanishing(handle: int, operation: int) -> None:
        handles.append(handle)
        if len(handles) == 1:
            run.rmdir()
        flock(handle, operation)

    monkeypatch.setattr(guards.fcntl, "flock", vanishing)
    with guards.held(run):
        assert len(handles) == 2 and held_by_another(run)


def test_what_was_made_for_nothing_is_removed(tmp_path):
    (tmp_path / "a").mkdir()
    with guards.held(tmp_path / "a" / "b" / "c"):
        pass
    assert (tmp_path / "a").is_dir() and not (tmp_path / "a" / "b").exists()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (50, 6, 6), np.uint8))
    return path


@pytest.fixture
def experiment(images):
    """5 steps an epoch."""
    return Experiment(
        "guarded",
        data=Data(str(images), batch_size=8),
        model=Model(hidden_dims=(8,), latent_dim=2),
        train=Train(epochs=2, figures_every=None),
    )


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    train(experiment.__wrapped__(images), run, quiet=True)
    return run


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def contents(folder) -> dict:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


def longer(experiment: Experiment, epochs: int = 3) -> Experiment:
    return replace(experiment, train=replace(experiment.train, epochs=epochs))


def test_files_of_others_stay(experiment, run, tmp_path):
    """Only what `atomic` left in a run's own folder is removed, and only by its next life."""
    mine = tmp_path / "mine"
    (mine / ".folder.tmp").mkdir(parents=True)
    (mine / ".config.json.12.tmp").touch()
    before = sorted(mine.rglob("*"))
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        train(experiment, mine, quiet=True)
    assert sorted(mine.rglob("*")) == before

    (run / "figures").mkdir()
    for name in (".metrics.csv.12.tmp", "figures/.loss.png.12.tmp", ".notes.tmp"):
        (run / name).touch()
    train(longer(experiment), run, resume=True, quiet=True)
    assert [p.name for p in run.rglob(".*")] == [".notes.tmp"]


def test_links_are_not_written_through(experiment, run, tmp_path):
    """Somebody's run folder could otherwise have files elsewhere removed as old checkpoints."""
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", run / "checkpoints")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match="run/checkpoints: a link; must be a folder"):
        train(longer(experiment), run, resume=True, quiet=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "shape, words",
    [
        ((80, 6, 6), r"train \(40 to 64\), validation \(10 to 16\)"),
        ((50, 6, 7), r"stored_shape \(\[6, 6, 1\] to \[6, 7, 1\]\)"),
        ((50, 6, 6), r"its images have changed: digest"),
    ],
)
def test_other_images_are_refused(experiment, images, run, shape, words):
    """Epochs would end elsewhere, the model would not fit, or it would not be the same training."""
    kept = images.with_name("kept.npz")
    shutil.copy(images, kept)
    before = contents(run)
    try:
        np.savez(images, images=np.zeros(shape, np.uint8))
        with pytest.raises(UsageError, match=words):
            train(longer(experiment), run, resume=True, quiet=True)
    finally:
        shutil.copy(kept, images)
    assert contents(run) == before


def test_other_images_in_another_place_when_told_so(experiment, images, run, tmp_path):
    """As many as before; not more of them."""
    for n in (80, 50):
        other = tmp_path / f"{n}.npz"
        np.savez(other, images=np.zeros((n, 6, 6), np.uint8))
        moved = longer(replace(experiment, data=replace(experiment.data, source=str(other))))
        if n == 80:
            with pytest.raises(UsageError, match=r"have changed: train \(40 to 64\), validation"):
                train(moved, run, resume=True, quiet=True, may_change=["data.source"])
    train(moved, run, resume=True, quiet=True, may_change=["data.source"])
    assert len(runs.read_metrics(run / "metrics.csv")) == 3


def test_a_configuration_comes_back(experiment, tmp_path):
    """The stored shape and the one that the model sees are two."""
    resized = replace(experiment, data=replace(experiment.data, resize=(4, 3)))
    info = Info((4, 3, 1), num_classes=2, num_examples=40, num_labelled=7)
    runs.write_json(tmp_path / "config.json", runs.describe(resized, (6, 6, 1), info))
    assert runs.read_config(tmp_path) == (resized, (6, 6, 1), info)


def test_a_cosine_ends_where_it_was_to_end(experiment, run):
    """With more epochs the rates of those behind would have been others."""
    guards.refuse_changes(longer(experiment), run)
    cosine = replace(experiment, optimizer=Optimizer(schedule="cosine"))
    config = runs.saved_config(run)
    config["experiment"]["optimizer"]["schedule"] = "cosine"
    runs.write_json(run / "config.json", config)
    guards.refuse_changes(cosine, run)
    with pytest.raises(UsageError, match=r"cannot change train\.epochs \(2 to 3\); unless told so"):
        guards.refuse_changes(longer(cosine), run)
    guards.refuse_changes(longer(cosine), run, ["train.epochs"])


def test_nothing_to_go_on_from(experiment, run):
    """What was reached is not silently begun again."""
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    before = contents(run)
    with pytest.raises(runs.RunError, match="tells of several epochs, but there is no checkpoint"):
        train(longer(experiment), run, resume=True, quiet=True)
    assert contents(run) == before


def test_a_finished_run_is_completed_by_its_own_command(experiment, run):
    """Killed after the last step: the summary comes, and no step more."""
    before, summary = contents(run / "checkpoints"), runs.read_json(run / "summary.json")
    (run / "summary.json").unlink()
    again = train(experiment, run, resume=True, quiet=True)
    assert contents(run / "checkpoints") == before
    for name in ("status", "epochs", "steps", "best", "last"):
        assert again[name] == summary[name]
    assert runs.read_json(run / "summary.json")["status"] == "finished"


def test_refusals_come_before_anything_is_moved(experiment, run):
    """A damaged checkpoint stays where it is while the command is refused."""
    for path in (run / "checkpoints" / "10").rglob("d/*"):
        path.write_bytes(b"")
    before = contents(run)
    with pytest.raises(UsageError, match=r"train.max_steps = 4: .*the 5 steps"):
        short = replace(experiment, train=replace(experiment.train, max_steps=4))
        train(short, run, resume=True, quiet=True)
    assert contents(run) == before


def test_a_changed_loss_has_a_best_of_its_own(experiment, run):
    """The loss under another beta is another one: the old best, which is lower, is no best."""
    heavy = replace(longer(experiment, 4), objective=Objective(beta=100.0))
    heavy = replace(heavy, train=replace(heavy.train, early_stopping=2))
    summary = train(heavy, run, resume=True, quiet=True, may_change=["objective.beta"])
    rows = runs.read_metrics(run / "metrics.csv")
    assert min(rows[2]["val_loss"], rows[3]["val_loss"]) > rows[1]["val_loss"]
    assert summary["epochs"] == 4 and summary["best"]["epoch"] in (3, 4)
    with Checkpoints(run / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.best_step() == 5 * summary["best"]["epoch"]


def test_a_changed_rate_is_the_one_that_is_asked_for(experiment, tmp_path):
    """The factor that the plateau schedule had come to does not multiply it."""
    plateau = Optimizer(learning_rate=1e-30, schedule="plateau", patience=1, decay=0.1)
    train(longer(replace(experiment, optimizer=plateau), 4), tmp_path, quiet=True)
    reached = runs.read_metrics(tmp_path / "metrics.csv")[-1]["learning_rate"]
    assert reached == pytest.approx(1e-31, rel=1e-6)  # epochs 2 and 3 brought no improvement
    constant = longer(replace(experiment, optimizer=Optimizer(learning_rate=1e-3)), 5)
    names = ("learning_rate", "schedule", "decay", "patience")
    may_change = [f"optimizer.{name}" for name in names]
    train(constant, tmp_path, resume=True, quiet=True, may_change=may_change)
    rate = runs.read_metrics(tmp_path / "metrics.csv")[-1]["learning_rate"]
    assert rate == pytest.approx(1e-3, rel=1e-6)


def test_what_may_change_is_checked_at_the_first_start_too(experiment, tmp_path):
    with pytest.raises(UsageError, match=r"--may-change = 'model.nonsense': must be one of"):
        train(experiment, tmp_path / "run", quiet=True, may_change=["model.nonsense"])
    assert not (tmp_path / "run").exists()
