"""Runs that begin with the parameters of another: what is taken, what is not, and who may."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import (
    Data,
    Experiment,
    Model,
    Objective,
    Optimizer,
    Parallel,
    Population,
    Train,
    runs,
)
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import devices, initial_state, start, train
from jaxvae.training.extract import extract
from jaxvae.training.load import load
from jaxvae.training.members import initial_states, root_keys
from tests.commands import call
from tests.variants.small import INFO, small

IMAGES = Info((6, 6, 1))


def images_of(folder: Path, n: int, seed: int) -> str:
    path = folder / f"images-{n}.npz"
    np.savez(path, images=np.random.default_rng(seed).integers(0, 256, (n, 6, 6), np.uint8))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with BatchNorm, a learned variance and averaged parameters, on 60 images."""
    folder = tmp_path_factory.mktemp("start")
    experiment = Experiment(
        "first",
        data=Data(images_of(folder, 60, 0), batch_size=8),
        model=Model(hidden_dims=(8,), latent_dim=2, output="linear", batch_norm=True),
        objective=Objective("gaussian_learned"),
        optimizer=Optimizer("sgd", 1e-3, {"momentum": 0.9}, ema_decay=0.5),
        train=Train(epochs=2, figures_every=None),
    )
    images_of(folder, 30, 1)
    train(experiment, folder / "first", quiet=True)
    return folder


@pytest.fixture
def other(folder):
    """The same experiment on 30 other images, 3 steps an epoch."""
    first, *_ = runs.read_config(folder / "first")
    data = replace(first.data, source=str(folder / "images-30.npz"))
    return replace(first, name="other", data=data, seed=5)


def at_the_start(experiment: Experiment, source: Path, info: Info, count: int | None = None):
    """State and origin before the first step, of a run or of so many members, where all that is
    not taken is 7."""
    module = experiment.model.build(info)
    runner = devices.choose(Parallel(), experiment.data.batch_size)
    keys = root_keys([replace(experiment, seed=seed) for seed in range(count or 1)])
    abstract = jax.eval_shape(
        lambda: (
            initial_state(experiment, module, info)
            if count is None
            else initial_states(experiment, module, info, keys)
        )
    )
    state = runner.put(jax.tree.map(lambda x: np.full(x.shape, 7, x.dtype), abstract))
    return start.begin(
        SimpleNamespace(runner=runner, members=count, info=info), experiment, state, source
    )


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_everything_agrees(folder, other):
    """Parameters are those that evaluation uses, the average; all else is that of a new run."""
    state, origin = at_the_start(other, folder / "first", IMAGES)
    theirs, step = load(folder / "first")
    assert_equal(state.variables, theirs.variables)
    assert_equal(state.params["model"], theirs.variables.model["params"])
    assert_equal(state.collections["batch_stats"], theirs.variables.model["batch_stats"])
    assert state.params["objective"]["logvar"] == theirs.variables.objective["logvar"] != 0
    assert_equal(state.ema, state.params)
    assert int(state.step) == 0 and float(state.lr_scale) == 1
    momentum = [x for x in jax.tree.leaves(state.opt_state) if x.ndim > 0]
    assert momentum and not any(np.asarray(x).any() for x in momentum)
    count = len(jax.tree.leaves(theirs.variables))
    assert origin == {
        "run": str(folder / "first"),
        "checkpoint_step": step,
        "taken": count,
        "initialised": [],
        "not_taken": [],
        "seen_otherwise": [],
    }


def test_another_width_of_the_code(folder, other):
    """The rest is initialised as without, and listed on both sides with its own shape."""
    wider = replace(other, model=replace(other.model, latent_dim=3))
    state, origin = at_the_start(wider, folder / "first", IMAGES)
    theirs = load(folder / "first")[0].variables.model["params"]
    own = state.params["model"]
    assert_equal(own["encoder"], theirs["encoder"])
    for name in ("mean", "logvar"):
        assert (np.asarray(own[name]["kernel"]) == 7).all()
    shapes = {
        "model/params/decoder/Dense_0/kernel": "({}, 8)",
        **{f"model/params/{name}/kernel": "(8, {})" for name in ("mean", "logvar")},
        **{f"model/params/{name}/bias": "({},)" for name in ("mean", "logvar")},
    }
    for side, length in (("initialised", 3), ("not_taken", 2)):
        expected = {f"{name} {shape.format(length)}" for name, shape in shapes.items()}
        assert set(origin[side]) == expected
    line, initialised, not_taken = start.lines(origin)
    assert f"{origin['taken']} arrays taken" in line
    assert all(text in initialised for text in origin["initialised"])
    assert all(text in not_taken for text in origin["not_taken"])


