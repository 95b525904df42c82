"""Arrays that somebody gives, checked and brought into the form in which examples are stored.

Images are uint8 or uint16, values float32, labels int32. Each function returns the array and what
it had to guess or to leave out, and raises a UsageError that starts with the array's name.
"""

import reprlib
from collections.abc import Sequence

import numpy as np

from jaxvae.checks import UsageError

Checked = tuple[np.ndarray, list[str]]


def to_images(images: np.ndarray, name: str, deep: bool = False) -> Checked:
    """Images as (n, height, width, channels): uint8, or uint16 where they have such.

    Integers are in 0..255, those of uint16 in 0..65535; floats in [0, 1] become round(255 x);
    booleans are black and white. Channels are 1 to 4, the last axis. uint16 within 0..255 becomes
    uint8, unless other images of its set are `deep`.

    Raises:
        UsageError: shape, dtype or values are not those of images; with the call that mends it.
    """
    images = _with_channels(images, name)
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255), []
    notes = []
    if images.dtype.kind in "iu" and images.max() == 1:
        notes.append(
            f"{name}: the integers 0 and 1 are taken as they are, of 0..255: almost black; black"
            " and white images are given as booleans"
        )
    if images.dtype == np.uint8:
        return images, notes

    floating = images.dtype.kind == "f"
    if images.dtype.kind not in "iuf":
        raise UsageError(
            f"{name} has dtype {images.dtype}: must be integers in 0..255, floats in [0, 1] or bool"
        )
    with np.errstate(invalid="ignore"):  # of values that are not a number
        low, high, top = images.min(), images.max(), 1 if floating else 255
        if images.dtype == np.uint16 and (deep or high > 255):
            return images, notes
        if not (low >= 0 and high <= top):  # also where a value is not a number
            good = ((images >= 0) & (images <= top)).reshape(len(images), -1).all(axis=1)
            raise UsageError(
                f"{name} has {images.dtype} values from {low} to {high}: must be within [0, {top}]"
                + (" (or integers in 0..255)" if floating else " (uint16: in 0..65535)")
                + f"; the first image with others is number {good.argmin()}, counted from 0"
                + _mended(float(low), float(high), floating)
            )
    if floating:
        scaled = images * images.dtype.type(255)
        images = np.rint(scaled)
        if np.abs(images - scaled).max() > 0.2:  # more than float16's rounding, 0.13
            notes.append(f"{name}: floats are rounded to multiples of 1/255")
    return images.astype(np.uint8), notes


def to_sixteen(images: np.ndarray, name: str, maximum: int) -> np.ndarray:
    """Floats in [0, 1] as uint16 images, of which the brightest pixel is `maximum`.

    Raises:
        UsageError: they are not.
    """
    images = _with_channels(images, name)
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        raise UsageError(f"{name} has values from {low} to {high}: must be within [0, 1]")
    return np.rint(images * maximum).astype(np.uint16)


def _mended(low: float, high: float, floating: bool) -> str:
    """The call that brings images of such values into what is read."""
    if floating and -1 <= low < 0 and high <= 1:
        return (
            "; if they are in [-1, 1], give (images + 1) / 2 (--data.range -1 1 scales them back)"
        )
    if floating and low >= 0 and 1 < high <= 255:
        return "; if they are in 0..255, give images.round().astype(np.uint8)"
    if not floating and low >= 0 and high < 2**16:
        return "; if they have 16 bits, give images.astype(np.uint16)"
    return ""


