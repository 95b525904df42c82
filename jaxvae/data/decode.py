"""Encoded images (PNG, JPEG, ...) to one uint8 array per split, with Pillow."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from jaxvae.config import UsageError
from jaxvae.data.splits import Split

GREY_MODES = ("1", "L", "LA")
"""Pillow's modes of grey 8-bit images (1 bit is widened to 0 and 255)."""


class Encoded(NamedTuple):
    """Encoded images of one split: paths or file contents, a name of each for errors, labels."""

    files: Sequence[Path] | Sequence[bytes]
    names: Sequence[str]
    labels: np.ndarray | None


def decode(parts: dict[str, Encoded], resize: tuple[int, int] | None) -> dict[str, Split]:
    """Decode all splits to one size and one number of channels.

    Images that are all grey give 1 channel, otherwise all are converted to RGB; alpha is dropped.

    Args:
        parts: the encoded images of each split.
        resize: height and width that images are resized to (bilinear, antialiased) if their sizes
            differ or they have more pixels than that. Smaller images of one size stay as they are:
            they are resized on the device.

    Raises:
        ValueError: an image is damaged or has more than 8 bits per channel, or sizes differ and
            `resize` is None.
    """
    files = [file for part in parts.values() for file in part.files]
    names = [name for part in parts.values() for name in part.names]
    headers = [_header(file, name) for file, name in zip(files, names, strict=True)]

    sizes = [size for size, _ in headers]
    odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is not None and resize is None:
        raise UsageError(
            f"{names[odd]}: {_by(sizes[odd])} (height x width), but {names[0]} is {_by(sizes[0])};"
            " give one size for all with --data.resize HEIGHT WIDTH"
        )
    width, height = sizes[0]
    if resize is not None and (odd is not None or width * height > resize[0] * resize[1]):
        height, width = resize

    grey = all(mode in GREY_MODES for _, mode in headers)
    images = np.empty((len(files), height, width, 1 if grey else 3), np.uint8)
    for i, (file, name) in enumerate(zip(files, names, strict=True)):
        with _opened(file, name) as image:
            pixels = ImageOps.exif_transpose(image).convert("L" if grey else "RGB")
            if pixels.size != (width, height):
                pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
            images[i] = np.asarray(pixels).reshape(images.shape[1:])

    splits, start = {}, 0
    for key, part in parts.items():
        splits[key] = Split(images[start : start + len(part.files)], part.labels)
        start += len(part.files)
    return splits


def _header(file: Path | bytes, name: str) -> tuple[tuple[int, int], str]:
    """An image's (width, height) and mode, without decoding its pixels."""
    with _opened(file, name) as image:
        size, mode = image.size, image.mode
        if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # lying on its side
            size = size[::-1]
    if mode.startswith(("I", "F")):
        raise UsageError(f"{name}: Pillow mode {mode!r}; convert it to 8 bits per channel")
    return size, mode


@contextmanager
def _opened(file: Path | bytes, name: str) -> Iterator[Image.Image]:
    """The opened image; whatever goes wrong with it becomes a ValueError that names it."""
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file)) as image:
            yield image
    except Exception as error:  # each of Pillow's decoders raises its own types on damaged files
        raise UsageError(f"{name}: not a readable image ({error})") from error


def _by(size: tuple[int, int]) -> str:
    width, height = size
    return f"{height}x{width}"
