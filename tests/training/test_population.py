"""A population: each member is the run it would have been alone, and becomes one by `extract`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxvae import Model, Optimizer, Population, Train, data, noise, runs
from jaxvae.checks import UsageError
from jaxvae.evaluation import make_batch_sums, make_evaluate, written
from jaxvae.figures import curves as figures
from jaxvae.training import NonFiniteError, train
from jaxvae.training.extract import extract
from jaxvae.training.load import load
from jaxvae.training.members import members
from jaxvae.training.metrics import read_rows, rows_of
from jaxvae.training.page import write_page
from jaxvae.training.summary import population_curves
from tests.report.test_page import of_page
from tests.training.populations import (
    CAE,
    CLOSE,
    CONV,
    SWEEPS,
    TIMES,
    assert_same_run,
    digits,
    latest_state,
)

pytestmark = pytest.mark.numeric


def train_population(experiment, population, folder, **options):
    return train(experiment, folder, quiet=True, population=population, **options)


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
    """The folder of the population of a kind, two epochs, trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("populations")

    def of(kind: str) -> Path:
        if not (folder / kind).exists():
            experiment, population, _ = SWEEPS[kind]
            train_population(experiment, population, folder / kind)
        return folder / kind

    return of


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("dense", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("cae", marks=pytest.mark.slow),
        pytest.param("conv", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("laplace", marks=pytest.mark.slow),
    ],
)
def test_each_member_is_the_run_alone_and_goes_on_like_it(kind, trained, tmp_path):
    """After 2 epochs, and 1 more after extraction."""
    experiment, population, chosen = SWEEPS[kind]
    member = members(experiment, population)[chosen]
    alone, own = tmp_path / "alone", tmp_path / "own"
    train(member, alone, quiet=True)
    extract(trained(kind), chosen, own)
    assert_same_run(own, alone)
    if experiment.optimizer.schedule != "cosine":  # which ends at the last epoch
        longer = replace(member, train=replace(member.train, epochs=3))
        for folder in (alone, own):
            train(longer, folder, resume=True, quiet=True)
        assert_same_run(own, alone)


@pytest.mark.slow
@pytest.mark.ci
def test_members_differ_as_the_sweep_says(trained):
    """The order, the weights of the KL after the warm-up, and the rates."""
    everyone = members(*SWEEPS["dense"][:2])
    fields = [(m.seed, m.objective.beta, m.optimizer.learning_rate) for m in everyone]
    assert fields == [(s, b, r) for s in (0, 1) for b in (0.0, 0.5, 4.0) for r in (1e-3, 2e-4)]
    rows = [row for row in read_rows(trained("dense") / "metrics.csv") if row["epoch"] == 2]
    assert [row["beta_eff"] for row in rows] == [b for _, b, _ in fields]
    # the rate is a float32 product
    assert [row["learning_rate"] for row in rows] == pytest.approx([r for *_, r in fields], 1e-6)
    losses = {row["val_loss"] for row in rows}
    assert len(losses) == len(everyone)
    for row in rows:
        parts = row["val_recon"] + row["beta_eff"] * row["val_kl"]
        assert row["val_loss"] == pytest.approx(parts, rel=CLOSE)


@pytest.mark.slow
@pytest.mark.ci
def test_an_extracted_member_evaluates_to_what_was_logged(trained, tmp_path):
    """With its own beta and its own noise."""
    summary = extract(trained("dense"), 7, tmp_path / "own")
    at, step = load(tmp_path / "own")
    split = data.load(at.experiment.data).validation
    batch_sums = make_batch_sums(at.experiment, at.model, at.info)
    evaluate = jax.jit(make_evaluate(batch_sums, at.experiment.data.batch_size))
    key = noise.root(at.experiment.seed)
    means = evaluate(at.variables, split.images, split.every_label, key)
    best = summary["best"]
    assert best["step"] == step
    for name, value in means.items():
        assert float(value) == pytest.approx(best[f"val_{name}"], rel=CLOSE)


