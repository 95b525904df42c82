"""Images in splits, and how a data set without its own test or validation split is divided."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae import config
from jaxvae.checks import UsageError, require
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import seen_shape
from jaxvae.info import Info

HELD_OUT = 0.2
"""Fraction held out from a set that has no test split of its own."""


class Split(NamedTuple):
    """Images of one split: uint8 (n, height, width, channels); labels int32 (n,), or None.

    With `data.streaming` the images are `LazyImages`, which stay in their files until indexed.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None

    @property
    def every_label(self) -> np.ndarray:
        """int32 (n,); -1 where none is known."""
        n = len(self.images)
        return np.full(n, -1, np.int32) if self.labels is None else self.labels.astype(np.int32)

    def take(self, indices: ArrayLike) -> "Split":
        """Those at `indices`; images that are in their files stay there."""
        indices = np.asarray(indices, int)
        labels = None if self.labels is None else self.labels[indices]
        return Split(self.images.take(indices, axis=0), labels)


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


def info(dataset: Dataset, data: config.Data) -> Info:
    """What a model may know of the data: shapes and numbers."""
    labels = dataset.train.every_label
    known = labels[labels >= 0]
    classes = len(dataset.classes or ())
    images = dataset.train.images
    return Info(
        shape=seen_shape(data, images.shape[1:]),
        num_classes=max(classes, int(known.max(initial=-1)) + 1),
        num_examples=len(labels),
        num_labelled=len(known),
        missing=isinstance(images, np.ndarray)
        and images.dtype.kind == "f"
        and any(bool(np.isnan(part.images[:]).any()) for part in dataset[1:4]),
    )


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
    if source.train.images.dtype != np.uint8:
        refuse_image_settings(data)
    if data.labelled is not None:
        train = train._replace(labels=some_labels(train, data.labelled, data.seed))
    return Dataset(source.name, train, validation, test, source.classes, source.description)


def refuse_image_settings(data: config.Data) -> None:
    """Raise a UsageError where a setting that is for images is given for other examples."""
    usual = config.Data()
    for name in ("resize", "pad", "quantize", "binarize", "range", "corruption"):
        value, allowed = getattr(data, name), getattr(usual, name)
        given = f"{allowed!r}: the examples of {data.source!r} are no images"
        require(value == allowed, f"data.{name}", value, given)


def some_labels(split: Split, number: int, seed: int) -> np.ndarray:
    """The labels of `number` examples, as many of each class, and -1 for the others.

    Raises:
        UsageError: the classes cannot give that many each, or no example would be left without.
    """
    labels = split.every_label
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    require(len(classes) > 0, "data.labelled", number, "None: no example has a label")
    each, rest = divmod(number, len(classes))
    allowed = f"a multiple of the {len(classes)} classes, at most {counts.min()} of each"
    require(rest == 0 and each <= counts.min(), "data.labelled", number, allowed)
    allowed = f"below the number of training examples, {len(labels)}"
    require(number < len(labels), "data.labelled", number, allowed)
    rng = np.random.default_rng(seed)
    kept = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == c))[:each] for c in classes.tolist()]
    )
    hidden = np.full_like(labels, -1)
    hidden[kept] = labels[kept]
    return hidden


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
    return source.train.take(order[held_out:]), source.train.take(order[:held_out])


def _first(part: Split, limit: int | None) -> Split:
    return part if limit is None else part.take(np.arange(min(limit, len(part.images))))
