"""Pretraining: as many labels of each class, and two classifiers that differ in nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.jobs import pretraining
from jaxvae.models import DenseEncoder

LABELS = np.random.default_rng(0).integers(0, 10, 500)


def test_labels_are_balanced_and_drawn():
    for number in (100, 105):
        index = pretraining.balanced(LABELS, number, seed=0)
        counts = np.bincount(LABELS[index], minlength=10)
        assert len(set(index)) == number and set(counts) <= {10, 11}
    assert not np.array_equal(index, pretraining.balanced(LABELS, 105, seed=1))
    # So that the first fifth, which is held out, has all classes: it is in random order.
    first = LABELS[pretraining.balanced(LABELS, 100, seed=0)][:20]
    assert len(set(first)) > 5


def test_the_encoder_is_given_or_random_and_the_rest_is_the_same():
    encoder = DenseEncoder((4,))
    random = pretraining.classifier(encoder, jax.random.key(0))
    given = jax.tree.map(jnp.ones_like, random["encoder"])
    pretrained = pretraining.classifier(encoder, jax.random.key(0), given)
    assert jax.tree.structure(random) == jax.tree.structure(pretrained)
    assert all((leaf == 1).all() for leaf in jax.tree.leaves(pretrained["encoder"]))
    assert random["weights"].shape == (4, 10) and not random["weights"].any()


def test_a_classifier_learns_what_can_be_told_apart():
    rng = np.random.default_rng(0)
    label = jnp.asarray(np.arange(50) % 10)
    x = np.zeros((50, 28, 28, 1), np.float32)
    x[np.arange(50), np.arange(50) % 10, 0] = 3
    x = jnp.asarray(x + 0.1 * rng.random(x.shape).astype(np.float32))
    encoder, key = DenseEncoder((16,)), jax.random.key(0)
    start = pretraining.classifier(encoder, key)
    assert pretraining.accuracy(encoder, start, x, label) == pytest.approx(0.1)  # all 0
    fitted = pretraining.fit(encoder, start, x, label, jnp.float32(1e-2), key)
    assert pretraining.accuracy(encoder, fitted, x, label) == 1
