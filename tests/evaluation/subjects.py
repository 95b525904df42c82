"""Models before any training, as subjects of what `evaluate --metrics` measures."""

from typing import Any

import jax
import numpy as np

from jaxvae import Experiment
from jaxvae.data import Dataset, Split, info
from jaxvae.evaluation import Trained
from jaxvae.evaluation.subject import Measuring, Subject
from jaxvae.training import initial_state

SIDE = 12
CLASSES = 3


def images(n: int, seed: int = 0) -> Split:
    """Grey images that show what class they are of: a bright stripe on noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int32) % CLASSES
    x = rng.integers(0, 128, (n, SIDE, SIDE, 1), np.uint8)
    for i, label in enumerate(labels):
        x[i, 4 * label : 4 * label + 3] += 120
    return Split(x, labels)


def dataset(train: Split | None = None, test: Split | None = None) -> Dataset:
    train = images(60) if train is None else train
    test = images(30, seed=1) if test is None else test
    return Dataset("stripes", train, test, test, None, "stripes")


MADE: list[Trained] = []


def trained(experiment: Experiment, data: Dataset) -> Trained:
    """The model with its first parameters, made once for equal settings."""
    known, shape = info(data, experiment.data), data.train.images.shape[1:]
    for made in MADE:
        if (made.experiment, made.stored_shape, made.info) == (experiment, shape, known):
            return made
    module = experiment.model.build(known)
    state = jax.jit(lambda: initial_state(experiment, module, known))()
    MADE.append(Trained(experiment, module, state.variables, shape, known))
    return MADE[-1]


def subject(
    experiment: Experiment,
    data: Dataset | None = None,
    split: Split | None = None,
    **settings: Any,
) -> Subject:
    """The model of an experiment on the test split, or another one."""
    data = dataset() if data is None else data
    split = data.test if split is None else split
    return Subject(trained(experiment, data), split, lambda: data, Measuring(**settings))
