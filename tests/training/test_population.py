"""A population: each member is the run it would have been alone, and becomes one by `extract`."""

import json
import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train, cli, runs
from jaxvae.checks import UsageError
from jaxvae.config import Population
from jaxvae.evaluation import make_evaluate
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import NonFiniteError, build_model, initial_state, make_optimizer, train
from jaxvae.training.load import load
from jaxvae.training.members import members
from jaxvae.training.population import train_population
from jaxvae.training.population_folder import extract, read_rows, rows_of

pytestmark = pytest.mark.numeric

# A member's arithmetic is that of the run alone in another order (batched products, the rate as a
# product of two), so numbers differ by float32's rounding, 6e-8, which some 15 to 30 steps amplify.
CLOSE = 1e-5
TIMES = {"seconds", "images_per_second"}


def digits(name: str, **parts: object) -> Experiment:
    """5 steps per epoch, 2 epochs."""
    data = Data("digits", batch_size=16, limit=90)
    train = Train(epochs=2, chunk_steps=3, figures_every=None)
    return Experiment(name, **({"data": data, "train": train} | parts))


DENSE = digits(
    "dense",
    model=Model(hidden_dims=(12,), latent_dim=2, batch_norm=True, dropout=0.2),
    objective=Objective(warmup_steps=7),
    optimizer=Optimizer(
        "sgd", 1e-3, {"momentum": 0.9}, schedule="plateau", warmup_steps=3, ema_decay=0.9
    ),
)
CAE = digits("cae", model=Model("CAE", hidden_dims=(3,)))
# 32 channels on both sides of a layer: on a CPU the convolution with derivatives of its own.
CONV = digits(
    "conv",
    model=Model("VAE", "conv", hidden_dims=(32, 32), latent_dim=2),
    optimizer=Optimizer("adam", 1e-3, schedule="cosine"),
)
SWEEPS = {
    "dense": (
        DENSE,
        Population(2, ("objective.beta=0,0.5,4", "optimizer.learning-rate=1e-3,2e-4")),
        9,  # seed 1, beta 0.5, rate 2e-4: nothing as in the base
    ),
    "cae": (CAE, Population(sweep=("seed=7,3",)), 1),
    "conv": (CONV, Population(2, ("optimizer.learning_rate=5e-4,2e-3",)), 2),
}


def latest_state(folder):
    experiment, stored_shape = runs.read_config(folder)
    model, optimizer = build_model(experiment, stored_shape), make_optimizer(experiment.optimizer)
    abstract = jax.eval_shape(lambda: initial_state(experiment, model, optimizer, stored_shape))
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore("latest", abstract)


def assert_close(actual, expected):
    """Each array to within CLOSE of its largest entry: entries near 0 are differences of others.

    A bias before BatchNorm has no gradient but rounding: that of gradients of 10, 1e-6, times the
    rate, 1e-3, times 10 for the momentum, in each of 15 steps, is at most 1e-7.
    """
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=CLOSE, atol=max(CLOSE * np.abs(b).max(), 1e-7))


def assert_same_run(folder, alone):
    """Configuration, metrics, best epoch and final state of two run folders."""
    assert runs.read_config(folder) == runs.read_config(alone)
    rows, expected = (runs.read_metrics(f / "metrics.csv") for f in (folder, alone))
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert list(row) == list(other)
        for name in set(row) - TIMES:
            assert row[name] == pytest.approx(other[name], rel=CLOSE), name
    (state, progress), (lone_state, lone_progress) = latest_state(folder), latest_state(alone)
    for part in ("step", "params", "batch_stats", "ema", "lr_scale"):  # opt_state: by resuming
        assert_close(getattr(state, part), getattr(lone_state, part))
    assert progress["monitor"]["best_epoch"] == lone_progress["monitor"]["best_epoch"]
    assert load(folder)[1] == load(alone)[1]  # the step of the best checkpoint


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Equal programs, as of a run and its continuation, are compiled once: it takes most time."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path_factory.mktemp("programs")), 0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The population of each kind, two epochs."""
    folder = tmp_path_factory.mktemp("populations")
    for kind, (experiment, population, _) in SWEEPS.items():
        train_population(experiment, population, folder / kind, quiet=True)
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("dense", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("cae", marks=pytest.mark.slow),
        "conv",
    ],
)
def test_each_member_is_the_run_alone_and_goes_on_like_it(kind, trained, tmp_path):
    """After 2 epochs, and 1 more after extraction."""
    experiment, population, chosen = SWEEPS[kind]
    member = members(experiment, population)[chosen]
    alone, own = tmp_path / "alone", tmp_path / "own"
    train(member, alone, quiet=True)
    extract(trained / kind, chosen, own)
    assert_same_run(own, alone)
    if experiment.optimizer.schedule != "cosine":  # which ends at the last epoch
        longer = replace(member, train=replace(member.train, epochs=3))
        for folder in (alone, own):
            train(longer, folder, resume=True, quiet=True)
        assert_same_run(own, alone)


