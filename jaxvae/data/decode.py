"""Encoded images (PNG, JPEG, ...) to uint8 arrays, with Pillow: all at once, or when asked for."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.ImageFile import ImageFile

from jaxvae.checks import UsageError
from jaxvae.data.lazy import consecutive
from jaxvae.data.splits import Split

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What a file may hold, whatever it is called: Pillow would start Ghostscript for PostScript."""
GREY_MODES = ("1", "L", "LA")
"""Pillow's modes of grey 8-bit images (1 bit is widened to 0 and 255)."""


class Encoded(NamedTuple):
    """Encoded images of one split: paths or file contents, a name of each for errors, labels."""

    files: Sequence[Path] | Sequence[bytes]
    names: Sequence[str]
    labels: np.ndarray | None


class Plan(NamedTuple):
    """What every image of a set is decoded to.

    `shape` is (height, width, channels) with 1 (grey) or 3 channels (RGB). `resized`: images of
    another size are resized to it; otherwise they are refused.
    """

    shape: tuple[int, int, int]
    resized: bool


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
    plan = _plan(parts, resize)
    splits = {}
    for key, part in parts.items():
        images = np.empty((len(part.files), *plan.shape), np.uint8)
        for i, name in enumerate(part.names):
            images[i] = decode_image(part.files[i], name, plan)
        splits[key] = Split(images, part.labels)
    return splits


def decode_lazily(parts: dict[str, Encoded], resize: tuple[int, int] | None) -> dict[str, Split]:
    """As `decode`, but only headers are read: images are decoded when they are asked for.

    Raises:
        ValueError: as `decode`; but damage beyond an image's header shows when it is decoded.
    """
    plan = _plan(parts, resize)
    files = [file for part in parts.values() for file in part.files]
    names = [name for part in parts.values() for name in part.names]
    images = consecutive(
        lambda numbers: (decode_image(files[i], names[i], plan) for i in numbers),
        [len(part.files) for part in parts.values()],
        plan.shape,
    )
    return {
        key: Split(own, part.labels) for (key, part), own in zip(parts.items(), images, strict=True)
    }


def decode_image(file: Path | bytes, name: str, plan: Plan) -> np.ndarray:
    """One image as `plan` says, uint8 (height, width, channels); from any thread.

    Raises:
        ValueError: it is damaged, has more than 8 bits per channel, or is of another size than
            those that `plan` was made from; the message starts with `name`.
    """
    height, width, channels = plan.shape
    with _opened(file, name) as image:
        _check_depth(image.mode, name)
        pixels = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
        if pixels.size != (width, height):
            if not plan.resized:
                raise UsageError(
                    f"{name}: {_by(pixels.size)} (height x width), where the set has"
                    f" {_by((width, height))}"
                )
            pixels = pixels.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(pixels).reshape(plan.shape)


def _plan(parts: dict[str, Encoded], resize: tuple[int, int] | None) -> Plan:
    """One size and one number of channels for all images, from their headers."""
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
    resized = resize is not None and (odd is not None or width * height > resize[0] * resize[1])
    if resize is not None and resized:
        height, width = resize
    grey = all(mode in GREY_MODES for _, mode in headers)
    return Plan((height, width, 1 if grey else 3), resized)


def _header(file: Path | bytes, name: str) -> tuple[tuple[int, int], str]:
    """An image's (width, height) and mode, without decoding its pixels."""
    with _opened(file, name) as image:
        size, mode = image.size, image.mode
        if _exif(image).get(ExifTags.Base.Orientation, 1) >= 5:  # lying on its side
            size = size[::-1]
        _check_depth(mode, name)
    return size, mode


def _exif(image: ImageFile) -> Image.Exif:
    """The EXIF data of an image that is just opened, without decoding its pixels."""
    if image.format != "PNG" or image.fp is None:
        return image.getexif()
    # Pillow decodes a PNG's pixels to see whether EXIF data follow them, which they rarely do.
    image.fp.seek(8)
    chunks = []
    while len(head := image.fp.read(8)) == 8:
        chunks.append(head[4:])
        image.fp.seek(int.from_bytes(head[:4], "big") + 4, os.SEEK_CUR)
    behind = chunks[chunks.index(b"IDAT") :]
    late = not {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}.isdisjoint(behind)
    return image.getexif() if late else Image.Image.getexif(image)


def _check_depth(mode: str, name: str) -> None:
    if mode.startswith(("I", "F")):
        raise UsageError(f"{name}: Pillow mode {mode!r}; convert it to 8 bits per channel")


def _check_pixels(size: tuple[int, int]) -> None:
    """Refuse an image of more pixels than Pillow finds plausible; it warns, up to twice as many."""
    pixels, most = size[0] * size[1], Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"Image size ({pixels} pixels) exceeds limit of {most} pixels")


@contextmanager
def _opened(file: Path | bytes, name: str) -> Iterator[ImageFile]:
    """The opened image; whatever goes wrong with it becomes a ValueError that names it."""
    try:
        stream = file if isinstance(file, Path) else io.BytesIO(file)
        with Image.open(stream, formats=FORMATS) as image:
            _check_pixels(image.size)
            yield image
    except UsageError:
        raise
    except Exception as error:  # each of Pillow's decoders raises its own types on damaged files
        raise UsageError(f"{name}: not a readable image ({error})") from error


def _by(size: tuple[int, int]) -> str:
    width, height = size
    return f"{height}x{width}"
