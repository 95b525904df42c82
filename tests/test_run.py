"""The Python face: training and runs as values."""

import functools
import gc
import inspect
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Optimizer, Population, Train, training
from jaxvae.changes import with_changes
from jaxvae.checks import UsageError
from jaxvae.cli import closing
from jaxvae.words import in_python

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
LABELS = np.arange(60) % 3
SMALL = Experiment(
    "small",
    data=Data(IMAGES, LABELS, batch_size=12),
    model=Model(hidden_dims=(8,), latent_dim=2),
    optimizer=Optimizer("sgd", 1e-3),
    train=Train(epochs=3, figures_every=None),
)


@pytest.fixture(scope="module")
def run():
    return jaxvae.train(SMALL, quiet=True)


# Training


def test_it_is_the_training_of_the_command_line(run, tmp_path):
    summary = training.train(SMALL, tmp_path / "run", quiet=True)
    assert run.summary["last"]["val_loss"] == summary["last"]["val_loss"]
    assert run.history["epoch"] == [1, 2, 3]
    assert run.history["val_loss"][-1] == summary["last"]["val_loss"]
    assert len({len(column) for column in run.history.values()}) == 1


def test_without_a_folder_nothing_is_left():
    run = jaxvae.train(SMALL, epochs=1, quiet=True)
    folder = run.folder
    assert (folder / "config.json").exists()
    del run
    gc.collect()
    assert not folder.exists()


def test_a_run_is_kept_and_opened_again(run, tmp_path):
    kept = run.save(tmp_path / "kept")
    again = jaxvae.load(tmp_path / "kept")
    np.testing.assert_array_equal(again.embed(IMAGES), run.embed(IMAGES))
    assert again.history == run.history == kept.history
    with pytest.raises(FileExistsError, match="give another folder"):
        run.save(tmp_path / "kept")
    with pytest.raises(UsageError, match="give the same arrays"):
        again.evaluate()
    whole = jaxvae.load(tmp_path / "kept", data=Data(IMAGES, LABELS))
    assert whole.evaluate() == run.evaluate()


def test_a_cell_that_is_run_twice(tmp_path):
    """Without a folder it trains again, with one it says what to do, in words of Python."""
    jaxvae.train(SMALL, tmp_path / "run", epochs=1, quiet=True)
    with pytest.raises(FileExistsError) as refused:
        jaxvae.train(SMALL, tmp_path / "run", epochs=1, quiet=True)
    words = "give another folder, or continue it with jaxvae.load(folder).resume()"
    assert words in str(refused.value) and "--" not in str(refused.value)


def test_resuming_is_exact(run, tmp_path):
    """Two epochs and one are three, to the bit; arrays that are not held are asked for."""
    first = jaxvae.train(SMALL, tmp_path / "run", epochs=2, quiet=True)
    longer = first.resume(epochs=3)
    losses = ("train_loss", "val_loss", "val_kl")
    assert all(longer.history[name] == run.history[name] for name in losses)
    again = jaxvae.load(tmp_path / "run")
    with pytest.raises(UsageError, match="give the same arrays"):
        again.resume(epochs=4)
    with pytest.raises(UsageError, match=r"cannot change data\.source") as refused:
        again.resume(data=Data(255 - IMAGES, LABELS), epochs=4)
    assert "may_change" not in str(refused.value)
    with pytest.raises(UsageError, match=r"model\.latent_dim"):
        again.resume(data=Data(IMAGES, LABELS), latent_dim=3)
    assert len(again.resume(data=Data(IMAGES, LABELS), epochs=4).history["epoch"]) == 4


def test_what_was_saved_stays_where_a_training_fails():
    """Without a folder of its own it would go with the run that nobody got."""

    def fails(run, row):
        if row["epoch"] == 2:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failed:
        jaxvae.train(SMALL, callbacks=[fails], quiet=True)
    (note,) = failed.value.__notes__
    folder = note.partition("load('")[2].removesuffix("')")
    assert jaxvae.load(folder).history["epoch"] == [1]
    shutil.rmtree(folder)


