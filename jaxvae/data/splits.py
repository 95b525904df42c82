"""Images in splits, and how a data set without its own test or validation split is divided."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxvae import config
from jaxvae.checks import UsageError, require
from jaxvae.data.lazy import LazyImages
from jaxvae.info import Info

HELD_OUT = 0.2
"""Fraction held out from a set that has no test split of its own."""


class Split(NamedTuple):
    """Examples of one split, and what belongs to each.

    images: uint8 or uint16 (n, height, width, channels), or float32 (n, ...) of what is no image.
        With `data.streaming` they are `LazyImages`, which stay in their files until indexed.
    labels: int32 (n,), or None.
    names: of the files that they come from, where each has its own.
    factors: what each was made from, where that is known: by name, int32 (n,) each.
    """

    images: np.ndarray | LazyImages
    labels: np.ndarray | None
    names: Sequence[str] | None = None
    factors: Mapping[str, np.ndarray] | None = None

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.images.shape[1:]))
        known = "" if self.labels is None else ", labels"
        known += "" if self.factors is None else ", factors"
        return f"<Split: {len(self.images):,} of {shape}, {self.images.dtype}{known}>"

    @property
    def every_label(self) -> np.ndarray:
        """int32 (n,); -1 where none is known."""
        n = len(self.images)
        return np.full(n, -1, np.int32) if self.labels is None else self.labels.astype(np.int32)

    def take(self, indices: ArrayLike) -> "Split":
        """Those at `indices`; images that are in their files stay there."""
        indices = np.asarray(indices, int)
        labels = None if self.labels is None else self.labels[indices]
        names = None if self.names is None else [self.names[i] for i in indices.tolist()]
        factors = self.factors and {name: own[indices] for name, own in self.factors.items()}
        return Split(self.images.take(indices, axis=0), labels, names, factors)


class Source(NamedTuple):
    """What a source holds, before it is divided: None where it has no such part of its own."""

    name: str
    train: Split
    test: Split | None
    classes: tuple[str, ...] | None
    description: str
    validation: Split | None = None
    columns: tuple[str, ...] = ()
    """Names of the features, of a table's rows."""

    @property
    def parts(self) -> dict[str, Split]:
        """Those that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def labels(self) -> list[np.ndarray]:
        """Those of the parts that have some."""
        return [part.labels for part in self.parts.values() if part.labels is not None]


class Dataset(NamedTuple):
    """A data set ready for training. `classes` names the labels 0, 1, ... where known.

    Without a test split of its own, `test` is the same images as `validation`; with one and
    neither a validation split nor `data.validation_fraction`, `validation` is the same as `test`.
    `said` is what was said of the source when it was read, line by line.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...] | None
    description: str
    said: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = {"train": self.train, "validation": self.validation, "test": self.test}
        listed = ", ".join(f"{len(part.images):,} {name}" for name, part in counts.items())
        same = " (the same)" if self.test is self.validation else ""
        return f"<Dataset {self.name[:80]}: {listed}{same}>"