def test_what_only_one_side_has(folder, other):
    """Another likelihood, without BatchNorm: the statistics and the variance are not taken."""
    plain = replace(
        other,
        model=replace(other.model, batch_norm=False),
        objective=Objective("half_mse"),
        optimizer=Optimizer(),
    )
    state, origin = at_the_start(plain, folder / "first", IMAGES)
    assert state.ema is None and origin["initialised"] == []
    left = {text.rpartition(" (")[0] for text in origin["not_taken"]}
    assert "objective/logvar" in left
    assert "model/batch_stats/encoder/Hidden_0/BatchNorm_0/var" in left
    assert all("BatchNorm" in name for name in left - {"objective/logvar"})


def test_data_on_another_scale(folder, other):
    """What a stored number means is the new run's to say; that it differs is said."""
    deep = replace(IMAGES, maximum=65535)
    _, origin = at_the_start(other, folder / "first", deep)
    assert origin["seen_otherwise"] == ["maximum"]
    assert "by maximum of their own" in [*start.lines(origin)][-1]
    rows = replace(IMAGES, maximum=None, center=(0.5,), scale=(2.0,))
    _, origin = at_the_start(other, folder / "first", rows)
    assert origin["seen_otherwise"] == ["maximum", "center", "scale"]


def test_every_member_of_a_population_begins_there(folder, other):
    state, origin = at_the_start(other, folder / "first", IMAGES, 3)
    theirs = load(folder / "first")[0].variables
    for i in range(3):
        assert_equal(jax.tree.map(lambda x: x[i], state.variables), theirs)  # noqa: B023
    assert origin["initialised"] == [] and int(state.step) == 0


@pytest.mark.parametrize("name", ["factor_vae", "vq_vae"])
def test_critics_and_codebooks(name, tmp_path):
    """By their paths: every array is filled with another number."""
    experiment = small(name)
    module = experiment.model.build(INFO)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, INFO))
    numbers = itertools.count()
    saved = jax.tree.map(lambda x: jnp.full(x.shape, next(numbers), x.dtype), abstract)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(saved, {"sums": {}, "standings": []})
    runs.write_json(tmp_path / "config.json", runs.describe(experiment, (8, 8, 1), INFO))
    begun, origin = at_the_start(experiment, tmp_path, INFO)
    assert_equal(begun.params, saved.params)
    assert_equal(begun.collections, saved.collections)
    assert (name == "vq_vae") == bool(jax.tree.leaves(begun.collections))
    assert (name == "factor_vae") == bool(jax.tree.leaves(begun.params["objective"]))
    assert origin["not_taken"] == []


def test_nothing_agrees(folder, other, tmp_path):
    conv = replace(
        other, model=Model("CAE", hidden_dims=(3,), output="linear"), objective=Objective("mse")
    )
    words = r"init_from = '.*first': must be a run that shares arrays .* model/params/encoder"
    with pytest.raises(UsageError, match=words):
        train(conv, tmp_path / "run", quiet=True, init_from=folder / "first")
    assert not (tmp_path / "run").exists()


def test_a_population_is_no_beginning(folder, other, tmp_path):
    config = runs.read_json(folder / "first" / "config.json") | {"population": {"seeds": 2}}
    (tmp_path / "two").mkdir()
    runs.write_json(tmp_path / "two" / "config.json", config)
    with pytest.raises(UsageError, match="a population; take a member out of it first"):
        train(other, tmp_path / "run", quiet=True, init_from=tmp_path / "two")
    with pytest.raises(UsageError, match="nowhere: no such run folder"):
        train(other, tmp_path / "run", quiet=True, init_from=tmp_path / "nowhere")


def test_classes_that_are_not_at_hand(folder, other, tmp_path):
    """The package's own and those of the experiment are; which file has others is not known."""
    assert runs.template_for(folder / "first", small("vq_vae")) == replace(
        Experiment("run"), name="run"
    )
    config = runs.read_json(folder / "first" / "config.json")
    config["classes"]["model"] = "mine.Model"
    runs.write_json(tmp_path / "config.json", config)
    with pytest.raises(UsageError, match=r"its model is a 'mine\.Model': must be a class of the"):
        runs.template_for(tmp_path, other)


# The whole way


