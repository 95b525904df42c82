"""Images in splits, and how a data set without its own test or validation split is divided."""

from typing import NamedTuple

import numpy as np

from jaxvae import config
from jaxvae.checks import UsageError
from jaxvae.data.lazy import LazyImages

HELD_OUT = 0.2
"""Fraction held out from a set that has no test split of its own."""


class Split(NamedTuple):
    """Images of one split: uint8 (n, height, width, channels); labels int32 (n,), or None.

    With `data.streaming` the images are `LazyImages`, which stay in their files until indexed.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None


class Source(NamedTuple):
    """What a source holds, before it is split: `test` is None where it has no test split."""

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...] | None
    description: str


class Dataset(NamedTuple):
    """A data set ready for training. `classes` names the labels 0, 1, ... where known.

    Without a test split of its own, `test` is the same images as `validation`; with one and
    without `data.validation_fraction`, `validation` is the same images as `test`.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None
    description: str


def split(source: Source, data: config.Data) -> Dataset:
    """Divide a source into training, validation and test images as `data` says.

    Raises:
        ValueError: a split would be empty, or holds fewer images than one batch.
    """
    fraction = data.validation_fraction
    if fraction is None and source.test is not None:
        train, held_out = source.train, source.test
    else:
        train, held_out = _divide(source, HELD_OUT if fraction is None else fraction, data.seed)
    train, validation = _first(train, data.limit), _first(held_out, data.limit)
    if source.test is None or fraction is None:
        test = validation
    else:
        test = _first(source.test, data.limit)

    if len(train.images) < data.batch_size:
        limited = "" if data.limit is None else f" (data.limit = {data.limit})"
        raise UsageError(
            f"data.batch_size = {data.batch_size}: must be at most the number of training images,"
            f" {len(train.images)}{limited} in {source.name!r}"
        )
    return Dataset(source.name, train, validation, test, source.classes, source.description)


def _divide(source: Source, fraction: float, seed: int) -> tuple[Split, Split]:
    """A seeded random (1 - fraction, fraction) division of the source's training images."""
    n = len(source.train.images)
    held_out = round(fraction * n)
    if not 0 < held_out < n:
        raise UsageError(
            f"data.validation_fraction = {fraction}: leaves a split of {source.name!r} empty"
            f" ({n} images: {n - held_out} for training, {held_out} for validation); give more"
            " images, or another fraction"
        )
    order = np.random.default_rng(seed).permutation(n)
    return _take(source.train, order[held_out:]), _take(source.train, order[:held_out])


def _take(part: Split, indices: np.ndarray) -> Split:
    labels = None if part.labels is None else part.labels[indices]
    return Split(part.images.take(indices, axis=0), labels)


def _first(part: Split, limit: int | None) -> Split:
    return part if limit is None else _take(part, np.arange(min(limit, len(part.images))))
