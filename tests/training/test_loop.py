"""The training loop: exact resume, one compilation, what stops it, and what it leaves behind."""

import json
import os
from dataclasses import replace

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train, runs
from jaxvae.checks import UsageError
from jaxvae.evaluation.written import write_films
from jaxvae.info import Info
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import NonFiniteError, initial_state, loop, train
from jaxvae.training.load import load
from jaxvae.training.summary import still_falling

pytestmark = pytest.mark.numeric

TIMES = {"seconds", "images_per_second"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """60 random images of 6x6 as a user's own .npz; 48 of them train."""
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8))
    return str(path)


@pytest.fixture
def small(images):
    """7 steps per epoch of 48 images; 6 images are dropped each epoch."""
    return Experiment(
        name="small",
        data=Data(images, batch_size=6),
        model=Model(hidden_dims=(8,), latent_dim=2),
        train=Train(epochs=2, figures_every=None),
    )


def everything(experiment: Experiment) -> Experiment:
    """All that has a state or draws noise, at once."""
    return replace(
        experiment,
        data=replace(
            experiment.data, binarize="dynamic", corruption="masking", corruption_level=0.1
        ),
        model=replace(experiment.model, batch_norm=True, dropout=0.3),
        objective=Objective(warmup_steps=9),
        optimizer=Optimizer(
            "sgd",
            learning_rate=0.01,
            options={"momentum": 0.9},
            schedule="plateau",
            patience=1,
            decay=0.5,
            warmup_steps=3,
            clip_norm=5.0,
            ema_decay=0.9,
        ),
    )


def final_state(folder):
    experiment, _, info = runs.read_config(folder)
    module = experiment.model.build(info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, info))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore("latest", abstract)[0]


def rows_without_times(folder):
    rows = runs.read_metrics(folder / "metrics.csv")
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def assert_same(a, b):
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, final_state(a), final_state(b))
    assert rows_without_times(a) == rows_without_times(b)


@pytest.mark.slow
@pytest.mark.ci
def test_resume_is_exact(small, tmp_path):
    """4 epochs = 2 epochs, resumed = 10 steps (in mid-epoch), resumed in other chunks."""
    experiment = everything(small)
    whole, halves, pieces = tmp_path / "whole", tmp_path / "halves", tmp_path / "pieces"
    four = replace(experiment, train=replace(experiment.train, epochs=4))
    train(four, whole, quiet=True)

    train(experiment, halves, quiet=True)
    train(four, halves, resume=True, quiet=True)
    assert_same(whole, halves)

    stopped = replace(four, train=replace(four.train, max_steps=10, chunk_steps=2))
    summary = train(stopped, pieces, quiet=True)
    assert (summary["steps"], summary["epochs"]) == (10, 1)
    train(replace(four, train=replace(four.train, chunk_steps=3)), pieces, resume=True, quiet=True)
    assert_same(whole, pieces)
    # The plateau schedule acted and the warm-up ended, so their states were carried over too.
    last = runs.read_metrics(whole / "metrics.csv")[-1]
    assert last["beta_eff"] == 1


def test_resume_after_a_crash_discards_the_unfinished(small, tmp_path):
    """Rows of metrics.csv past the checkpoint are made again, not doubled."""
    experiment = replace(small, train=replace(small.train, checkpoint_steps=3, epochs=3))
    train(experiment, tmp_path / "whole", quiet=True)
    train(
        replace(experiment, train=replace(experiment.train, max_steps=12)),
        tmp_path / "a",
        quiet=True,
    )
    metrics = tmp_path / "a" / "metrics.csv"
    metrics.write_text(metrics.read_text() + "3" + metrics.read_text().splitlines()[1][1:] + "\n")
    train(experiment, tmp_path / "a", resume=True, quiet=True)
    assert_same(tmp_path / "whole", tmp_path / "a")


