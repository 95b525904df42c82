"""The experiments of the family, small enough for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxvae import Experiment, noise
from jaxvae.batch import Batch, Examples
from jaxvae.data import Dataset, Split
from jaxvae.data.preprocess import preprocess
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.runs import load_experiment

ROOT = Path(__file__).parents[2]
FAMILIES = ("kl", "samples", "aggregated", "discrete", "labels", "layers", "priors", "posteriors")
FILES = {
    path.stem: path
    for family in FAMILIES
    for path in sorted((ROOT / "experiments" / family).iterdir())
    if path.suffix == ".py"
}
NAMES = [*FILES]
ONE_PER_FAMILY = ("free_bits_vae", "iwae", "factor_vae", "vq_vae")
"""Of the KL, of many samples, of the aggregated posterior, of discrete codes."""
ONE_OF_EACH = (*ONE_PER_FAMILY, "joint_vae")
ONE_OF_EACH += ("conditional_vae", "two_layer_vae", "vamp_prior_vae", "flow_vae")
MOSTLY_SLOW = [
    pytest.param(name, marks=[] if name in ONE_OF_EACH else [pytest.mark.slow]) for name in NAMES
]
"""All of them, of which `make test` has one of each kind."""
SLOW = [
    pytest.param(
        name,
        marks=[pytest.mark.slow, pytest.mark.ci] if name in ONE_PER_FAMILY else [pytest.mark.slow],
    )
    for name in NAMES
]
"""All of them, of which `make test-ci` has one of each of four families."""
SHAPE, CLASSES, BATCH = (8, 8, 1), 3, 16
INFO = Info(SHAPE, num_classes=CLASSES, num_examples=48, num_labelled=48)

CODEBOOK = {"hidden_dims": (4, 6), "codes": 5}
SMALL: dict[str, dict[str, Any]] = {
    "factor_vae": {"objective": {"widths": (8, 8)}},
    "aae": {"objective": {"widths": (8, 8)}},
    "swae": {"objective": {"directions": 7}},
    "two_layer_vae": {"model": {"upper_dim": 2}},
    "vamp_prior_vae": {"model": {"components": 5}},
    "flow_vae": {"model": {"layers": 2}},
    "vq_vae": {"model": CODEBOOK},
    "vq_vae_restart": {"model": CODEBOOK | {"restart": 2.0}},
    "vq_vae_gradient": {"model": CODEBOOK},
    "cifar_vq_vae": {"model": CODEBOOK | {"residual_dim": 4}},
    "residual_vq_vae": {"model": CODEBOOK | {"levels": 2}},
    "fsq_vae": {"model": {"hidden_dims": (4, 6), "levels": (4, 3)}},
    "gumbel_vae": {"model": {"categories": 4}},
    "joint_vae": {"model": {"categories": 4}},
}


def small(name: str, **objective: Any) -> Experiment:
    """The experiment with narrow layers and few latents; fields of its objective replaced."""
    experiment = load_experiment(FILES[name])
    own = SMALL.get(name, {})
    model = {"hidden_dims": (12,), "latent_dim": 3} | own.get("model", {})
    return replace(
        experiment,
        data=replace(experiment.data, source="digits", batch_size=BATCH),
        model=replace(experiment.model, **model),
        objective=replace(experiment.objective, **own.get("objective", {}), **objective),
        train=replace(experiment.train, epochs=2, figures_every=None),
    )


def dataset(n: int = 48) -> Dataset:
    """Random images with labels; the first third to validate on too."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (n, *SHAPE), np.uint8)
    labels = np.arange(n, dtype=np.int32) % CLASSES
    train = Split(images, labels)
    held_out = train.take(np.arange(n // 3 + 1))
    return Dataset("random", train, held_out, held_out, ("a", "b", "c"), "random")


def batch(experiment: Experiment, step: int = 0) -> Batch:
    """The first examples, with the noise of a step."""
    images, labels, *_ = dataset().train.take(np.arange(BATCH))
    index = np.arange(BATCH, dtype=np.int32)
    own = Noise(noise.root(3), step, jax.numpy.asarray(index))
    return preprocess(experiment.data, Examples(images, labels, index), own, INFO)
