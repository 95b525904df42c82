"""Dimensionality reduction: what the classifiers of codes say."""

import numpy as np

from experiments.jobs import reduction


def test_codes_that_tell_and_codes_that_do_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 600)
    angle = 2 * np.pi * labels / 10
    told = np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.03, (600, 2))
    split = labels[:400], labels[400:]
    right = reduction.accuracies((told[:400], told[400:]), split)
    assert right == {"probe": 1, "5 nearest": 1}
    noise = rng.normal(size=(600, 2))
    wrong = reduction.accuracies((noise[:400], noise[400:]), split)
    assert max(wrong.values()) < 0.2  # chance is 0.1, and 5 standard errors of 200 are 0.106


def test_the_probe_does_not_depend_on_the_scale_of_codes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    codes = np.eye(3)[labels] + rng.normal(0, 0.5, (300, 3))
    split = labels[:200], labels[200:]
    plain = reduction.accuracies((codes[:200], codes[200:]), split)["probe"]
    scaled = codes * np.array([1e-3, 1, 1e3]) + 7
    assert plain == reduction.accuracies((scaled[:200], scaled[200:]), split)["probe"] < 1