def test_a_copy_is_a_run_of_its_own(tmp_path):
    run = jaxvae.train(SMALL, tmp_path / "run", epochs=1, quiet=True)
    (tmp_path / "run" / "trackers.json").write_text('{"mlflow": "1"}')
    copy = run.save(tmp_path / "new" / "copy")
    assert copy.summary == run.summary | {"folder": str(tmp_path / "new" / "copy")}
    assert not (copy.folder / "trackers.json").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["copy"]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda run: run.evaluate(z="sample"), "z = 'sample': must be 'sampled' or 'mean'"),
        (lambda run: run.sample(prior="fit"), "prior = 'fit': must be 'model' or 'fitted'"),
        (lambda run: jaxvae.load(run.folder, "last"), "checkpoint = 'last': must be 'best' or"),
    ],
)
def test_misspelt_choices(run, call, message):
    with pytest.raises(UsageError, match=message):
        call(run)


@pytest.mark.parametrize(
    "codes, label, message",
    [
        (np.zeros((3, 5)), None, r"z: float64 of shape (3, 5): must be numbers of shape (n, 2)"),
        (np.zeros(2), None, "of one code give z[None]"),
        (np.zeros((0, 2)), None, "with n at least 1"),
        ([["a", "b"]], None, "z: <U1 of shape (1, 2): must be numbers"),
        (np.zeros((3, 2)), [1], "label: of shape (1,): must be (3,), one per code"),
    ],
)
def test_codes_that_are_none(run, codes, label, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        run.decode(codes, label)


@pytest.mark.parametrize(
    "name", [pytest.param("embed", marks=pytest.mark.slow), "reconstruct", "evaluate"]
)
def test_one_example_is_not_taken_for_many(run, name):
    """Of a run that resizes, an image in colour would pass for as many grey ones."""
    colour = np.repeat(IMAGES[..., None], 3, axis=-1)
    other = {"latent_dim": 2, "epochs": 1, "quiet": True}
    resized = jaxvae.train(SMALL, data=Data(colour, batch_size=12, resize=5), **other)
    rows = np.random.default_rng(0).normal(size=(60, 5))
    linear = {"likelihood": "gaussian", "output": "linear"}
    table = jaxvae.train(SMALL, data=Data(rows, batch_size=12), **linear, **other)
    for of, one in (
        *((run, IMAGES[0]), (run, IMAGES[0][..., None])),
        *((resized, colour[0]), (table, rows[0])),
    ):
        with pytest.raises(UsageError, match=r"one example of shape .* x\[None\] or x\[:1\]"):
            getattr(of, name)(one)
        assert getattr(of, name)(one[None]) is not None


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Data(IMAGES, batchsize=3), "Data: batchsize: no such field; did you mean batch_"),
        (lambda: Model(latentdim=3), "Model: latentdim: no such field; did you mean latent_dim?"),
        (lambda: Population(zzz=3), "Population: zzz: no such field; it has seeds, sweep"),
    ],
)
def test_misspelt_fields(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        make()
    assert "batch_size" in inspect.signature(Data).parameters  # what an editor shows


def test_whether_the_loss_still_falls_is_said(tmp_path, capfd):
    """In words of Python, and of the command line."""
    run = jaxvae.train(SMALL, tmp_path / "run", epochs=2)
    fell = run.history["val_loss"][0] - run.history["val_loss"][1]
    said = f"the validation loss still fell by {fell:.4g} nats in the last epoch"
    err = capfd.readouterr().err
    assert f"{said}: run.resume(epochs=4) goes on\n" in err
    assert err.startswith("arrays in memory: 60 images of 6x6x1 ") and "\ncompiling: " in err
    assert f"{said}: more epochs make it better" in " ".join(
        closing.text("train", run.summary).split()
    )
    jaxvae.train(SMALL, epochs=2, quiet=True)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.ci
def test_a_resume_that_trains_nothing(tmp_path):
    """It draws no figure again, unless one is missing or older than the last epoch; fewer epochs
    than there are are refused in epochs."""
    run = jaxvae.train(SMALL, tmp_path / "run", epochs=2, figures_every=0, quiet=True)
    figures = tmp_path / "run" / "figures"

    def drawn():
        return {path.name: path.stat().st_mtime_ns for path in figures.iterdir()}

    first = drawn()
    assert len(first) == 7
    run.resume(quiet=True)
    assert drawn() == first
    (figures / "reconstructions.png").unlink()
    run.resume(quiet=True)
    second = drawn()
    assert second.keys() == first.keys() and all(second[name] > first[name] for name in first)
    run.resume(epochs=3, quiet=True)
    assert all(third > second[name] for name, third in drawn().items())
    refused = r"train\.epochs = 2: must be at least 3: .* has trained 3 epochs$"
    with pytest.raises(UsageError, match=refused):
        run.resume()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jaxvae.train(3), "experiment = 3: must be a name, a file or an Experiment"),
        (lambda: jaxvae.train(SMALL, 3), "folder = 3: must be a path, or left out"),
        (lambda: jaxvae.train(SMALL, population=3), "population = 3: must be a jaxvae.Population"),
        (lambda: jaxvae.train(SMALL, callbacks=3), "callbacks: 3: must be a function, or an obj"),
        (lambda: jaxvae.train(SMALL, seed=1.5), "seed = 1.5: must be of the type int"),
        (lambda: jaxvae.train(replace(SMALL, model=Model(network="cov"))), "model.network = 'cov'"),
        (lambda: Experiment("a", data="mnist"), "data = 'mnist': must be a jaxvae.Data"),
        (lambda: Experiment(3), "name = 3: must be text"),
        (lambda: Model(hidden_dims=64), "model.hidden_dims = 64: must be widths of layers, such"),
    ],
)
def test_arguments_of_another_kind(call, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        call()


def test_it_begins_with_another_run(run):
    begun = jaxvae.train(SMALL, init_from=run, epochs=1, seed=5, quiet=True)
    assert begun.summary["init_from"]["not_taken"] == []


def test_arrays_alone_leave_the_other_settings(run):
    darker = jaxvae.train(SMALL, data=IMAGES // 2, epochs=1, quiet=True)
    assert darker.experiment.data.batch_size == 12
    assert darker.dataset.train.labels is None
    whole = jaxvae.train(SMALL, data=Data(IMAGES, batch_size=6), epochs=1, quiet=True)
    assert whole.experiment.data.batch_size == 6


@pytest.mark.slow
@pytest.mark.ci
def test_members_of_a_population(run):
    population = jaxvae.train(SMALL, population=Population(seeds=2), quiet=True)
    assert set(population.history["member"]) == {0, 1}
    np.testing.assert_allclose(
        population.member(0).history["val_loss"], run.history["val_loss"], rtol=1e-5
    )
    with pytest.raises(UsageError, match=r"run\.member\(0\)"):
        population.sample()
    assert population.resume(epochs=4, quiet=True).history["epoch"][-1] == 4


# What a run does


def test_codes_and_back(run):
    codes = run.embed(IMAGES)
    assert codes.shape == (60, 2)
    np.testing.assert_allclose(run.decode(codes), run.reconstruct(IMAGES), atol=1e-6)
    pixels = run.reconstruct(IMAGES)
    assert pixels.shape == (60, 6, 6, 1) and 0 <= pixels.min() <= pixels.max() <= 1


@pytest.mark.parametrize(
    "given", [IMAGES / 255, IMAGES.tolist(), IMAGES[..., None]], ids=["floats", "lists", "channel"]
)
def test_examples_as_they_come(run, given):
    np.testing.assert_allclose(run.embed(given), run.embed(IMAGES), atol=1e-6)


def test_the_test_set_by_default(run):
    """Which is the validation set here: the best epoch's row says what it comes to."""
    best = int(np.argmin(run.history["val_loss"]))
    found = run.evaluate()
    for name in ("loss", "recon", "kl", "mse"):
        assert found[name] == pytest.approx(run.history[f"val_{name}"][best], rel=1e-5)
    assert found == pytest.approx(run.evaluate(run.dataset.test.images), rel=1e-6)
    assert len(run.embed()) == 12


def test_samples_follow_their_seed(run):
    assert run.sample(5).shape == (5, 6, 6, 1)
    np.testing.assert_array_equal(run.sample(5, seed=3), run.sample(5, seed=3))
    assert (run.sample(5, seed=3) != run.sample(5, seed=4)).any()
    assert run.sample(4, prior="fitted").shape == (4, 6, 6, 1)
    with pytest.raises(UsageError, match="label = 1: must be left out") as refused:
        run.sample(label=1)
    assert "--" not in str(refused.value)


@pytest.mark.parametrize("name", ["curves", "latents", "manifold", "reconstructions", "samples"])
def test_figures_that_a_notebook_shows(run, name):
    assert run.figure(name)._repr_png_().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.ci
def test_figures_that_are_not(run):
    with pytest.raises(UsageError, match="name = 'latent': must be one of latents, "):
        run.figure("latent")
    wide = jaxvae.train(SMALL, epochs=1, latent_dim=3, quiet=True)
    with pytest.raises(UsageError, match="name = 'manifold': must be another one"):
        wide.figure("manifold")


def test_reprs_are_short(run):
    long = replace(SMALL, name="x" * 150)
    values = [run, run.trained, run.trained.variables, run.dataset, run.dataset.train, SMALL, long]
    values += [SMALL.data, SMALL.model, SMALL.train, Objective(), Optimizer()]
    for value in values:
        assert len(repr(value)) <= 200, type(value)
    assert "small" in repr(run) and "3 epochs" in repr(run)
    assert repr(Model(latent_dim=3)) == "Model(latent_dim=3)"


# Fields by name


def test_fields_by_name():
    inner = with_changes(SMALL, {"optimizer": {"learning_rate": 0.5}})
    assert inner.optimizer == Optimizer("sgd", 0.5)  # and not Adam, the default
    found = with_changes(SMALL, {"epochs": 7, "latent_dim": 3, "seed": 4, "data.seed": 1})
    assert (found.train.epochs, found.model.latent_dim) == (7, 3)
    assert (found.seed, found.data.seed) == (4, 1)
    both = with_changes(SMALL, {"likelihood": "mse", "output": "linear"})  # neither alone is right
    assert both.objective.likelihood == "mse"
    assert with_changes(SMALL, {"hidden_dims": [4, 4]}).model.hidden_dims == (4, 4)
    assert with_changes(SMALL, {"hidden_dims": 4}).model.hidden_dims == (4,)
    assert with_changes(SMALL, {"resize": 9}).data.resize == (9, 9)
    assert with_changes(SMALL, {"learning_rate": 1}).optimizer.learning_rate == 1.0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"warmup_steps": 1}, "must be one of objective.warmup_steps and optimizer.warmup_steps"),
        ({"epoch": 3}, "epoch: not a field of the experiment; did you mean epochs"),
        ({"lr": 1e-3}, "did you mean learning_rate"),
        ({"data.epochs": 3}, "data.epochs: not a field"),
        ({"epochs": "3"}, "train.epochs = '3': must be of the type int"),
        ({"epochs": 0}, "train.epochs = 0: must be at least 1"),
        ({"epochs": 3, "train.epochs": 4}, "given twice"),
    ],
)
def test_fields_that_are_not(changes, message):
    with pytest.raises(UsageError, match=message):
        with_changes(SMALL, changes)