def seen_shape(data: config.Data, stored: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an example as the model sees it: of an image after resizing and padding."""
    if len(stored) != 3:
        return stored
    height, width = data.resize or stored[:2]
    return (height + 2 * data.pad, width + 2 * data.pad, stored[2])


def info(dataset: Dataset, data: config.Data) -> Info:
    """What a model may know of the data: shapes and numbers."""
    labels = dataset.train.every_label
    known = labels[labels >= 0]
    classes = len(dataset.classes or ())
    images = dataset.train.images
    arrays = [part.images for part in dataset[1:4] if isinstance(part.images, np.ndarray)]
    return Info(
        shape=seen_shape(data, images.shape[1:]),
        num_classes=max(classes, int(known.max(initial=-1)) + 1),
        num_examples=len(labels),
        num_labelled=len(known),
        missing=images.dtype.kind == "f" and any(bool(np.isnan(a).any()) for a in arrays),
        maximum=_maximum(images.dtype, arrays),
        columns=dataset.columns,
        **standardised(images, data),
    )


def standardised(values: np.ndarray | LazyImages, data: config.Data) -> dict[str, Any]:
    """The `center` and `scale` that give training values mean 0 and standard deviation 1.

    They are those of each feature of a row, and of each channel of a signal; what was not observed
    does not count, and the scale of what does not vary is 1.
    """
    if values.dtype.kind != "f" or not data.standardise or not isinstance(values, np.ndarray):
        return {}
    flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if empty := np.flatnonzero(np.isnan(flat).all(axis=0)).tolist():
        raise UsageError(f"data.source: no training example has a value of feature {empty[0]}")
    center, scale = np.nanmean(flat, axis=0), np.nanstd(flat, axis=0)
    # The mean of equal values may miss them by rounding.
    scale = np.where(scale > 1e-7 * np.maximum(np.abs(center), 1e-30), scale, 1.0)
    return {"center": tuple(center.tolist()), "scale": tuple(scale.tolist())}


def _maximum(dtype: np.dtype, arrays: Sequence[np.ndarray]) -> int | None:
    """The value of the brightest pixel; of images of 16 bits, the largest that there is."""
    if dtype.kind == "f":
        return None
    if dtype == np.uint8:
        return 255
    return max((int(a.max()) for a in arrays), default=65535)  # in their files nothing is known


def split(source: Source, data: config.Data) -> Dataset:
    """Divide a source into training, validation and test images as `data` says.

    Raises:
        UsageError: a split would be empty, or holds fewer images than one batch.
    """
    counts = {name: len(part.images) for name, part in source.parts.items()}
    held_out = number_held_out(counts, data, source.name)
    train, validation, test = source.train, source.validation, source.test
    if held_out is not None:
        order = np.random.default_rng(data.seed).permutation(counts["train"])
        train, validation = train.take(order[held_out:]), train.take(order[:held_out])
    train = _first(train, data.limit)
    own = [None if part is None else _first(part, data.limit) for part in (validation, test)]
    validation, test = own[0] or own[1], own[1] or own[0]
    assert validation is not None and test is not None  # one of them was held out, if need be

    if len(train.images) < data.batch_size:
        limited = "" if data.limit is None else f" (data.limit = {data.limit})"
        raise UsageError(
            f"data.batch_size = {data.batch_size}: must be at most the number of training images,"
            f" {len(train.images)}{limited} in {source.name!r}"
        )
    if source.train.images.dtype.kind == "f":
        refuse_image_settings(data)
    eight = source.train.images.dtype != np.uint16
    require(eight or data.quantize is None, "data.quantize", data.quantize, "None for 16 bits")
    if data.labelled is not None:
        train = train._replace(labels=some_labels(train, data.labelled, data.seed))
    return Dataset(
        source.name,
        train,
        validation,
        test,
        source.classes,
        source.description,
        columns=source.columns,
    )


def number_held_out(counts: Mapping[str, int], data: config.Data, name: str) -> int | None:
    """How many training images are held out for validation; None: the source has others for it.

    Args:
        counts: images of each part of a source.
        data: the settings.
        name: the source's, for messages.

    Raises:
        UsageError: a split would be empty, or there is a validation part already.
    """
    fraction, n = data.validation_fraction, counts["train"]
    if fraction is None and ("validation" in counts or "test" in counts):
        return None
    given = f"None: {name!r} has {counts.get('validation')} images of its own for validation"
    require("validation" not in counts, "data.validation_fraction", fraction, given)
    fraction = HELD_OUT if fraction is None else fraction
    held_out = round(fraction * n)
    if not 0 < held_out < n:
        raise UsageError(
            f"data.validation_fraction = {fraction}: leaves a split of {name!r} empty"
            f" ({n} images: {n - held_out} for training, {held_out} for validation); give more"
            " images, or another fraction"
        )
    return held_out


def refuse_image_settings(data: config.Data) -> None:
    """Raise a UsageError where a setting that is for images is given for other examples."""
    usual = config.Data()
    for name in ("resize", "pad", "quantize", "binarize", "range", "corruption"):
        value, allowed = getattr(data, name), getattr(usual, name)
        given = f"{allowed!r}: the examples are no images"
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


def _first(part: Split, limit: int | None) -> Split:
    return part if limit is None else part.take(np.arange(min(limit, len(part.images))))
