"""Faults of loops, members, runners, repetition and resumption that `jaxvae doctor` must find."""

import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from jaxvae import axis
from jaxvae.doctor import loops, recipes, repeats, speed
from jaxvae.doctor.report import NOT_CHECKED, REPEATS, RIGHT, WRONG
from jaxvae.runs import checkpoint
from jaxvae.training import members as population
from jaxvae.training import program as programs


@pytest.mark.slow
@pytest.mark.ci
def test_a_loop_that_drops_a_step(monkeypatch):
    original = programs.make_advance

    def faulty(*args, **options):
        advance = original(*args, **options)
        return lambda *rest: advance(*rest[:-1], rest[-1] - 1)

    monkeypatch.setattr(programs, "make_advance", faulty)
    assert [check.verdict for check in loops.loop(True)] == [WRONG]


@pytest.mark.slow
def test_a_member_with_the_key_of_another(monkeypatch):
    assert [check.verdict for check in loops.members(False)] == [RIGHT]
    original = population.root_keys
    monkeypatch.setattr(population, "root_keys", lambda everyone: original(everyone)[::-1])
    assert [check.verdict for check in loops.members(False)] == [WRONG]


RUNNERS = """
import jax
from jaxvae import axis
from jaxvae.doctor import loops
if {faulty}:
    axis.mean = lambda tree: tree
print(*[check.verdict for check in loops.runners(True)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("faulty", [False, True])
def test_a_runner_that_does_not_average(faulty):
    """In a process with two devices. Under `sharded` XLA averages, without the function."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNERS.format(faulty=faulty)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"},
        capture_output=True,
        text=True,
    )
    divided = WRONG if faulty else RIGHT
    assert done.stdout.split() == [RIGHT, divided, divided], done.stderr
    assert axis.mean(1) == 1


def test_steps_that_differ_when_repeated(monkeypatch):
    original, calls = loops.compiled_steps, []

    def faulty(*args, **options):
        calls.append(args)
        found = original(*args, **options)
        return found._replace(params=found.params * np.float32(1 + 1e-7 * len(calls)))

    monkeypatch.setattr(loops, "compiled_steps", faulty)
    (check,) = repeats.same_steps(True)
    assert check.verdict == WRONG and check.error > 0 and len(calls) == 2


@pytest.mark.slow
@pytest.mark.ci
def test_a_resume_that_loses_the_optimizer(monkeypatch):
    original = checkpoint.Checkpoints.restore

    def faulty(self, which, abstract):
        state, progress = original(self, which, abstract)
        return replace(state, opt_state=abstract.opt_state), progress

    monkeypatch.setattr(checkpoint.Checkpoints, "restore", faulty)
    assert [check.verdict for check in repeats.resumed(True)] == [WRONG]


def test_gpus_repeat_with_the_flag_alone(monkeypatch):
    monkeypatch.setattr(repeats, "jax", SimpleNamespace(default_backend=lambda: "gpu"))
    monkeypatch.setenv("XLA_FLAGS", "")
    for differ, verdict in ((0, REPEATS), (3, WRONG)):
        monkeypatch.setattr(repeats, "in_process_with_flag", lambda differ=differ: differ)
        assert [check.verdict for check in repeats.with_flag(False)] == [verdict]
    monkeypatch.setenv("XLA_FLAGS", repeats.FLAG)
    assert [check.verdict for check in repeats.with_flag(False)] == [NOT_CHECKED]


def test_a_process_with_the_flag_that_fails_is_told(monkeypatch):
    done = SimpleNamespace(returncode=1, stdout="", stderr="no such flag")
    monkeypatch.setattr(repeats.subprocess, "run", lambda *args, **options: done)
    with pytest.raises(RuntimeError, match="no such flag"):
        repeats.in_process_with_flag()


def test_a_loss_that_is_not_finite_is_no_speed(monkeypatch):
    program = SimpleNamespace(
        chunks=lambda step, stop: iter([(None, 1)]),
        sums=dict,
        advance=lambda *args: (None, {"loss": np.nan}),
    )
    monkeypatch.setattr(programs, "build", lambda *args: (program, None))
    with pytest.raises(ArithmeticError, match="tiny: the loss is nan"):
        speed.steps_per_second(recipes.TINY, 0.1)