def test_members_differ_as_the_sweep_says(trained):
    """The order, the weights of the KL after the warm-up, and the rates."""
    everyone = members(*SWEEPS["dense"][:2])
    fields = [(m.seed, m.objective.beta, m.optimizer.learning_rate) for m in everyone]
    assert fields == [(s, b, r) for s in (0, 1) for b in (0.0, 0.5, 4.0) for r in (1e-3, 2e-4)]
    rows = [row for row in read_rows(trained / "dense", 2) if row["epoch"] == 2]
    assert [row["beta_eff"] for row in rows] == [b for _, b, _ in fields]
    # the rate is a float32 product
    assert [row["learning_rate"] for row in rows] == pytest.approx([r for *_, r in fields], 1e-6)
    losses = {row["val_loss"] for row in rows}
    assert len(losses) == len(everyone)
    for row in rows:
        parts = row["val_recon"] + row["beta_eff"] * row["val_kl"]
        assert row["val_loss"] == pytest.approx(parts, rel=CLOSE)


def test_an_extracted_member_evaluates_to_what_was_logged(trained, tmp_path):
    """With its own beta and its own noise."""
    from jaxvae import data, noise

    summary = extract(trained / "dense", 7, tmp_path / "own")
    at, step = load(tmp_path / "own")
    images = data.load(at.experiment.data).validation.images
    evaluate = jax.jit(make_evaluate(at.experiment, at.model))
    means = evaluate(at.variables, jax.numpy.asarray(images), noise.root(at.experiment.seed))
    best = summary["best"]
    assert best["step"] == step
    for name, value in means.items():
        assert float(value) == pytest.approx(best[f"val_{name}"], rel=CLOSE)


def test_summary_is_the_statistics_of_the_metrics(trained):
    summary = json.loads((trained / "dense" / "summary.json").read_text())
    rows = read_rows(trained / "dense", 2)
    last = np.array([row["val_loss"] for row in rows if row["epoch"] == 2])
    best = np.array([min(r["val_loss"] for r in rows_of(rows, i)) for i in range(12)])
    for which, losses in (("last", last), ("best", best)):
        found = summary[which]["val_loss"]
        # sums of 12 numbers in float64
        assert found["mean"] == pytest.approx(losses.mean(), rel=1e-12)
        assert found["std"] == pytest.approx(losses.std(ddof=1), rel=1e-9)
    by_setting = [setting["last"]["val_loss"]["mean"] for setting in summary["settings"]]
    assert by_setting == pytest.approx(last.reshape(2, 6).mean(axis=0), rel=1e-12)
    assert [member["last"]["val_loss"] for member in summary["members"]] == list(last)


@pytest.mark.slow
@pytest.mark.ci
def test_resume_is_exact(trained, tmp_path):
    """1 epoch and 1 more, as the program of 2: the same program, so bit for bit on a CPU."""
    experiment, population, _ = SWEEPS["dense"]
    short = replace(experiment, train=replace(experiment.train, epochs=1))
    once, again = (
        train_population(short, population, tmp_path / "run", resume=resume, quiet=True)
        for resume in (False, True)
    )
    assert once["members"] == again["members"]  # it has finished, and takes no step more
    with pytest.raises(UsageError, match="population = Population"):
        train_population(experiment, Population(2), tmp_path / "run", resume=True, quiet=True)
    train_population(experiment, population, tmp_path / "run", resume=True, quiet=True)
    with pytest.raises(UsageError, match="epochs = 1: must be at least the 2 epochs"):
        train_population(short, population, tmp_path / "run", resume=True, quiet=True)
    found, expected = (read_rows(folder, 2) for folder in (tmp_path / "run", trained / "dense"))
    for row, other in zip(found, expected, strict=True):
        assert {k: row[k] for k in row.keys() - TIMES} == {k: other[k] for k in row.keys() - TIMES}
    (tmp_path / "lost" / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "metrics.csv"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "lost" / name)
    with pytest.raises(runs.RunError, match="several epochs, but there is no checkpoint"):
        train_population(experiment, population, tmp_path / "lost", resume=True, quiet=True)
    for i in (0, 9):
        for folder, out in ((tmp_path / "run", "a"), (trained / "dense", "b")):
            extract(folder, i, tmp_path / f"{out}{i}")
        a, b = (latest_state(tmp_path / f"{out}{i}")[0] for out in "ab")
        jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.slow
