"""`jaxvae doctor` where nothing is wrong, what it prints, and its exit status."""

import json
import math
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import cli, doctor, runs
from jaxvae.doctor import compare, environment, loops, recipes, repeats, speed
from jaxvae.doctor.report import (
    DIFFERS,
    INTERRUPTED,
    NOT_CHECKED,
    REPEATS,
    RIGHT,
    WRONG,
    XLA_BUG,
    Check,
    Report,
    Speed,
)
from jaxvae.models import convolution

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def quick():
    return doctor.examine(quick=True)


def printed(capsys, monkeypatch, report, *options, terminal=True):
    """Exit status, stdout and stderr of the command, where this is what the doctor finds."""
    monkeypatch.setattr(doctor, "examine", lambda quick: replace(report, quick=quick))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    status = 0
    try:
        cli.main(["doctor", *options])
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.slow
@pytest.mark.ci
def test_nothing_is_wrong_here(quick):
    assert not quick.wrong, quick.as_text()
    assert {check.verdict for check in quick.computes} <= {RIGHT, XLA_BUG, NOT_CHECKED}
    assert {check.verdict for check in quick.repeats} == {REPEATS, NOT_CHECKED}
    assert len(quick.computes) >= 22
    assert [s.name for s in quick.speed][2:] == ["mnist_vae, batch 128"]
    assert all(s.rate > 0 for s in quick.speed)
    assert quick.summary.startswith("All is well")
    for name in ("jaxvae", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint"):
        assert f"{name} " in quick.environment["versions"]


@pytest.mark.slow
def test_nothing_is_wrong_here_in_full():
    report = doctor.examine()
    assert not report.wrong, report.as_text()
    assert {check.verdict for check in report.computes} <= {RIGHT, XLA_BUG}
    assert len(report.speed) == 6


def test_a_speed_that_cannot_be_measured_is_wrong(monkeypatch):
    def measure(quick):
        raise MemoryError("none left")

    monkeypatch.setattr(doctor, "COMPUTES", {})
    monkeypatch.setattr(doctor, "REPEATS", {})
    monkeypatch.setattr(speed, "measure", measure)
    report = doctor.examine()
    assert report.speed == ()
    assert [(check.name, check.note) for check in report.wrong] == [
        ("speed", "MemoryError: none left")
    ]
    assert "speed (MemoryError: none left)" in report.as_text()


@pytest.mark.parametrize("when", ["at once", "in turn"])
def test_ctrl_c_ends_it_with_what_was_found(when, monkeypatch, capsys):
    """A line that is there stays; the others say that they were interrupted; it is not well."""
    right, ran = Check("first", 0.0, 1.0, RIGHT), threading.Event()
    interrupted = threading.Event()
    usual = signal.getsignal(signal.SIGINT)

    def interrupt(*given):
        interrupted.set()
        signal.default_int_handler(*given)  # also where a parent had it ignored

    def first(quick):
        ran.set()
        return [right]

    def stop(quick):
        assert ran.wait(10)
        time.sleep(0.1)  # until its line is there, too
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)  # as the terminal sends it: to the main thread
        assert interrupted.wait(60)
        time.sleep(0.1)  # until the main thread has left
        return [Check("second", 0.0, 1.0, RIGHT)]

    monkeypatch.setattr(doctor, "COMPUTES", {"first": first})
    if when == "at once":
        monkeypatch.setattr(doctor, "REPEATS", {name: stop for name in repeats.APART})
    else:
        monkeypatch.setattr(doctor, "REPEATS", {"second": stop})
    signal.signal(signal.SIGINT, interrupt)
    try:
        report = doctor.examine()
    finally:
        signal.signal(signal.SIGINT, usual)
    assert report.computes[0] == right and report.speed == ()
    assert report.computes[-1].verdict == INTERRUPTED
    assert report.summary.startswith("Interrupted")
    monkeypatch.undo()
    assert printed(capsys, monkeypatch, report)[0] == 1


@pytest.mark.slow
@pytest.mark.ci
def test_settings_are_as_before(quick):
    before = [getattr(jax.config, name) for name in doctor.SETTINGS]
    with doctor.fresh_programs():
        assert [getattr(jax.config, name) for name in doctor.SETTINGS] != before
    assert [getattr(jax.config, name) for name in doctor.SETTINGS] == before


@pytest.mark.slow
@pytest.mark.ci
def test_the_command_prints_a_table_or_json(quick, capsys, monkeypatch):
    status, out, _ = printed(capsys, monkeypatch, quick, "--quick")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out
    assert out.rstrip().endswith(quick.summary[-20:])
    _, elsewhere, _ = printed(capsys, monkeypatch, quick, terminal=False)
    status, out, _ = printed(capsys, monkeypatch, quick, "--json")
    assert out == elsewhere
    found = json.loads(out)
    assert status == 0 and found["wrong"] == [] and not found["quick"]
    assert found["summary"] == quick.summary
    assert len(found["computes"]) == len(quick.computes)


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_exit_status_where_something_is_wrong(options, quick, capsys, monkeypatch):
    bad = Check("dense layer", math.inf, 1e-5, WRONG)
    report = replace(quick, computes=(bad, *quick.computes[1:]))
    status, out, _ = printed(capsys, monkeypatch, report, *options)
    assert status == 1
    assert "Something is wrong: dense layer is off by inf, allowed 1e-05." in " ".join(out.split())
    if options:
        assert json.loads(out)["computes"][0]["error"] == "inf"


