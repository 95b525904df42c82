"""Small populations, and what it means that two runs are the same."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Population, Train, runs
from jaxvae.runs.checkpoint import Checkpoints
from jaxvae.training import initial_state
from jaxvae.training.load import load

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
LAPLACE = digits(
    "laplace",
    model=Model("AE", hidden_dims=(12,), latent_dim=2, output="sigmoid"),
    objective=Objective("laplace"),
    optimizer=Optimizer("sgd", 1e-3, ema_decay=0.9),
)
SWEEPS = {
    "dense": (
        DENSE,
        Population(2, ("objective.beta=0,0.5,4", "optimizer.learning-rate=1e-3,2e-4")),
        9,  # seed 1, beta 0.5, rate 2e-4: nothing as in the base
    ),
    "cae": (CAE, Population(sweep=("seed=7,3",)), 1),
    "conv": (CONV, Population(2, ("optimizer.learning_rate=5e-4,2e-3",)), 2),
    # A number of the objective that the model knows nothing of, and one of the optimizer.
    "laplace": (
        LAPLACE,
        Population(sweep=("objective.sigma=0.5,2", "optimizer.ema_decay=0.5,0.9")),
        1,
    ),
}


def latest_state(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The state of a run's latest checkpoint, and its progress."""
    experiment, _, info = runs.read_config(folder)
    module = experiment.model.build(info)
    abstract = jax.eval_shape(lambda: initial_state(experiment, module, info))
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
    for part in ("step", "params", "collections", "ema", "lr_scale"):  # opt_state: by resuming
        assert_close(getattr(state, part), getattr(lone_state, part))
    best, lone_best = (
        p["standings"][0]["monitor"]["best_epoch"] for p in (progress, lone_progress)
    )
    assert best == lone_best
    assert load(folder)[1] == load(alone)[1]  # the step of the best checkpoint