@pytest.mark.ci
def test_a_member_that_is_not_finite_leaves_the_others_alone(trained, tmp_path):
    """A rate of 1e30 in the first member; the second is what it is in another population."""
    sgd = replace(CAE, optimizer=Optimizer("sgd", 1e30, schedule="plateau"))
    population = Population(sweep=("optimizer.learning_rate=1e30,1e-2",))
    summary = train_population(sgd, population, tmp_path / "run", quiet=True)
    assert [member["failed_epoch"] for member in summary["members"]] == [1, None]
    assert (summary["num_members"], summary["num_finite"]) == (2, 1)
    assert summary["last"]["val_loss"] == {
        "mean": summary["members"][1]["last"]["val_loss"],
        "std": 0.0,
    }
    rows = read_rows(tmp_path / "run", 2)
    assert [(row["member"], row["epoch"], row["finite"]) for row in rows] == [
        (0, 1, 0),
        (1, 1, 1),
        (1, 2, 1),
    ]
    with pytest.raises(runs.RunError, match="member 0 was not finite in epoch 1"):
        extract(tmp_path / "run", 0, tmp_path / "own")
    assert not (tmp_path / "own").exists()
    train(members(sgd, population)[1], tmp_path / "alone", quiet=True)
    extract(tmp_path / "run", 1, tmp_path / "own")
    assert_same_run(tmp_path / "own", tmp_path / "alone")


