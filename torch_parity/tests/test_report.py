"""`python -m torch_parity`: its verdict, its table, its exit status."""

import json
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch_parity import report  # noqa: E402
from torch_parity.__main__ import main  # noqa: E402
from torch_parity.difference import Comparison, Difference  # noqa: E402
from torch_parity.experiments import EXPERIMENTS  # noqa: E402
from torch_parity.recipes import RECIPES, adam  # noqa: E402
from torch_parity.variants.compare import differences  # noqa: E402

pytestmark = pytest.mark.numeric

NAME = "digits_vae"


def status(*arguments, **keywords) -> object:
    with pytest.raises(SystemExit) as exit_:
        main(*arguments, **keywords)
    return exit_.value.code


@pytest.mark.slow  # make parity runs every experiment
def test_equal(capsys):
    assert status((NAME,)) == 0
    text = capsys.readouterr().out
    assert "float64\n" in text and "float32\n" in text and "NOT EQUAL" not in text
    quantities = ["pixels", "gradient", "kl", "training losses", "final weights", "learning rates"]
    for quantity in quantities:
        assert f"\n{quantity}" in text


@pytest.mark.slow
@pytest.mark.ci
def test_another_learning_rate_is_named_and_fails(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, NAME, RECIPES[NAME]._replace(optimizer=adam(1.1e-3)))
    monkeypatch.setattr("torch_parity.__main__.DTYPES", ("float64",))
    assert status((NAME,), as_json=True) == 1
    [comparison] = json.loads(capsys.readouterr().out)["float64"]
    failed = {d["quantity"] for d in comparison["differences"] if not d["equal"]}
    expected = {"training losses", "learning rates", "validation losses", "final weights"}
    assert not comparison["passed"] and failed == expected


def test_variants_have_a_table_of_their_own(monkeypatch, capsys):
    """Ours is another by one weight: that is named, and fails."""

    def compare_variant(name, seed):
        ours = {"terms": {"loss": np.ones(2)}, "gradient": {"mean.bias": np.array([1.0, 1.5])}}
        theirs = {"terms": {"loss": np.ones(2)}, "gradient": {"mean.bias": np.array([1.0, 2.0])}}
        return differences(name, ours, theirs)

    monkeypatch.setattr("torch_parity.__main__.compare_variant", compare_variant)
    assert status(("iwae", "ciwae", "vq_vae")) == 1
    text = capsys.readouterr().out
    assert text.startswith("samples, float64\n  1  iwae\n  2  ciwae\n")
    assert "\n\ndiscrete, float64\n  1  vq_vae\n" in text
    assert "iwae: gradient: NOT EQUAL at mean.bias[1] (0.5)" in text
    assert "\nterms     0e+00  0e+00" in text


@pytest.mark.slow
def test_a_variant_is_equal(capsys):
    assert status(("flow_vae",), as_json=True) == 0
    [comparison] = json.loads(capsys.readouterr().out)["others, float64"]
    quantities = {d["quantity"] for d in comparison["differences"]}
    expected = {"terms", "outputs", "gradient", "final weights"}
    assert quantities == expected | {"training losses", "validation losses"}


def test_the_table_says_where_and_how_far_what_failed():
    equal = Difference("kl", 1e-16, 1e-15, "[0]", 1e-10)
    unequal = Difference("gradient", 0.25, 0.5, "mean.bias[1]", 1e-10)
    text = report.table([Comparison("a", (equal,)), Comparison("b", (equal, unequal))])
    [row] = [line for line in text.splitlines() if line.startswith("gradient")]
    assert row.split() == ["gradient", "-", "5e-01", "2e-01", "1e-10", "NOT", "EQUAL"]
    assert text.endswith("\nb: gradient: NOT EQUAL at mean.bias[1] (0.25)")


def test_the_table_says_who_is_off():
    off = Difference("gradient", 1e-7, 1e-6, "mean.bias[1]", 1e-4, theirs=2e-3, their_kinks=3)
    text = report.table([Comparison("a", (off,))])
    row, theirs = [line.split() for line in text.splitlines()[3:5]]
    assert row[-1] == "equal" and theirs == ["PyTorch", "2e-03"]
    assert "a: gradient: equal; PyTorch is off by 2e-03, explained by 3 inputs" in text


def test_another_architecture_is_named_and_fails(monkeypatch, capsys):
    """A recipe of other widths does not fit the experiment: every misfit is listed."""
    other = RECIPES["mnist_vae_2d"].model
    monkeypatch.setitem(RECIPES, NAME, RECIPES[NAME]._replace(model=other))
    with pytest.raises(ValueError, match=r"encoder.dense_0.weight: \(512, 784\)"):
        report.compare_experiment(NAME, "float64")


def test_an_unknown_experiment_is_refused():
    assert "must be one of mnist_ae, " in str(status(("mnist",)))


def test_every_experiment_has_its_recipe():
    assert set(RECIPES) == {path.stem for path in EXPERIMENTS.glob("*.py")}


@pytest.mark.slow
def test_processes_share_what_one_does():
    """As a command, in the same order, to the bit."""
    found = []
    for jobs in (1, 2):
        command = [sys.executable, "-m", "torch_parity", "--experiment", "iwae", "factor_vae"]
        done = subprocess.run(
            [*command, "--jobs", str(jobs), "--json"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    assert found[0] == found[1] and list(found[0]) == ["samples, float64", "aggregated, float64"]


def test_there_is_a_process_at_least():
    assert status(("iwae",), jobs=0) == "--jobs 0: must be at least 1"
