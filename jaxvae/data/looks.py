"""What the pixels of a data set look like, where that is hardly what was meant."""

import numpy as np

from jaxvae.data.splits import Source

SAMPLED = 2_000
"""Examples that are looked at."""
DUPLICATES = 0.5
"""Fraction of copies above which it is said."""
ROUGHER = 2.0
"""So many times rougher than the first axis must another be to look like that of the examples."""


def noticed(source: Source) -> tuple[str, ...]:
    """What is odd about the training examples of a source and their labels, a sentence each."""
    found = [*_classes(source)]
    images = source.train.images
    if isinstance(images, np.ndarray):
        chosen = np.unique(np.linspace(0, len(images) - 1, SAMPLED).astype(int))
        found += [*_alike(images[chosen]), *_order_of_axes(images[:SAMPLED], images.shape)]
    return tuple(found)


def _classes(source: Source) -> list[str]:
    labels = source.train.every_label
    values, counts = np.unique(labels[labels >= 0], return_counts=True)
    single = values[counts == 1].tolist()
    if not single or len(labels) == 1:
        return []
    names = [source.classes[c] if source.classes else str(c) for c in single[:3]]
    more = f" and {len(single) - 3:,} more" if len(single) > 3 else ""
    return [f"only one example is of class {', '.join(names)}{more}"]


def _alike(images: np.ndarray) -> list[str]:
    n = len(images)
    if n < 2:
        return []
    distinct = len({image.tobytes() for image in images})
    if distinct == 1:
        value = images[0].flat[0]
        every = f": every value is {value}" if (images[0] == value).all() else ""
        return [f"all examples are equal{every}"]
    if images.dtype.kind != "f":
        spread = float(images.max(axis=0).astype(int).max() - images.min(axis=0).astype(int).min())
        varied = np.ptp(images, axis=0).max()
        if varied <= 2:
            return [
                f"examples hardly differ: no pixel by more than {varied} (of"
                f" {spread:.0f} within an image)"
            ]
    if 1 - distinct / n > DUPLICATES:
        return [f"{n - distinct:,} of {n:,} examples that were looked at are copies"]
    return []


def _order_of_axes(images: np.ndarray, shape: tuple[int, ...]) -> list[str]:
    """Neighbours within an image are alike, those of different images are not.

    It is said only where another order would also make the images more nearly square: the frames of
    a film are alike too.
    """
    if images.ndim != 4 or images.dtype.kind == "f" or min(images.shape[:3]) < 3:
        return []
    grey = images.mean(axis=-1, dtype=np.float32)
    rough = [float(np.abs(np.diff(grey, axis=axis)).mean()) for axis in range(3)]
    other = max((1, 2), key=lambda axis: rough[axis])
    n, height, width = shape[:3]
    swapped = [length for axis, length in enumerate(shape[:3]) if axis != other]
    squarer = max(swapped) / min(swapped) < max(height, width) / min(height, width)
    if not squarer or rough[other] <= ROUGHER * rough[0] or rough[other] == 0:
        return []
    return [
        f"read as {n:,} images of {height}x{width}, but neighbours along axis {other} differ most,"
        f" as those of different images do: if axis {other} counts the images, give"
        f" np.moveaxis(images, {other}, 0)"
    ]