def _with_channels(images: np.ndarray, name: str) -> np.ndarray:
    """The images with an axis of channels, the last one."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim == 4 and images.size and images.shape[-1] <= 4:
        return images
    hint = ""
    if images.ndim == 4 and images.size and images.shape[1] <= 4:
        hint = "; with channels first, give np.moveaxis(images, 1, -1)"
    elif images.ndim == 4 and images.size and images.shape[2] <= 4:
        hint = "; where the last axis counts the images, give np.moveaxis(images, -1, 0)"
    elif images.ndim == 2 and (sides := _sides(images.shape[1])):
        hint = f"; flattened images are given as images.reshape(-1, {', '.join(map(str, sides))})"
    raise UsageError(
        f"{name} has shape {images.shape}: must be (n, height, width) or (n, height, width,"
        f" channels), channels last, with at least one image and 1 to 4 channels{hint}"
    )


def _sides(number: int) -> tuple[int, ...] | None:
    """Height and width of a square image of so many values, of 8x8 at least; with its channels."""
    for channels in (1, 3):
        side = round((number / channels) ** 0.5)
        if side >= 8 and side * side * channels == number:
            return (side, side) if channels == 1 else (side, side, channels)
    return None


def to_values(values: np.ndarray, name: str) -> Checked:
    """Examples of numbers as float32 (n, ...); NaN: not observed.

    Raises:
        UsageError: shape, dtype or values are not those of numbers, or they plainly are images.
    """
    if values.ndim < 2 or values.size == 0:
        raise UsageError(f"{name} has shape {values.shape}: must be (n, ...), with n at least 1")
    if values.dtype.kind not in "biuf":
        raise UsageError(f"{name} has dtype {values.dtype}: must be numbers")
    sides = _sides(values.shape[1]) if values.ndim == 2 else None
    shape = "" if sides is None else ", ".join(map(str, sides))
    if values.dtype == np.uint8 and sides is not None:
        raise UsageError(
            f"{name} has shape {values.shape} of uint8, as flattened images have: give"
            f" images.reshape(-1, {shape}); or, of numbers that are none, values.astype(np.float32)"
        )
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    if bad := int(np.isinf(found).sum()):
        raise UsageError(f"{name} has {bad} infinite values: must be finite, or NaN where unknown")
    if np.isnan(found).all():
        raise UsageError(f"{name} has no value: all {found.size} are missing")
    notes = []
    if unknown := float(np.isnan(found).mean()):
        notes.append(f"{100 * unknown:.1f} % of the values are not a number: not observed")
    known = found[~np.isnan(found)]
    if sides is not None and known.size and known.min() >= 0 and known.max() <= 255:
        notes.append(
            f"read as rows of {values.shape[1]} values; flattened images are given as"
            f" images.reshape(-1, {shape})"
        )
    return found, notes


def to_labels(labels: np.ndarray, n: int, name: str, classes: Sequence[str] | None) -> Checked:
    """Labels as int32 (n,): integers, one-hot rows, whole floats, booleans, or names of classes.

    Args:
        labels: those of n examples; below 0: unlabelled.
        n: how many there must be.
        name: for messages.
        classes: `class_names` of all parts.

    Raises:
        UsageError: they are none of these.
    """
    notes = []
    if (
        labels.ndim == 2
        and len(labels) == n
        and labels.shape[1] > 1
        and labels.dtype.kind in "biuf"
    ):
        if not ((labels == 0) | (labels == 1)).all() or not (labels.sum(axis=1) == 1).all():
            raise UsageError(
                f"{name} has shape {labels.shape}: must be ({n},), one per image, or one-hot rows"
            )
        labels = labels.argmax(axis=1)
        notes.append("labels: one-hot rows, read as classes")
    if labels.shape not in ((n,), (n, 1)):
        raise UsageError(f"{name} has shape {labels.shape}: must be ({n},), one per image")
    labels = labels.reshape(-1)
    if classes is not None:
        index = {value: i for i, value in enumerate(classes)}
        return np.array([index[_text(value)] for value in labels.tolist()], np.int32), notes
    if labels.dtype == np.bool_:
        labels = labels.astype(np.int32)
    elif labels.dtype.kind == "f" and n and (np.rint(labels) == labels).all():
        labels = labels.astype(np.int64)
        notes.append("labels: whole floats, read as integers")
    if labels.dtype.kind not in "iu":
        raise UsageError(
            f"{name} has dtype {labels.dtype}: must be integers, one-hot rows or names of classes"
        )
    low, high, bounds = int(labels.min()), int(labels.max()), np.iinfo(np.int32)
    if low < bounds.min or high > bounds.max:
        raise UsageError(
            f"{name} has values from {low} to {high}: must be within [{bounds.min}, {bounds.max}]"
        )
    return labels.astype(np.int32), notes


def to_factors(
    factors: np.ndarray, n: int, name: str, names: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Factors by name, int32 (n,) each, of integers (n, factors).

    Args:
        factors: those of n examples.
        n: how many there must be.
        name: for messages.
        names: one for each factor; None: factor_1, factor_2, ...

    Raises:
        UsageError: shapes, dtypes or values are others.
    """
    if factors.ndim != 2 or len(factors) != n or factors.dtype.kind not in "iu":
        raise UsageError(
            f"{name} has shape {factors.shape} of {factors.dtype}: must be integers of shape"
            f" ({n}, factors), a row per example"
        )
    bounds = np.iinfo(np.int32)
    if factors.size and not (factors.min() >= bounds.min and factors.max() <= bounds.max):
        raise UsageError(f"{name}: must be within [{bounds.min}, {bounds.max}]")
    columns = factors.shape[1]
    known = [f"factor_{i + 1}" for i in range(columns)] if names is None else names.tolist()
    text = names is None or names.dtype.kind == "U"
    if not text or np.shape(known) != (columns,) or len(set(known)) < columns:
        raise UsageError(
            f"factor_names = {reprlib.repr(known)}: must be {columns} different names, one for each"
            f" factor of {name}"
        )
    return dict(zip(known, factors.astype(np.int32).T, strict=True))


def class_names(labels: Sequence[np.ndarray]) -> tuple[str, ...] | None:
    """Names of classes, sorted, where labels are strings; None where they are numbers."""
    text = [part for part in labels if part.dtype.kind in "US"]
    if not text or len(text) != len(labels):
        return None
    return tuple(sorted({_text(value) for part in text for value in part.reshape(-1).tolist()}))


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