def test_summary_is_the_statistics_of_the_metrics(trained):
    summary = json.loads((trained("dense") / "summary.json").read_text())
    rows = read_rows(trained("dense") / "metrics.csv")
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
    """1 epoch and 1 more, as the program of 2: the same program, so bit for bit on a CPU.

    With a stop in the middle of the second.
    """
    experiment, population, _ = SWEEPS["dense"]
    short = replace(experiment, train=replace(experiment.train, epochs=1))
    once, again = (
        train_population(short, population, tmp_path / "run", resume=resume)
        for resume in (False, True)
    )
    assert once["members"] == again["members"]  # it has finished, and takes no step more
    with pytest.raises(UsageError, match="population = Population"):
        train_population(experiment, Population(2), tmp_path / "run", resume=True)
    stopped = replace(experiment, train=replace(experiment.train, max_steps=7))
    summary = train_population(stopped, population, tmp_path / "run", resume=True)
    assert (summary["steps"], summary["status"]) == (7, "stopped at train.max_steps = 7")
    train_population(experiment, population, tmp_path / "run", resume=True)
    taken = r"epochs = 1: must be at least 2: .* has trained 2 epochs"
    with pytest.raises(UsageError, match=taken):
        train_population(short, population, tmp_path / "run", resume=True)
    found, expected = (
        read_rows(folder / "metrics.csv") for folder in (tmp_path / "run", trained("dense"))
    )
    for row, other in zip(found, expected, strict=True):
        assert {k: row[k] for k in row.keys() - TIMES} == {k: other[k] for k in row.keys() - TIMES}
    (tmp_path / "lost" / "checkpoints").mkdir(parents=True)
    for name in ("config.json", "metrics.csv"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "lost" / name)
    with pytest.raises(runs.RunError, match="several epochs, but there is no checkpoint"):
        train_population(experiment, population, tmp_path / "lost", resume=True)
    for i in (0, 9):
        for folder, out in ((tmp_path / "run", "a"), (trained("dense"), "b")):
            extract(folder, i, tmp_path / f"{out}{i}")
        a, b = (latest_state(tmp_path / f"{out}{i}")[0] for out in "ab")
        jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.slow