def test_labels_beside_images():
    held = Data(IMAGES, LABELS).source
    assert Data({"images": IMAGES, "labels": LABELS}).source == held
    assert replace(Data(IMAGES, LABELS), batch_size=3).source == held
    with pytest.raises(UsageError, match=r"data\.labels = .*: must be left out"):
        Data("mnist", LABELS)


@dataclass(frozen=True)
class Own(Objective):
    gamma: Any = 1.0


def test_fields_of_a_variant():
    """Also those of any type; and its repr is as short as the others'."""
    own = replace(SMALL, objective=Own())
    assert with_changes(own, {"gamma": 2.0}).objective.gamma == 2.0
    assert repr(Own(beta=3.0, gamma=2)) == "Own(beta=3.0, gamma=2)"


def test_a_path_is_a_name():
    assert Data(Path("photos")) == Data("photos")


# Callbacks


class Watching:
    def __init__(self):
        self.seen = []

    def on_train_begin(self, run):
        self.seen.append(("begin", len(run.history)))

    def on_epoch_end(self, run, row):
        self.seen.append((row["epoch"], run.evaluate()["loss"] - row["val_loss"]))
        return {"halves": row["epoch"] / 2}

    def on_train_end(self, run):
        self.seen.append(("end", len(run.history["epoch"])))


