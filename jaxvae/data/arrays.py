"""Images in a NumPy file: one array (.npy), or arrays by name (.npz)."""

from pathlib import Path

import numpy as np

from jaxvae.config import UsageError
from jaxvae.data.splits import Source, Split

TRAIN_NAMES = ("train_images", "x_train", "images")
"""Keys of a .npz file that may hold the training images; the first one present is used."""
LABELS = {
    "train_images": "train_labels",
    "x_train": "y_train",
    "images": "labels",
    "test_images": "test_labels",
    "x_test": "y_test",
}
"""The key that holds the labels, for each key of images."""


def load(path: Path) -> Source:
    """The images of a .npy or .npz file.

    A .npz file holds `images` (or just one array of rank 3 or 4) and optionally `labels`; or
    `train_images`, `train_labels`, `test_images`, `test_labels`; or `x_train`, `y_train`,
    `x_test`, `y_test`. Images are (n, height, width) or (n, height, width, channels) with 1 to 4
    channels: integers in 0..255, floats in [0, 1], or booleans.

    Raises:
        ValueError: the file is damaged, holds Python objects, or its arrays do not fit the above.
    """
    try:
        # allow_pickle=False: a file that somebody shares must not be able to run code.
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                arrays = {"images": content}
            else:
                arrays = {name: content[name] for name in content.files}
    except Exception as error:  # zip, zlib, NumPy and the file system each raise their own
        raise UsageError(f"{path}: not a readable NumPy file ({error})") from error

    train = next((name for name in TRAIN_NAMES if name in arrays), None)
    if train is None:
        candidates = [name for name, array in arrays.items() if array.ndim in (3, 4)]
        if len(candidates) != 1:
            raise UsageError(
                f"{path}: needs an array named `images` or `train_images`, or exactly one of rank"
                f" 3 or 4; it holds {sorted(arrays)}"
            )
        train = candidates[0]
    test = next((name for name in ("test_images", "x_test") if name in arrays), None)

    source = Source(
        name=path.stem,
        train=_split(path, arrays, train),
        test=None if test is None else _split(path, arrays, test),
        classes=None,
        description=f"images of {path.name}",
    )
    if source.test is not None and source.test.images.shape[1:] != source.train.images.shape[1:]:
        raise UsageError(
            f"{path}: training and test images differ in shape,"
            f" {source.train.images.shape[1:]} and {source.test.images.shape[1:]}"
        )
    return source


def _split(path: Path, arrays: dict[str, np.ndarray], name: str) -> Split:
    images = to_uint8(arrays[name], f"{path}: {name}")
    key = LABELS.get(name, "labels")
    if key not in arrays:
        return Split(images, None)
    labels = arrays[key]
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise UsageError(
            f"{path}: {key} has shape {labels.shape}: must be ({len(images)},), one per image"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: {key} has dtype {labels.dtype}: must be integers")
    return Split(images, labels.reshape(-1).astype(np.int32))


def to_uint8(images: np.ndarray, name: str) -> np.ndarray:
    """Images as uint8 (n, height, width, channels); floats in [0, 1] become round(255 x).

    Raises:
        ValueError: shape, dtype or values are not those of images; the message starts with `name`.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.size == 0 or images.shape[-1] > 4:
        raise UsageError(
            f"{name} has shape {images.shape}: must be (n, height, width) or (n, height, width,"
            " channels) with at least one image and 1 to 4 channels"
        )
    if images.dtype == np.bool_:
        return images.astype(np.uint8) * np.uint8(255)
    if images.dtype == np.uint8:
        return images

    floating = np.issubdtype(images.dtype, np.floating)
    if not floating and not np.issubdtype(images.dtype, np.integer):
        raise UsageError(
            f"{name} has dtype {images.dtype}: must be integers in 0..255, floats in [0, 1] or bool"
        )
    low, high, top = images.min(), images.max(), 1 if floating else 255
    if not (low >= 0 and high <= top):  # also where a value is not a number
        raise UsageError(
            f"{name} has {images.dtype} values from {low} to {high}: must be within [0, {top}]"
            + (" (or integers in 0..255)" if floating else "")
        )
    if floating:
        images = np.rint(images * 255)
    return images.astype(np.uint8)