@pytest.mark.slow
@pytest.mark.ci
def test_a_run_on_other_images(folder, other, tmp_path, capsys):
    """Its own epochs and images; what it began with is said, kept, and kept on resuming."""
    run = tmp_path / "run"
    summary = train(other, run, init_from=folder / "first")
    said = capsys.readouterr().err
    assert f"begins with {folder / 'first'}, the checkpoint of step" in said
    assert (summary["epochs"], summary["images"]["train"]) == (2, 24)
    origin = summary["init_from"]
    assert runs.read_json(run / "config.json")["init_from"] == origin
    assert runs.read_json(run / "summary.json")["init_from"] == origin

    longer = replace(other, train=replace(other.train, epochs=3))
    again = train(longer, run, resume=True)
    assert "begins with" not in capsys.readouterr().err
    assert again["init_from"] == origin == runs.read_json(run / "config.json")["init_from"]
    whole = train(longer, tmp_path / "whole", quiet=True, init_from=folder / "first")
    for name in ("val_loss", "train_loss", "grad_norm"):  # bit for bit
        assert whole["last"][name] == again["last"][name]
    by_itself = train(other, tmp_path / "itself", quiet=True)
    assert by_itself["last"]["val_loss"] > summary["last"]["val_loss"]


@pytest.mark.slow
def test_killed_before_its_first_checkpoint(folder, other, tmp_path):
    """It begins where it began, and not by itself."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    expected = train(other, whole, quiet=True, init_from=folder / "first")
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints")
    for name in ("metrics.csv", "summary.json"):
        (run / name).unlink()
    found = train(other, run, quiet=True, resume=True)
    assert found["last"]["val_loss"] == expected["last"]["val_loss"]
    assert found["init_from"] == expected["init_from"]


@pytest.mark.slow
def test_who_resumes_says_the_same_or_nothing(folder, other, tmp_path):
    run = tmp_path / "run"
    train(other, run, quiet=True, init_from=folder / "first")
    with pytest.raises(UsageError, match=r"init_from = 'x': must be '.*first', with which the run"):
        train(other, run, quiet=True, resume=True, init_from="x")
    first, *_ = runs.read_config(folder / "first")
    with pytest.raises(UsageError, match="must be left out: the run began by itself"):
        train(first, folder / "first", quiet=True, resume=True, init_from=run)
    config = runs.read_json(run / "config.json")
    for damaged in ("x", {}, config["init_from"] | {"run": 1}):
        runs.write_json(run / "config.json", config | {"init_from": damaged})
        with pytest.raises(
            UsageError, match=r"config\.json: init_from\.run: must be there, as str"
        ):
            train(other, run, quiet=True, resume=True)


@pytest.mark.slow
def test_a_member_that_is_taken_out_keeps_the_origin(folder, other, tmp_path):
    both = tmp_path / "both"
    summary = train(other, both, quiet=True, population=Population(2), init_from=folder / "first")
    extract(both, 1, tmp_path / "one")
    assert runs.read_json(tmp_path / "one" / "config.json")["init_from"] == summary["init_from"]


@pytest.mark.slow
def test_from_the_command_line(folder, tmp_path, capsys):
    """Refused with --resume; with --or-resume it is the start alone; the refusals name it."""
    file, run = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(
        "from jaxvae import *\n"
        f"data = Data({str(folder / 'images-60.npz')!r}, batch_size=8)\n"
        "experiment = Experiment('mine', data=data, model=Model(hidden_dims=(8,), latent_dim=2),"
        " train=Train(epochs=1, figures_every=None))\n"
    )
    assert call(capsys, "train", file, "--out", run)[0] == 0
    others = ["--data.source", folder / "images-30.npz"]
    for more in ([], ["--may-change", "data.source"]):
        status, _, err = call(capsys, "train", "--resume", run, *others, *more)
        assert status == 2 and f"train EXPERIMENT --init-from {run}" in err
    status, _, err = call(capsys, "train", "--resume", run, "--init-from", run)
    assert status == 2 and "--init-from: not allowed with --resume" in err

    command = ["train", file, *others, "--out", tmp_path / "two", "--or-resume"]
    command += ["--init-from", run]
    status, summary, err = call(capsys, *command)
    assert status == 0 and "begins with" in err and summary["init_from"]["run"] == str(run)
    status, again, err = call(capsys, *command, "--train.epochs", 2)
    assert status == 0 and "begins with" not in err
    assert (again["epochs"], again["init_from"]) == (2, summary["init_from"])
    assert json.loads((tmp_path / "two" / "config.json").read_text())["init_from"]["taken"] > 0