def test_callbacks_see_the_run_as_it_stands():
    """The parameters are the latest: by them the epoch's own validation loss comes out."""
    watching, epochs = Watching(), []
    run = jaxvae.train(
        SMALL, callbacks=[watching, lambda run, row: epochs.append(row["epoch"])], quiet=True
    )
    (begin, empty), *rows, (end, count) = watching.seen
    assert (begin, empty, end, count) == ("begin", 0, "end", 3)
    assert [epoch for epoch, _ in rows] == epochs == [1, 2, 3]
    np.testing.assert_allclose([difference for _, difference in rows], 0, atol=1e-3)
    assert run.history["halves"] == [0.5, 1, 1.5]
    longer = run.resume(epochs=4)  # without it
    assert longer.history["halves"][:3] == [0.5, 1, 1.5] and math.isnan(longer.history["halves"][3])


def test_a_callback_stops_the_training():
    """What another one has measured in that epoch stays; columns need not be there always."""

    def enough(run, row):
        if row["epoch"] == 2:
            raise jaxvae.StopTraining("seen enough")
        return {"val_mine": math.nan}

    run = jaxvae.train(SMALL, callbacks=[enough, lambda run, row: {"other": 1}], quiet=True)
    assert run.history["epoch"] == [1, 2] and run.history["other"] == [1, 1]
    assert run.summary["last"]["other"] == 1 and run.summary["best"]["epoch"] == 2
    assert run.summary["status"] == "stopped by a callback: seen enough"
    assert run.resume().history["epoch"] == [1, 2, 3]


