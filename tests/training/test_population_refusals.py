"""Populations from the command line, and what they refuse."""

from dataclasses import replace
from functools import partial

import pytest

from jaxvae import Objective, Parallel, Population
from jaxvae.checks import UsageError
from jaxvae.training import train
from jaxvae.training.extract import extract
from tests import commands
from tests.training.populations import CAE, CLOSE, DENSE

pytestmark = pytest.mark.numeric


def train_members(experiment, population, folder, **options):
    return train(experiment, folder, quiet=True, population=population, **options)


@pytest.mark.slow
@pytest.mark.ci
def test_from_the_command_line(capsys, tmp_path):
    call = partial(commands.call, capsys)
    run, file = tmp_path / "run", tmp_path / "cae.py"
    file.write_text(f"from jaxvae import *\nexperiment = {CAE!r}\n")
    sweep = ["--population.sweep", "seed=5", "optimizer.learning-rate=1e-3,3e-4"]
    status, summary, err = call("train", file, "--out", run, "--train.epochs", 1, *sweep)
    assert status == 0, err
    fields = [(m["seed"], m["optimizer.learning_rate"]) for m in summary["members"]]
    assert fields == [(5, 1e-3), (5, 3e-4)]
    assert "2 members" in err and err.splitlines()[-1].split()[5] == "2/2"  # improved
    status, summary, err = call("train", "--resume", run, "--train.epochs", 2)  # its own sweep
    assert status == 0 and (summary["epochs"], summary["num_members"]) == (2, 2), err
    changed = ["--population.sweep", "seed=5"]
    status, _, err = call("train", "--resume", run, "--train.epochs", 3, *changed)
    assert status == 2 and "population = Population(seeds=1, sweep=('seed=5',)): must be" in err
    for command in ("reconstruct", "figures"):
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
        (("model.latent_dim=2,3",), "with FIELD seed or a number of the objective or of an opt"),
        (("objective.gamma=1,2",), "'objective.gamma': must be one of objective.beta, objective.s"),
        (("objective.warmup_steps=1,2",), "must be one of objective.beta, objective.sigma"),
        (("optimizer.name=1,2",), r"must be one of optimizer.decay, .*optimizer.learning_rate"),
        (("optimizer.options.momentum=0.5,0.9",), "must be one of optimizer.decay"),
        (("objective.sigma=1,2",), "objective.sigma = 2.0: must be 1 for objective.likelihood"),
        (("objective.sigma=1",), "objective.sigma: has no effect with the other settings"),
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
        train_members(DENSE, Population(sweep=sweep), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_number_that_decides_what_the_program_is_cannot_be_swept(tmp_path):
    class Gated(Objective):
        def minimised(self, terms):
            return terms["recon"] if self.beta > 1 else terms["loss"]

    gated = replace(DENSE, objective=Gated())
    words = r"population.sweep: objective.beta: decides what the program is.*train a run for each"
    with pytest.raises(UsageError, match=words):
        train_members(gated, Population(sweep=("objective.beta=0.5,2",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.ci
def test_other_refusals_write_nothing(tmp_path):
    run, trained = tmp_path / "run", tmp_path / "trained"
    train_members(CAE, Population(sweep=("seed=7,3",)), trained)
    for population, words in [
        ({"seeds": 0}, "population.seeds = 0: must be at least 1"),
        ({"seeds": 2, "sweep": ("seed=1,2",)}, "population.seeds = 2: must be 1 where"),
    ]:
        with pytest.raises(UsageError, match=words):
            Population(**population)
    with pytest.raises(UsageError, match="family = 'CAE': no KL"):
        train_members(CAE, Population(sweep=("objective.beta=1,2",)), run)
    watched = replace(CAE, train=replace(CAE.train, track=("tensorboard",)))
    with pytest.raises(UsageError, match=r"train.track = .*: must be left out"):
        train_members(watched, Population(2), run)
    for options in ({"parallel": Parallel(devices=1)}, {"may_change": ["objective.beta"]}):
        with pytest.raises(UsageError, match=r"--parallel, --may-change = .*must be left out"):
            train_members(CAE, Population(2), run, **options)
    with pytest.raises(FileExistsError, match="not empty"):
        train_members(CAE, Population(2), trained)
    with pytest.raises(FileExistsError, match="not empty"):
        extract(trained, 0, trained)
    with pytest.raises(UsageError, match=r"member = 2: must be in 0\.\.1"):
        extract(trained, 2, run)
    extract(trained, 0, tmp_path / "single")
    with pytest.raises(UsageError, match="a single run, not a population"):
        extract(tmp_path / "single", 0, run)
    assert not run.exists()