@pytest.mark.slow
def test_a_later_failure_keeps_the_best(tmp_path):
    """The rate of a warm-up over 5 epochs passes what a member survives after its first epoch."""

    def exploding(settings, steps_per_epoch, epochs):
        peak = settings.learning_rate
        return lambda step: jax.numpy.where(step < 6, 1e-4, peak) * 1.0

    longer = replace(CAE, train=replace(CAE.train, epochs=3), optimizer=Optimizer("sgd"))
    population = Population(sweep=("optimizer.learning_rate=1e30,1e-4",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.training.members.make_schedule", exploding)
        summary = train_population(longer, population, tmp_path / "run", quiet=True)
        with pytest.raises(NonFiniteError, match=r"no member is finite at the end of epoch 2"):
            train_population(
                longer, Population(sweep=(population.sweep[0][:-5],)), tmp_path / "x", quiet=True
            )
    failed, other = summary["members"]
    assert (failed["failed_epoch"], failed["best"]["epoch"]) == (2, 1)
    assert (other["failed_epoch"], other["last"]["epoch"]) == (None, 3)
    extract(tmp_path / "run", 0, tmp_path / "own")
    at, step = load(tmp_path / "own")
    assert step == 5 and all(np.isfinite(x).all() for x in jax.tree.leaves(at.variables))
    assert len(runs.read_metrics(tmp_path / "own" / "metrics.csv")) == 1
    assert json.loads((tmp_path / "x" / "summary.json").read_text())["status"].startswith("failed")


@pytest.mark.slow
def test_early_stopping_waits_for_every_member(tmp_path):
    """A rate that is far too high stops improving at once; the other goes on for a while."""
    patient = replace(CAE, train=replace(CAE.train, epochs=60, early_stopping=1, figures_every=9))
    population = Population(sweep=("optimizer.learning_rate=0.2,1",))
    summary = train_population(patient, population, tmp_path / "run", quiet=True)
    best = [member["best"]["epoch"] for member in summary["members"]]
    assert best[0] != best[1]
    assert summary["status"].startswith("stopped early")
    assert summary["epochs"] == max(best) + 1
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["population.png"]


def test_from_the_command_line(capsys, tmp_path):
    def call(*args: object) -> tuple[int, dict, str]:
        status = 0
        try:
            cli.main([str(arg) for arg in args])
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else {}, err

    run, file = tmp_path / "run", tmp_path / "cae.py"
    file.write_text(f"from jaxvae import *\nexperiment = {CAE!r}\n")
    sweep = ["--population.sweep", "seed=5", "optimizer.learning-rate=1e-3,3e-4"]
    status, summary, err = call("train", file, "--out", run, "--train.epochs", 1, *sweep)
    assert status == 0, err
    fields = [(m["seed"], m["optimizer.learning_rate"]) for m in summary["members"]]
    assert fields == [(5, 1e-3), (5, 3e-4)]
    assert "2 members" in err and "2 of 2 improved" in err
    status, summary, err = call("train", "--resume", run, "--train.epochs", 2)  # its own sweep
    assert status == 0 and (summary["epochs"], summary["num_members"]) == (2, 2), err
    changed = ["--population.sweep", "seed=5"]
    status, _, err = call("train", "--resume", run, "--train.epochs", 3, *changed)
    assert status == 2 and "population = Population(seeds=1, sweep=('seed=5',)): must be" in err
    for command in ("evaluate", "figures"):
        status, _, err = call(command, run)
        assert status == 2 and "a population; take a member out of it first" in err
    status, info, _ = call("info", run)
    assert status == 0 and info["config"]["population"]["sweep"] == sweep[1:]
    status, extracted, err = call("extract", run, "--member", 1, "--out", tmp_path / "m1")
    assert status == 0 and extracted["optimizer.learning_rate"] == 3e-4, err
    status, values, err = call("evaluate", tmp_path / "m1", "--split", "validation")
    assert values["loss"] == pytest.approx(extracted["best"]["val_loss"], rel=CLOSE), err
    status, _, err = call("train", "--resume", tmp_path / "m1", "--population.seeds", 2)
    assert status == 2 and "must be left out: a single run" in err
    status, _, err = call("train", file, "--population.sweep", "model.latent-dim=2,3")
    assert status == 2 and "any other field changes the program" in err


@pytest.mark.parametrize(
    "sweep, words",
    [
        (("model.latent_dim=2,3",), "one of seed, objective.beta, optimizer.learning_rate: one"),
        (("objective.beta",), r"objective.beta=VALUE,VALUE,\.\.\. once, with different float"),
        (("objective.beta=",), "with different float values"),
        (("objective.beta=1,two",), "with different float values"),
        (("objective.beta=1,1.0",), "with different float values"),
        (("objective.beta=1", "objective.beta=2"), "once"),
        (("seed=1.5",), "with different int values"),
        (("objective.beta=-1,1",), "objective.beta = -1.0: must be at least 0"),
        (("optimizer.learning_rate=0",), "optimizer.learning_rate = 0.0: must be positive"),
        (("seed=-1",), "seed = -1: must be in"),
    ],
)
def test_bad_sweeps_are_refused(sweep, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        train_population(DENSE, Population(sweep=sweep), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_other_refusals_write_nothing(trained, tmp_path):
    run = tmp_path / "run"
    for population, words in [
        ({"seeds": 0}, "population.seeds = 0: must be at least 1"),
        ({"seeds": 2, "sweep": ("seed=1,2",)}, "population.seeds = 2: must be 1 where"),
    ]:
        with pytest.raises(UsageError, match=words):
            Population(**population)
    with pytest.raises(UsageError, match="family = 'CAE': no KL"):
        train_population(CAE, Population(sweep=("objective.beta=1,2",)), run, quiet=True)
    stopping = replace(CAE, train=replace(CAE.train, max_steps=3))
    with pytest.raises(UsageError, match="max_steps = 3: must be left out"):
        train_population(stopping, Population(2), run, quiet=True)
    with pytest.raises(FileExistsError, match="not empty"):
        train_population(CAE, Population(2), trained / "cae", quiet=True)
    with pytest.raises(FileExistsError, match="not empty"):
        extract(trained / "cae", 0, trained)
    with pytest.raises(UsageError, match=r"member = 2: must be in 0\.\.1"):
        extract(trained / "cae", 2, run)
    extract(trained / "cae", 0, tmp_path / "single")
    with pytest.raises(UsageError, match="a single run, not a population"):
        extract(tmp_path / "single", 0, run)
    assert not run.exists()