@pytest.mark.ci
def test_a_member_that_is_not_finite_leaves_the_others_alone(trained, tmp_path):
    """A rate of 1e30 in the first member; the second is what it is in another population."""
    sgd = replace(CAE, optimizer=Optimizer("sgd", 1e30, schedule="plateau"))
    population = Population(sweep=("optimizer.learning_rate=1e30,1e-2",))
    summary = train_population(sgd, population, tmp_path / "run")
    assert [member["failed_epoch"] for member in summary["members"]] == [1, None]
    assert (summary["num_members"], summary["num_finite"]) == (2, 1)
    assert summary["last"]["val_loss"] == {
        "mean": summary["members"][1]["last"]["val_loss"],
        "std": 0.0,
    }
    rows = read_rows(tmp_path / "run" / "metrics.csv")
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
    sweep = "optimizer.learning_rate=1e30"
    population = Population(sweep=(f"{sweep},1e-4",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.training.step.make_schedule", exploding)
        summary = train_population(longer, population, tmp_path / "run")
        with pytest.raises(NonFiniteError, match=r"step 8 \(epoch 2\): .*step 5 is kept"):
            train_population(longer, Population(sweep=(sweep,)), tmp_path / "x")
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
    patient = replace(CAE, train=replace(CAE.train, epochs=60, early_stopping=1))
    population = Population(sweep=("optimizer.learning_rate=0.2,1",))
    summary = train_population(patient, population, tmp_path / "run")
    best = [member["best"]["epoch"] for member in summary["members"]]
    assert best[0] != best[1]
    assert summary["status"].startswith("stopped early")
    assert summary["epochs"] == max(best) + 1


@pytest.mark.slow
@pytest.mark.ci
def test_figures_while_training_are_of_the_best_member_then(tmp_path, monkeypatch):
    """Another one at each epoch here, also where a training was resumed. The page of any member
    has them, each with the number of its own."""
    drawn, below = [], {}

    def progress(trained, dataset, rows, folder, epoch, member):
        drawn.append((trained, [row["epoch"] for row in rows]))
        write_progress(trained, dataset, rows, folder, epoch, member)

    def saved(figure, stem, formats, text):
        below[stem.relative_to(tmp_path / "run")] = text
        return save(figure, stem, formats, text)

    write_progress, save = written.write_progress, written.save
    monkeypatch.setattr(written, "write_progress", progress)
    monkeypatch.setattr(written, "save", saved)
    model, optimizer = Model(hidden_dims=(12,), latent_dim=2), Optimizer("adam")
    often = Train(epochs=1, figures_every=1, chunk_steps=3)
    small = digits("small", model=model, optimizer=optimizer, train=often)
    population = Population(sweep=("optimizer.learning_rate=0.03,0.1",))
    for epochs, best in ((1, 1), (2, 0)):  # 459 to 490 nats, then 412 to 417
        longer = replace(small, train=replace(often, epochs=epochs, report=epochs == 2))
        train_population(longer, population, tmp_path / "run", resume=epochs > 1)
        rows = read_rows(tmp_path / "run" / "metrics.csv")[-2:]
        assert [row["val_loss"] for row in rows].index(min(r["val_loss"] for r in rows)) == best
        extract(tmp_path / "run", best, tmp_path / f"own-{epochs}")
        own, step = load(tmp_path / f"own-{epochs}", "latest")
        (trained, epochs_before) = drawn[epochs - 1]
        assert step == 5 * epochs and epochs_before == [*range(1, epochs + 1)]
        assert trained.experiment.optimizer.learning_rate == (0.03, 0.1)[best]
        jax.tree.map(np.testing.assert_array_equal, trained.variables, own.variables)
    assert len(drawn) == 2
    # An epoch that is repeated leaves no picture of another member.
    folder, (last, _) = tmp_path / "run" / "figures", drawn[-1]
    write_progress(last, data.load(small.data), rows, folder, 2, 7)
    write_progress(last, data.load(small.data), rows, folder, 2, 0)
    names = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert names == {"epoch-0001-member-1", "epoch-0002-member-0", "population.png"}
    whose = below[Path("figures/epoch-0001-member-1/samples")]
    assert whose == "run: small \N{MIDDLE DOT} member 1, epoch 1 \N{MIDDLE DOT} digits, test split"

    write_page(tmp_path / "run", tmp_path / "other.html", member=1)
    for page, own in ((tmp_path / "run" / "report.html", 0), (tmp_path / "other.html", 1)):
        found = of_page(page.read_text())
        assert found["number"] == own and found["member"].startswith(f"member {own} of 2")
        assert [(each["epoch"], each["member"]) for each in found["figures"]] == [(1, 1), (2, 0)]
        assert {p["name"] for p in found["figures"][0]["pictures"]} == {*written.WHILE}


@pytest.mark.parametrize(("seeds", "named"), [(2, 6), (4, 3)])
def test_few_members_are_told_apart_and_many_by_what_was_swept(seeds, named, tmp_path, monkeypatch):
    """Six members have a name and so a colour each, of twelve those of one beta share it."""
    drawn = {}

    def validation_curves(curves, title):
        drawn["curves"] = curves
        return figures.validation_curves(curves, title)

    monkeypatch.setattr("jaxvae.figures.validation_curves", validation_curves)
    one = replace(CONV, train=replace(CONV.train, figure_formats=("svg",)))
    population = Population(seeds=seeds, sweep=("objective.beta=0.5,1,4",))
    everyone = members(one, population)
    shared = {"val_loss": 9.0, "val_recon": 3.0, "val_kl": 2.0, "finite": 1.0}
    rows = [
        {"member": i, "epoch": e, **shared, "val_recon": 3.0 + i / e}
        for e in (1, 2)
        for i in range(len(everyone))
    ]
    population_curves(everyone, (), rows, tmp_path / "run" / "figures")
    assert len({name for name, *_ in drawn["curves"]}) == named
    assert [losses for *_, losses in drawn["curves"]][1] == [6.0, 5.5]  # recon + kl
    svg = (tmp_path / "run" / "figures" / "population.svg").read_text()
    assert f">run: conv · {len(everyone)} members · digits</text>" in svg
    assert ("seed 0, beta 4" in svg) == (named == 6)


def test_a_population_that_stops_within_its_first_epoch(tmp_path):
    """There is no epoch to speak of; what was trained goes on."""
    experiment, population, _ = SWEEPS["dense"]
    short = replace(experiment, train=replace(experiment.train, max_steps=2))
    summary = train_population(short, population, tmp_path / "run")
    assert summary["steps"] == 2 and summary["best"] is summary["last"] is None
    assert summary["num_finite"] == len(summary["members"]) == 12
    assert all(member["best"] is None for member in summary["members"])
    longer = replace(short, train=replace(short.train, max_steps=None, epochs=1))
    summary = train_population(longer, population, tmp_path / "run", resume=True)
    assert summary["last"]["val_loss"]["mean"] > 0
