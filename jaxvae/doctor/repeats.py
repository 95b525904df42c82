"""Whether it repeats, bit for bit: the same steps again, under XLA's flag, stopped and resumed."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from jaxvae import training
from jaxvae.config import Experiment, Parallel
from jaxvae.doctor import loops, recipes
from jaxvae.doctor.report import DIFFERS, NOT_CHECKED, REPEATS, WRONG, Check, Checks
from jaxvae.runs import Interrupted
from jaxvae.training import program as programs
from jaxvae.training.load import load

FLAG = "--xla_gpu_deterministic_ops=true"
TIMEOUT = 120
IN_PROCESS = """
from jaxvae.doctor import recipes, repeats
print(repeats.twice(recipes.TINY_CONVOLUTIONAL))
"""


def judged(name: str, differ: int, deterministic: bool) -> Check:
    """Of numbers that differ: none may, but on a GPU without the flag."""
    verdict = REPEATS if differ == 0 else WRONG if deterministic else DIFFERS
    return Check(name, differ, 0 if deterministic else None, verdict)


def is_deterministic() -> bool:
    """Whether this process should repeat bit for bit: on a GPU only with the flag."""
    name = FLAG.partition("=")[0]
    given = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag.startswith(name)]
    set_ = bool(given) and given[-1].partition("=")[2].lower() not in ("false", "0")
    return jax.default_backend() != "gpu" or set_


def differing(a: object, b: object) -> int:
    """In how many numbers two trees of arrays differ."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return sum(int(np.sum(np.asarray(x) != np.asarray(y))) for x, y in pairs)


def twice(experiment: Experiment) -> int:
    """In how many numbers 20 steps in one go and in two differ, with one compiled program."""
    dataset = recipes.dataset(recipes.STEPS, experiment.data.batch_size, recipes.SIDE)
    program, state = programs.build(experiment, dataset, Parallel("jit", 1))
    again = jax.tree.map(lambda x: x.copy(), state)  # the program consumes what it is given
    first = loops.compiled_steps(program, state, recipes.STEPS)
    second = loops.compiled_steps(program, again, recipes.STEPS, halt=7)
    return differing(first, second)


def same_steps(quick: bool) -> list[Check]:
    """The same 20 steps twice, by the program that training runs."""
    experiment = recipes.TINY if quick else recipes.TINY_CONVOLUTIONAL
    name = f"the same {recipes.STEPS} steps again"
    return [judged(name, twice(experiment), is_deterministic())]


def with_flag(quick: bool) -> list[Check]:
    """The same in a process with the flag that makes a GPU repeat."""
    name = "the same with XLA's flag"
    if jax.default_backend() != "gpu":
        note = f"{FLAG} matters on GPUs only"
        return [Check(name, None, None, NOT_CHECKED, note)]
    if quick or is_deterministic():
        note = "the flag is set already" if is_deterministic() else "left out by --quick"
        return [Check(name, None, None, NOT_CHECKED, note)]
    return [judged(name, in_process_with_flag(), deterministic=True)]


def in_process_with_flag() -> int:
    """`twice` in a new process, whose flags are read when its backend starts.

    Raises:
        RuntimeError: the process failed.
        subprocess.TimeoutExpired: it did not end.
    """
    flags = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}".strip()
    # This process has most of the GPU's memory; the other one takes what it needs of the rest.
    env = {**os.environ, "XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    done = subprocess.run(
        [sys.executable, "-c", IN_PROCESS], env=env, capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode != 0:
        raise RuntimeError(f"a process with {flags} failed: {done.stderr.strip()[-200:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def resumed(quick: bool) -> list[Check]:
    """A run that stopped in mid-epoch and went on, against one that ran through."""
    with tempfile.TemporaryDirectory(prefix="jaxvae-doctor-") as folder:
        images = Path(folder) / "images.npy"
        steps, batch_size = recipes.STEPS, recipes.TINY.data.batch_size
        np.save(images, recipes.random_images(steps * batch_size * 5 // 4, recipes.SIDE))
        data = replace(recipes.TINY.data, source=str(images))
        whole = replace(recipes.TINY, data=data)
        half = replace(whole, train=replace(whole.train, max_steps=steps * 3 // 2))
        one = Parallel("jit", 1)
        try:
            training.train(whole, Path(folder) / "whole", quiet=True, parallel=one)
            training.train(half, Path(folder) / "resumed", quiet=True, parallel=one)
            training.train(whole, Path(folder) / "resumed", resume=True, quiet=True, parallel=one)
        except Interrupted:  # a training takes Ctrl-C as a wish to stop, which is no fault of it
            raise KeyboardInterrupt from None
        runs = [load(Path(folder) / name, "latest") for name in ("whole", "resumed")]
    (a, step_a), (b, step_b) = runs
    if step_a != step_b:
        raise RuntimeError(f"the resumed run took {step_b} steps, not {step_a}")
    differ = differing(a.variables, b.variables)
    return [judged("a run stopped and resumed", differ, is_deterministic())]


APART = ("the same with XLA's flag",)
"""Checks in a process of their own, beside which others may run."""

CHECKS: Checks = {
    "the same steps again": same_steps,
    "the same with XLA's flag": with_flag,
    "a run stopped and resumed": resumed,
}