def test_progress_of_another_kind_is_refused(small, tmp_path):
    """A checkpoint that is whole, but was made by a program that notes other things."""
    train(small, tmp_path, quiet=True)
    state = final_state(tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(replace(state, step=state.step + 1), {"sums": {}, "epoch": 2})
    with pytest.raises(UsageError, match=r"'progress\.epoch': not a field of Progress"):
        train(replace(small, train=Train(epochs=4)), tmp_path, resume=True, quiet=True)


def test_lost_rows_are_named(small, tmp_path, caplog):
    """Training goes on without the rows that metrics.csv has lost, and says which."""
    train(replace(small, train=replace(small.train, epochs=2)), tmp_path, quiet=True)
    metrics = tmp_path / "metrics.csv"
    header, _, second = metrics.read_text().splitlines()
    metrics.write_text(f"{header}\n{second}\n")
    train(replace(small, train=replace(small.train, epochs=3)), tmp_path, resume=True, quiet=True)
    assert "metrics.csv: without the rows of epochs [1]" in caplog.text
    assert [row["epoch"] for row in runs.read_metrics(metrics)] == [2, 3]


def test_nothing_is_compiled_after_the_first_epoch(small, tmp_path):
    """As many compilations for four epochs as for two."""
    counts = []

    def count(event: str, duration: float, **kwargs: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            counts[-1] += 1

    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        for epochs in (2, 2, 4):  # the first fills JAX's own caches
            counts.append(0)
            experiment = replace(small, train=replace(small.train, epochs=epochs))
            train(experiment, tmp_path / f"{len(counts)}", quiet=True)
    finally:
        jax.monitoring.clear_event_listeners()
    assert counts[1] == counts[2] > 0


def test_non_finite_loss_stops_the_run(small, tmp_path):
    """The step and the terms are named; the checkpoint before them stays and loads."""
    experiment = replace(
        small,
        optimizer=Optimizer("sgd", learning_rate=1e30),
        train=replace(small.train, checkpoint_steps=1),
    )
    where = r"validation after step 1 \(epoch 1\): kl, loss, mse, recon"
    with pytest.raises(NonFiniteError, match=where):
        train(experiment, tmp_path / "run", quiet=True)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        load(tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"].startswith("failed: not finite")


def test_the_last_good_checkpoint_is_kept(small, tmp_path):
    """The rate explodes at step 12, in the second epoch; the first epoch's checkpoint survives."""
    run = tmp_path / "run"
    experiment = replace(small, train=replace(small.train, epochs=1, chunk_steps=3))
    train(experiment, run, quiet=True)
    kept = final_state(run)

    def exploding(settings, steps_per_epoch, epochs):
        return lambda step: jax.numpy.where(step < 11, 1e-3, 1e30)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.training.step.make_schedule", exploding)
        for chunk_steps in (3, 1):
            longer = replace(experiment, train=Train(3, chunk_steps=chunk_steps))
            with pytest.raises(NonFiniteError, match=r"step 13 \(epoch 2\): .*step 8 is kept"):
                train(longer, run, resume=True, quiet=True)
    jax.tree.map(np.testing.assert_array_equal, final_state(run), kept)


def test_early_stopping_and_best_checkpoint(small, tmp_path):
    """A learning rate far too high: an early epoch stays the best, and the run stops after it."""
    experiment = replace(
        small,
        optimizer=Optimizer("adam", learning_rate=0.3),
        train=replace(small.train, epochs=40, early_stopping=3),
    )
    summary = train(experiment, tmp_path / "run", quiet=True)
    rows = runs.read_metrics(tmp_path / "run" / "metrics.csv")
    losses = [row["val_loss"] for row in rows]
    best = int(np.argmin(losses)) + 1
    assert summary["status"].startswith("stopped early")
    assert len(rows) == best + 3 < 40
    assert summary["best"]["epoch"] == best
    with Checkpoints(tmp_path / "run" / "checkpoints", read_only=True) as checkpoints:
        latest = [8 * (len(rows) - 1), 8 * len(rows)]
        assert checkpoints.steps() == [8 * best, *latest]
        assert checkpoints.best_step() == 8 * best
    assert load(tmp_path / "run")[1] == 8 * best
    assert load(tmp_path / "run", "latest")[1] == 8 * len(rows)
    # It goes on from the latest, not from the best: nothing that was trained is set aside.
    further = replace(experiment, train=Train(epochs=len(rows) + 1, figures_every=None))
    train(further, tmp_path / "run", resume=True, quiet=True)
    assert runs.read_metrics(tmp_path / "run" / "metrics.csv")[:-1] == rows
    assert not (tmp_path / "run" / "damaged-checkpoints").exists()


@pytest.mark.parametrize(
    "losses, fell",
    [
        ([500, 400, 300, 250], (50, 1)),
        ([500, 400, 300, 250, 251], (50, 1)),  # the best is the last but one
        ([500, 400, 250, 251, 252], None),  # it is before
        ([500, 400, 300, 250, 248], None),  # 2 of 252 nats: hardly
        ([1e5, -4000, -8000, -9000, -9100, -9200, -9300, -11000], (2000 - 200, 2)),
        ([5.0], None),
        ([5.0, float("inf"), 3.0], None),
    ],
)
def test_whether_a_loss_still_falls(losses, fell):
    """By more than a hundredth of all that it fell, in a quarter of the epochs."""
    expected = fell and {"nats": fell[0], "epochs": fell[1]}
    assert still_falling([{"val_loss": loss} for loss in losses]) == expected


def test_what_a_run_leaves(small, tmp_path):
    drawn = {"figures_every": 1, "figure_formats": ("svg",)}
    experiment = replace(small, train=replace(small.train, track=("tensorboard",), **drawn))
    summary = train(experiment, tmp_path / "run", quiet=True)
    run = tmp_path / "run"
    assert json.loads((run / "summary.json").read_text()) == summary
    images = {"train": 48, "validation": 12, "test_is_validation": True, "test": 12}
    assert summary["images"] == images
    assert runs.read_config(run) == (experiment, (6, 6, 1), Info((6, 6, 1), num_examples=48))
    assert list((run / "tensorboard").glob("events*"))
    names = {path.stem for path in (run / "figures").glob("*.png")}
    expected = {"curves", "interpolations", "latents", "manifold", "reconstructions", "samples"}
    assert names == expected | {"traversals"}
    assert {path.stem for path in (run / "figures").glob("*.svg")} == names
    of_epoch = {path.name for path in (run / "figures" / "epoch-0002").iterdir()}
    assert of_epoch == {"manifold.png", "reconstructions.png", "samples.png"}
    latents = (run / "figures" / "latents.svg").read_text()
    assert f"run: {experiment.name} · epoch " in latents and "images.npz, test split<" in latents
    made = write_films(run / "figures", "webp")
    assert [path.stem for path in made] == [
        f"training-{name}" for name in ("reconstructions", "samples", "manifold")
    ]
    with Image.open(made[0]) as film:
        assert film.n_frames == 2
    rows = runs.read_metrics(run / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    for row in rows:
        for split in ("train", "val"):  # loss = recon + beta kl, to float32's digits
            parts = row[f"{split}_recon"] + row["beta_eff"] * row[f"{split}_kl"]
            assert row[f"{split}_loss"] == pytest.approx(parts, rel=1e-5)


def test_figures_are_drawn_where_one_is_missing_in_some_format(small, tmp_path):
    """A run that has ended and is resumed for other formats has no epoch to train."""
    (tmp_path / "figures").mkdir()
    last, rows = tmp_path / "figures" / "reconstructions.png", tmp_path / "metrics.csv"
    for file, time in ((last, 20), (rows, 10)):
        file.touch()
        os.utime(file, (time, time))

    def drawn(*formats):
        settings = replace(small.train, figure_formats=formats)
        return loop._is_drawn(loop.Task(replace(small, train=settings), tmp_path))

    assert drawn() and not drawn("pdf")
    last.with_suffix(".pdf").touch()
    assert drawn("pdf") and not drawn("pdf", "svg")
    os.utime(last.with_suffix(".pdf"), (5, 5))  # of an epoch before
    assert drawn() and not drawn("pdf")


def test_refusals_write_nothing(small, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(ValueError, match=r"optimizer.name = 'adamm'"):
        train(replace(small, optimizer=Optimizer("adamm")), run, quiet=True)
    with pytest.raises(ValueError, match=r"data.batch_size = 49.*48"):
        train(replace(small, data=replace(small.data, batch_size=49)), run, quiet=True)
    with pytest.raises(ValueError, match=r"too small for model.strides"):
        conv = Model(network="conv", hidden_dims=(2, 2, 2), padding=0)
        train(replace(small, model=conv), run, quiet=True)
    assert not run.exists()
    run.mkdir()
    (run / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        train(small, run, quiet=True)
    assert [path.name for path in run.iterdir()] == ["mine.txt"]


def test_resume_past_its_end_is_refused(small, tmp_path):
    run = tmp_path / "run"
    stopped = replace(small, train=replace(small.train, max_steps=3))
    train(stopped, run, quiet=True)
    again = replace(small, train=replace(small.train, max_steps=2))
    with pytest.raises(ValueError, match=r"train.max_steps = 2: .*at least the 3 steps"):
        train(again, run, resume=True, quiet=True)
    train(small, run, resume=True, quiet=True)
    assert runs.read_config(run)[0] == small  # the folder tells what the run is now
    shorter = replace(small, train=replace(small.train, epochs=1))
    with pytest.raises(
        ValueError, match=r"train.epochs = 1: .*at least 2: .* has trained 2 epochs"
    ):
        train(shorter, run, resume=True, quiet=True)


@pytest.mark.slow
@pytest.mark.ci
def test_an_optimizer_with_a_random_key(small, tmp_path):
    """`optax.noisy_sgd` keeps a typed PRNG key in its state: saved, and continued bit for bit."""
    noisy = replace(small, optimizer=Optimizer("noisy_sgd", 1e-3, {"key": 0}))
    train(noisy, tmp_path / "whole", quiet=True)
    train(replace(noisy, train=replace(noisy.train, epochs=1)), tmp_path / "a", quiet=True)
    train(noisy, tmp_path / "a", resume=True, quiet=True)
    whole, resumed = (load(tmp_path / name)[0].variables for name in ("whole", "a"))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)


def test_a_checkpoint_of_another_device_is_loaded(small, tmp_path):
    """Such as one from a GPU on a machine without it."""
    run = tmp_path / "run"
    train(small, run, quiet=True)
    expected = load(run)[0].variables
    for file in (run / "checkpoints").rglob("_sharding"):
        text = file.read_text()
        assert "cpu:0" in text or "TFRT_CPU_0" in text
        file.write_text(text.replace("cpu:0", "cuda:0").replace("TFRT_CPU_0", "cuda:0"))
    jax.tree.map(np.testing.assert_array_equal, load(run)[0].variables, expected)


def test_resume_refuses_another_experiment(small, tmp_path):
    run = tmp_path / "run"
    train(small, run, quiet=True)
    before = (run / "metrics.csv").read_bytes()
    with pytest.raises(ValueError, match=r"cannot change seed \(0 to 1\)"):
        train(replace(small, seed=1), run, resume=True, quiet=True)
    with pytest.raises(ValueError, match=r"model.latent_dim \(2 to 3\)"):
        train(
            replace(small, model=replace(small.model, latent_dim=3)), run, resume=True, quiet=True
        )
    assert (run / "metrics.csv").read_bytes() == before
    with pytest.raises(ValueError, match="not a run folder"):
        train(small, tmp_path / "none", resume=True, quiet=True)
    assert not (tmp_path / "none").exists()