@pytest.mark.parametrize(
    "columns, message",
    [
        ("no", "returned = 'str'"),
        ({"val_loss": 0.0}, "val_loss"),
        ({"mine": "many"}, "column mine of a callback = 'str'"),
    ],
)
def test_columns_that_are_none(columns, message):
    with pytest.raises(UsageError, match=message):
        jaxvae.train(SMALL, callbacks=[lambda run, row: columns], quiet=True)


@pytest.mark.parametrize("callback", [3, "print", object(), Watching])
def test_what_is_no_callback(callback):
    with pytest.raises(UsageError, match=r"callbacks: .* must be a function, or an object"):
        jaxvae.train(SMALL, callbacks=[callback], quiet=True)


def test_a_run_that_a_callback_keeps():
    """It stays what it was: the next step does not take its parameters."""
    kept = []
    jaxvae.train(SMALL, callbacks=[lambda run, row: kept.append(run)], quiet=True)
    first, *_, last = [run.embed(IMAGES) for run in kept]
    assert (first != last).any()


def test_a_column_of_two_callbacks():
    with pytest.raises(UsageError, match="column of a callback = 'mine': must be a name that no"):
        jaxvae.train(SMALL, callbacks=[lambda run, row: {"mine": 1}] * 2, quiet=True)


def test_any_function_is_one():
    def at(name, run, row):
        seen.append((name, row["epoch"]))

    seen: list[tuple[str, int]] = []
    jaxvae.train(SMALL, epochs=1, callbacks=[functools.partial(at, "partial")], quiet=True)
    assert seen == [("partial", 1)]


