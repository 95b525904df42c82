"""What must hold on every accelerator, on whatever device is the default: on a CPU too.

`python3 -m gpu` runs these on a card, with XLA_FLAGS=--xla_gpu_deterministic_ops=true, which an
exact resume needs there. Elsewhere the tests of the same properties are larger; these are small,
since on a card each program takes seconds to compile.
"""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Parallel, Train, runs
from jaxvae.config import Population
from jaxvae.data import Dataset, Split
from jaxvae.data.lazy import LazyImages
from jaxvae.training import members
from jaxvae.training import program as programs
from jaxvae.training.load import load

# On a CPU the same is tested elsewhere, so these run once, in CI.
pytestmark = [pytest.mark.accelerator, pytest.mark.slow, pytest.mark.ci]

SHAPE = (8, 8, 1)
TIMES = {"seconds", "images_per_second"}

# All that has a state or draws noise. SGD, since Adam hides a wrong factor.
EXPERIMENT = Experiment(
    "accelerator",
    data=Data(batch_size=16),
    model=Model(hidden_dims=(16,), latent_dim=2, batch_norm=True, dropout=0.2),
    objective=Objective(batch_reduction="mean"),
    optimizer=Optimizer("sgd", 1e-3, {"momentum": 0.9}),
    train=Train(epochs=2, chunk_steps=3, figures_every=None),
)


def dataset(images: np.ndarray | LazyImages | None = None) -> Dataset:
    """80 images to train on, 5 steps an epoch, and 17 to validate on."""
    if images is None:
        images = random_images()
    train, held_out = (Split(images.take(np.arange(*rows), axis=0), None) for rows in PARTS)
    return Dataset("random", train, held_out, held_out, None, "")


PARTS = ((0, 80), (80, 97))


def random_images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (97, *SHAPE), np.uint8)


def curve(
    experiment: Experiment = EXPERIMENT,
    data: Dataset | None = None,
    parallel: Parallel = Parallel(),  # noqa: B008
) -> np.ndarray:
    """The mean losses of each chunk and validation, products in float32 in place of TF32."""
    losses = []
    with jax.default_matmul_precision("highest"):
        program, state = programs.build(experiment, data or dataset(), parallel)
        for epoch in range(experiment.train.epochs):
            first = epoch * program.steps_per_epoch
            for source, steps in program.chunks(first, first + program.steps_per_epoch):
                state, sums = program.advance(state, program.sums(), source, steps)
                losses.append(float(sums["loss"]) / steps)
            losses.append(float(program.validate(state.variables)["loss"]))
    return np.array(losses)


@pytest.fixture(scope="module")
def alone() -> np.ndarray:
    """The losses of the plain run."""
    return curve()


def assert_same(losses: np.ndarray, expected: np.ndarray) -> None:
    """To rounding, 6e-8 in float32, of sums of hundreds of numbers, which 10 steps carry on.

    Twice the learning rate or beta moves them by more than 1e-3, since they train.
    """
    assert np.isfinite(expected).all() and np.ptp(expected) > 1e-2 * expected.max()
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize("runner", ["sharded", "shard_map", "pmap"])
def test_every_runner_computes_the_same(runner, alone):
    assert_same(curve(parallel=Parallel(runner, 1)), alone)


def test_a_streamed_run_is_the_run_in_memory(alone):
    images = random_images()
    lazy = LazyImages(lambda records: (images[i] for i in records), np.arange(97), SHAPE)
    assert_same(curve(data=dataset(lazy)), alone)


def test_a_population_member_is_the_run_alone(alone):
    """The last of four, whose beta is half of the largest: nothing as in the first."""
    sweep = Population(sweep=("seed=3,0", "objective.beta=2,1"))
    everyone = members.members(EXPERIMENT, sweep)
    assert everyone[3] == EXPERIMENT
    losses = []
    with jax.default_matmul_precision("highest"):
        names = ["objective.beta"]
        program, state = programs.build(EXPERIMENT, dataset(), everyone=everyone, names=names)
        for epoch in range(EXPERIMENT.train.epochs):
            first = epoch * program.steps_per_epoch
            for source, steps in program.chunks(first, first + program.steps_per_epoch):
                state, sums = program.advance(state, program.sums(), source, steps)
                losses.append(sums["loss"][3] / steps)
            losses.append(program.validate(state.variables)["loss"][3])
    assert_same(np.array(losses), alone)


def test_products_in_bfloat16_train_as_well(alone):
    """bfloat16 has 8 bits: each product is off by 0.4 %, and the losses of sums by less."""
    half = replace(EXPERIMENT, model=replace(EXPERIMENT.model, compute="bfloat16"))
    losses = curve(half)
    assert np.abs(losses - alone).max() > 0  # it does something
    np.testing.assert_allclose(losses, alone, rtol=0.01)
    _, state = programs.build(half, dataset())
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}


def bytes_in_use() -> int:
    """On the device; on a CPU, which does not tell, of all arrays that are alive."""
    stats = jax.local_devices()[0].memory_stats()
    return stats["bytes_in_use"] if stats else sum(x.nbytes for x in jax.live_arrays())


def test_a_state_is_given_away_and_memory_does_not_grow():
    """A step takes over the memory of the state that it is given; 20 chunks leave none behind."""
    model = Model(hidden_dims=(512, 512), latent_dim=4)
    program, state = programs.build(replace(EXPERIMENT, model=model), dataset())
    size = sum(x.nbytes for x in jax.tree.leaves(state))
    source, steps = next(program.chunks(0, program.steps_per_epoch))
    used = []
    for _ in range(22):
        before = state
        state, sums = program.advance(state, program.sums(), source, steps)
        jax.block_until_ready(sums)
        assert all(x.is_deleted() for x in jax.tree.leaves(before))
        used.append(bytes_in_use())
    assert max(used[2:]) - used[1] < size  # 20 chunks would leave 20 times as much


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "images.npz", images=random_images())
    path = tmp_path / "experiment.py"
    path.write_text(
        "from jaxvae import Data, Experiment, Model, Optimizer, Train\n"
        f"experiment = Experiment('exact', data=Data({str(tmp_path / 'images.npz')!r},\n"
        "        batch_size=8, validation_fraction=0.2),\n"
        "    model=Model(hidden_dims=(16,), latent_dim=2, batch_norm=True, dropout=0.2),\n"
        "    optimizer=Optimizer('adam', 1e-3, ema_decay=0.9),\n"
        "    train=Train(epochs=2, chunk_steps=3, figures_every=None))\n"
    )
    return path


def start(*options: object) -> subprocess.Popen:
    """`jaxvae train` in a process that compiles everything itself, as a resumed run does."""
    words = [sys.executable, "-m", "jaxvae", "train", *map(str, options)]
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # two share the device
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def test_a_run_resumes_bit_for_bit_in_another_process(file, tmp_path):
    """Stopped in the middle of an epoch."""
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    stopped = start(file, "--out", resumed, "--train.max-steps", 4)
    alone = start(file, "--out", whole)
    assert stopped.wait(timeout=120) == 0
    assert start("--resume", resumed, "--train.max-steps", "None").wait(timeout=120) == 0
    assert alone.wait(timeout=120) == 0
    rows = [
        [{name: row[name] for name in row.keys() - TIMES} for row in runs.read_metrics(path)]
        for path in (whole / "metrics.csv", resumed / "metrics.csv")
    ]
    assert len(rows[0]) == 2 and rows[0] == rows[1]
    left, right = (load(folder, "latest")[0].variables for folder in (whole, resumed))
    jax.tree.map(np.testing.assert_array_equal, left, right)
