"""Augmentation: drawn sets, and images that are moved."""

import numpy as np

from experiments.jobs import augmentation


def test_so_many_of_each_class():
    labels = np.random.default_rng(0).integers(0, 10, 400)
    index = augmentation.of_each_class(labels, 5, seed=0)
    assert len(set(index)) == 50 and set(np.bincount(labels[index])) == {5}


def test_moved_images_keep_what_is_in_the_middle():
    images = np.zeros((40, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    at = np.argwhere(augmentation.moved(images, 2, seed=0)[..., 0])
    assert np.array_equal(at[:, 0], np.arange(40))
    assert {*np.unique(at[:, 1:])} == {2, 3, 4, 5, 6}
    assert np.array_equal(augmentation.moved(images, 0, seed=0), images)