def test_a_population_has_no_callbacks():
    with pytest.raises(UsageError, match="callbacks: must be left out"):
        jaxvae.train(SMALL, population=Population(2), callbacks=[print], quiet=True)


@dataclass(frozen=True)
class Traced(Objective):
    """Notes in `notes`, which every copy shares, that it was traced."""

    notes: Any = ()

    def terms(self, output, batch, params):
        if self.notes:
            self.notes[0].traced += 1
        return super().terms(output, batch, params)


class Notes:
    traced = 0

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("hashable", [True, False])
def test_an_evaluation_each_epoch_is_compiled_once(hashable):
    """Of settings that have no hash, as with a list, it is compiled each time, and comes out."""
    traced, losses, notes = [], [], Notes()

    def evaluate(run, row):
        objective = Traced(notes=(notes,) if hashable else [notes])
        trained = run.trained._replace(experiment=replace(run.experiment, objective=objective))
        run.trained = trained
        before = notes.traced
        losses.append(run.evaluate()["loss"] - row["val_loss"])
        traced.append(notes.traced - before > 0)

    jaxvae.train(SMALL, callbacks=[evaluate], quiet=True)
    np.testing.assert_allclose(losses, 0, atol=1e-3)
    assert traced == [True, *[not hashable] * 2]


# Words and interrupts


@pytest.mark.parametrize(
    "said, expected",
    [
        ("--label = 5: must be", "label = 5: must be"),
        ("give --data.resize HEIGHT WIDTH", "give data.resize HEIGHT WIDTH"),
        ("(or --data.no-standardise)", "(or data.standardise=False)"),
        ("--may-change = 'x'", "may_change = 'x'"),
        ("first: jaxvae extract RUN --member 0 --out RUN", None),
        ("from -1 to 1 -- or so", None),
    ],
)
def test_words_of_python(said, expected):
    assert in_python(said) == (expected or said)


def test_what_is_used_is_imported_then(tmp_path):
    """JAX takes a second: it is imported with the first thing that needs it."""
    code = "import sys, jaxvae; print('jax' in sys.modules, 'train' in dir(jaxvae))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        jaxvae.trian  # noqa: B018


INTERRUPTED = """
import os, signal, sys
import numpy as np
import jaxvae
sys.ps1 = ">>> "  # as at Python's prompt
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job begins without it
images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
experiment = jaxvae.Experiment(
    "interrupted",
    data=jaxvae.Data(images, batch_size=12),
    model=jaxvae.Model(hidden_dims=(8,), latent_dim=2),
    train=jaxvae.Train(epochs=100_000, figures_every=None),
)

def interrupt(run, row):
    if row["epoch"] == 2:
        os.kill(os.getpid(), signal.SIGINT)
        if len(sys.argv) > 1:
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 0)

try:
    run = jaxvae.train(experiment, callbacks=[interrupt], quiet=True)
    print("returned", len(run.history["epoch"]), run.sample(2).shape)
    run = run.resume(epochs=len(run.history["epoch"]) + 1)
    print("resumed", len(run.history["epoch"]))
except KeyboardInterrupt:
    print("KeyboardInterrupt")
print("alive", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupt_never_ends_the_interpreter(signals):
    """The first stops and keeps; a second one at once raises KeyboardInterrupt."""
    command = [sys.executable, "-c", INTERRUPTED, *["twice"] * (signals - 1)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    if signals == 1:
        assert lines[0].startswith("returned 2 ") and lines[1].startswith("resumed 3")
    else:
        assert lines[0] == "KeyboardInterrupt"
    assert lines[-1] == "alive True"
