import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxvae import config
from jaxvae.checks import UsageError
from jaxvae.data.splits import Dataset, Source, Split, info, some_labels, split
from jaxvae.info import Info


def numbered(start: int, n: int) -> Split:
    """n images of 1x1 whose label is their number and whose pixel is its low byte."""
    labels = np.arange(start, start + n, dtype=np.int32)
    return Split((labels % 256).astype(np.uint8).reshape(n, 1, 1, 1), labels)


def source(n: int, n_test: int | None) -> Source:
    test = None if n_test is None else numbered(10_000, n_test)
    return Source("numbers", numbered(0, n), test, None, "")


def labels(part: Split) -> list[int]:
    assert part.labels is not None
    np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels % 256)  # still aligned
    return part.labels.tolist()


@given(
    n=st.integers(10, 300),
    n_test=st.none() | st.integers(1, 20),
    fraction=st.none() | st.floats(0.1, 0.9),
    seed=st.integers(0, 2**32 - 1),
)
def test_splits_are_disjoint_and_exhaustive(n, n_test, fraction, seed):
    data = config.Data(batch_size=1, validation_fraction=fraction, seed=seed)
    dataset = split(source(n, n_test), data)
    train, validation, test = map(labels, (dataset.train, dataset.validation, dataset.test))

    if n_test is None:
        assert sorted(train + validation) == list(range(n))
        assert test == validation
    else:
        assert test == list(range(10_000, 10_000 + n_test))
        if fraction is None:
            assert validation == test and train == list(range(n))
        else:
            assert sorted(train + validation) == list(range(n))
    if n_test is None or fraction is not None:
        assert len(validation) == round((0.2 if fraction is None else fraction) * n)


def divided(seed: int) -> Dataset:
    return split(source(200, None), config.Data(batch_size=1, seed=seed))


def test_the_division_follows_the_seed_and_is_not_in_order():
    assert labels(divided(1).validation) == labels(divided(1).validation)
    assert labels(divided(1).validation) != labels(divided(2).validation)
    assert labels(divided(1).validation) != sorted(labels(divided(1).validation))


def test_limit_takes_the_first_of_each_split_after_splitting():
    data = config.Data(batch_size=1, validation_fraction=0.5)
    whole = split(source(40, 9), data)
    limited = split(source(40, 9), dataclasses.replace(data, limit=5))
    for name in ("train", "validation", "test"):
        assert labels(getattr(limited, name)) == labels(getattr(whole, name))[:5]


def test_labels_may_be_absent():
    unlabelled = source(10, None)._replace(train=Split(numbered(0, 10).images, None))
    dataset = split(unlabelled, config.Data(batch_size=1, limit=4))
    assert dataset.train.labels is None and dataset.validation.labels is None
    assert dataset.train.images.shape == (4, 1, 1, 1)


@pytest.mark.parametrize("fraction, held_out", [(0.01, 0), (0.99, 10), (None, 0)])
def test_no_split_may_be_empty(fraction, held_out):
    n = 2 if fraction is None else 10
    with pytest.raises(ValueError, match=rf"empty \({n} images: {n - held_out} .* {held_out} for"):
        split(source(n, None), config.Data(batch_size=1, validation_fraction=fraction))


def test_a_batch_may_not_exceed_the_training_images():
    with pytest.raises(ValueError, match=r"batch_size = 81: .* 80 in 'numbers'"):
        split(source(100, None), config.Data(batch_size=81))
    with pytest.raises(ValueError, match=r"batch_size = 8: .* 7 \(data.limit = 7\)"):
        split(source(100, None), config.Data(batch_size=8, limit=7))
    assert len(split(source(100, None), config.Data(batch_size=80)).train.images) == 80


# Labels


def classes_of(counts: list[int], unlabelled: int = 0) -> Split:
    """Images of class 0, 1, ..., so many of each, in a random order; others without a label."""
    labels = np.repeat(np.arange(-1, len(counts)), [unlabelled, *counts]).astype(np.int32)
    labels = np.random.default_rng(0).permutation(labels)
    return Split(np.zeros((len(labels), 1, 1, 1), np.uint8), labels)


@given(
    counts=st.lists(st.integers(2, 20), min_size=1, max_size=5),
    unlabelled=st.integers(0, 5),
    each=st.integers(1, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_labels_are_kept_of_as_many_of_each_class(counts, unlabelled, each, seed):
    part = classes_of(counts, unlabelled)
    number = each * len(counts)
    if number == len(part.images):  # none would be left without
        return
    kept = some_labels(part, number, seed)
    assert kept.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(kept[kept >= 0]), np.full(len(counts), each))
    assert ((kept == part.labels) | (kept == -1)).all()
    np.testing.assert_array_equal(kept, some_labels(part, number, seed))


def test_which_labels_are_kept_follows_the_seed():
    part = classes_of([50, 50])
    choices = [tuple(some_labels(part, 20, seed)) for seed in range(3)]
    assert len(set(choices)) == 3


@pytest.mark.parametrize(
    "counts, number, allowed",
    [
        ([5, 5], 3, "a multiple of the 2 classes, at most 5 of each"),
        ([5, 3], 8, "a multiple of the 2 classes, at most 3 of each"),
        ([5, 5], 10, "below the number of training examples, 10"),
        ([], 4, "None: no example has a label"),
    ],
)
def test_labels_that_are_not_there_are_refused(counts, number, allowed):
    with pytest.raises(UsageError, match=f"^data.labelled = {number}: must be {allowed}$"):
        some_labels(classes_of(counts, unlabelled=0 if counts else 9), number, seed=0)


def test_labels_are_hidden_from_training_alone():
    part = classes_of([30, 30])
    data = config.Data(batch_size=8, labelled=6)
    dataset = split(Source("two", part, part, ("a", "b"), ""), data)
    assert (dataset.train.labels >= 0).sum() == 6
    np.testing.assert_array_equal(dataset.test.labels, part.labels)
    assert info(dataset, data) == Info((1, 1, 1), 2, 60, 6)


def test_what_is_known_of_a_data_set():
    """From names of classes, labels and values; without labels no class is known."""
    data = config.Data(batch_size=1, resize=(5, 4), pad=1)
    part = classes_of([3, 4], unlabelled=2)
    dataset = split(Source("x", part, part, None, ""), data)
    assert info(dataset, data) == Info((7, 6, 1), 2, 9, 7)
    assert info(dataset._replace(classes=tuple("abc")), data).num_classes == 3
    plain = dataset._replace(train=part._replace(labels=None))
    assert info(plain, data) == Info((7, 6, 1), 0, 9, 0)
    rows = Split(np.zeros((9, 4), np.float32), None)
    table = dataset._replace(train=rows, validation=rows, test=rows)
    zeros, ones = (0.0,) * 4, (1.0,) * 4  # what does not vary is not divided
    expected = Info((4,), 0, 9, 0, maximum=None, center=zeros, scale=ones)
    assert info(table, data) == expected
    holes = rows._replace(images=np.full((2, 4), np.float32("nan")))
    assert info(table._replace(validation=holes), data).missing