def report_of(*checks, backend="cpu", repeats=()):
    speeds = (Speed("a", 3.0, "steps/s", "note"),)
    return Report({"backend": backend}, checks, tuple(repeats), speeds, False, 1.0)


def test_the_last_line_says_what_to_do():
    crashed = Check("convolution", None, None, WRONG, "TypeError: no")
    said = report_of(crashed, backend="gpu").summary
    assert "convolution (TypeError: no)" in said
    for words in ("update jaxlib", "xla_gpu_autotune_level=0", "jaxvae doctor --json"):
        assert words in said
    bug = report_of(Check("x", 1.0, 1e-5, XLA_BUG))
    assert not bug.wrong and "XLA itself computes `x` wrong" in bug.summary
    differs = report_of(repeats=[Check("steps", 3, None, DIFFERS)], backend="gpu")
    assert not differs.wrong and "bit for bit with XLA_FLAGS=" in differs.summary


def test_rounding_by_default_is_named():
    def verdict(error, backend):
        return compare.judged_by_default("x", error, 1e-5, backend).verdict

    assert [verdict(e, "gpu") for e in (1e-6, 1e-3, 1e-2)] == [RIGHT, "right (TF32)", WRONG]
    assert [verdict(e, "tpu") for e in (1e-6, 1e-2, 0.1)] == [RIGHT, "right (bfloat16)", WRONG]
    assert [verdict(e, "cpu") for e in (1e-6, 1e-3)] == [RIGHT, WRONG]
    assert verdict(math.inf, "gpu") == WRONG
    assert compare.judged("x", math.nan, 1.0).verdict == WRONG


def test_a_gpu_may_differ_without_the_flag_alone():
    def verdict(differ, deterministic):
        return repeats.judged("x", differ, deterministic).verdict

    assert verdict(0, True) == verdict(0, False) == REPEATS
    assert verdict(1, True) == WRONG
    assert verdict(1, False) == DIFFERS


def test_both_precisions_are_compared_where_they_differ(monkeypatch):
    """A CPU stands in for a GPU: both are then float32."""
    monkeypatch.setitem(compare.BY_DEFAULT, "cpu", ("TF32", 5e-3))
    x = np.eye(3, dtype=np.float32)
    found = compare.with_products("x", lambda x: x @ x, (x,), np.eye(3))
    assert [check.name for check in found] == ["x", "x, by default"]
    assert {check.verdict for check in found} == {RIGHT}
    found = compare.with_products("x", lambda x: x @ x, (x,), np.eye(3) * (1 + 1e-3))
    assert [check.verdict for check in found] == [WRONG, "right (TF32)"]


def test_errors_are_relative_to_the_largest_entry():
    assert compare.relative(np.array([1.0, 10.1]), np.array([1.0, 10.0])) == pytest.approx(0.01)
    assert compare.relative([np.ones(2)], [np.ones(3)]) == math.inf
    assert compare.relative([np.array([np.nan])], [np.ones(1)]) == math.inf
    assert compare.relative(np.zeros(2), np.zeros(2)) == 0


def test_the_models_are_those_of_the_experiments():
    for ours in recipes.MODELS:
        theirs = runs.load_experiment(EXPERIMENTS / f"{ours.name}.py")
        assert (ours.name, ours.model, ours.objective, ours.optimizer) == (
            theirs.name,
            theirs.model,
            theirs.objective,
            theirs.optimizer,
        )
        assert ours.data.batch_size == 128


def test_flops_are_counted_by_hand():
    flops, parameters = speed.cost(recipes.MODELS[0])
    layers = ((784, 256), (256, 20), (256, 20), (20, 256), (256, 784))
    forward = sum(2 * 128 * n * m for n, m in layers)
    # Backwards two more products per layer; nobody needs the gradient of the images.
    assert flops == 3 * forward - 2 * 128 * 784 * 256
    assert parameters == sum(n * m + m for n, m in layers)


def test_flops_of_convolutions_are_counted_by_hand(monkeypatch):
    """Of the CAE: patches of 9 and of 144 numbers, to 16 and 32 channels, and their mirrors."""
    cae = recipes.MODELS[1]
    outer, inner = 128 * 14**2 * 9 * 16, 128 * 7**2 * 144 * 32
    # Forward, kernel and input; nobody needs the gradient of the images.
    expected = 2 * (2 * 3 * (outer + inner) - outer)
    assert speed.cost(cae)[0] == expected
    for method in ("xla", "matmul"):
        monkeypatch.setattr(convolution, "_by", fixed(method))
        assert speed.cost(cae)[0] == expected, method


def fixed(method, by=convolution._by):
    return lambda _, *rest, **named: by(method, *rest, **named)


def test_rates_are_of_the_right_size():
    """A machine that computes less than a megaflop or more than a petaflop per second is none."""
    assert 1e6 < speed.product_rate(jnp.float32, 0.05) < 1e16
    assert 1e7 < speed.bandwidth(0.05) < 1e14


def test_a_plain_run_is_trained():
    """The tiny experiment learns, so that its steps are worth comparing."""
    experiment = recipes.TINY
    dataset = recipes.dataset(recipes.STEPS, experiment.data.batch_size, recipes.SIDE)
    few, more = (loops.plain_steps(experiment, dataset, n) for n in (1, recipes.STEPS))
    assert more.sums["loss"] / recipes.STEPS < 0.95 * few.sums["loss"]


def test_environment_names_what_matters(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag=1")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    found = environment.describe()
    assert found["XLA_FLAGS"] == "--xla_some_flag=1"
    assert "JAX_PLATFORMS=cpu" in found["other variables"]
    assert found["backend"] == "cpu" and "device 0" in found
