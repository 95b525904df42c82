"""What the headers of encoded images (PNG, JPEG, ...) say, with Pillow."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from jaxvae.checks import UsageError
from jaxvae.config import Data

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What a file may hold, whatever it is called: Pillow would start Ghostscript for PostScript."""
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
)
"""File names that count as images, in any case; other files are not read, nor hidden ones."""
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of grey images (1 bit is widened to 0 and 255)."""
SURVEYED = 1000
"""Headers that are read before anything is said of a set; those of a small set all are."""


class Rules(NamedTuple):
    """What is done with images that differ: settings of `config.Data`."""

    resize: tuple[int, int] | None
    background: Literal["white", "black"] = "white"
    on_host: bool = False  # Pillow resizes every image, in whole numbers
    aspect: Literal["stretch", "crop", "pad"] = "stretch"


def rules_of(data: Data) -> Rules:
    """Those that settings ask for."""
    return Rules(data.resize, data.background, data.resize_rule == "pillow", data.aspect)


class Encoded(NamedTuple):
    """Encoded images of one split: paths or file contents, a name of each for errors, labels."""

    files: Sequence[Path] | Sequence[bytes]
    names: Sequence[str]
    labels: np.ndarray | None


class Header(NamedTuple):
    """What an image's header says."""

    size: tuple[int, int]  # width and height as it is shown
    mode: str  # Pillow's
    form: str  # PNG, JPEG, ...
    transparent: bool

    @property
    def bits(self) -> int:
        """Per channel."""
        return 16 if self.mode.startswith("I") else 8


def survey(parts: dict[str, Encoded]) -> list[Header]:
    """Headers of up to `SURVEYED` images, evenly spaced."""
    pairs = [pair for part in parts.values() for pair in zip(part.files, part.names, strict=True)]
    chosen = np.unique(np.linspace(0, len(pairs) - 1, SURVEYED).astype(int))
    return [read_header(*pairs[i]) for i in chosen.tolist()]


def described(headers: list[Header], rules: Rules) -> tuple[str, list[str]]:
    """What such images are, in words, and what will be done with some of them."""
    sizes = sorted({header.size for header in headers}, key=lambda size: size[0] * size[1])
    channels = 1 if all(header.mode in GREY_MODES for header in headers) else 3
    size = by(sizes[0]) if len(sizes) == 1 else f"{by(sizes[0])} to {by(sizes[-1])}"
    forms = [form for form, _ in Counter(header.form for header in headers).most_common()]
    bits = "16" if all(header.bits == 16 for header in headers) else "8"
    what = f"images of {size}x{channels} (height x width x channels; {', '.join(forms)} of {bits}"
    notes = []
    if len(sizes) > 1 and rules.resize is not None and rules.aspect == "stretch":
        height, width = rules.resize
        odd = any(size[0] * height != size[1] * width for size in sizes)
        stretched = ", and stretched (data.aspect)" if odd else ""
        notes.append(f"all are resized to {by((width, height))}{stretched}")
    some = sum(header.mode in GREY_MODES for header in headers)
    if channels == 3 and some:
        notes.append(f"{some} of {len(headers)} are grey, and made RGB")
    if see_through := sum(header.transparent for header in headers):
        shown = f"drawn on {rules.background} (data.background)"
        notes.append(f"{see_through} of {len(headers)} have transparency: {shown}")
    return f"{what} bits per channel)", notes


def read_header(file: Path | bytes, name: str) -> Header:
    """What an image's header says, without decoding its pixels."""
    with opened(file, name) as image:
        size = image.size
        if _exif(image).get(ExifTags.Base.Orientation, 1) >= 5:  # lying on its side
            size = size[::-1]
        bits_of(image, name)
        # Of an animation, or of a stack in a TIFF; cameras put a preview behind a JPEG's image.
        pages = 1 if image.format == "JPEG" else getattr(image, "n_frames", 1)
        if pages > 1:
            raise UsageError(
                f"{name}: {pages} pages or frames, and a file here is one image; save them as an"
                " array: np.save('images.npy', np.stack([np.asarray(page) for page in"
                f" PIL.ImageSequence.Iterator(PIL.Image.open({Path(name).name!r}))]))"
            )
        return Header(size, image.mode, str(image.format), image.has_transparency_data)


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


def bits_of(image: ImageFile, name: str) -> int:
    """Bits per channel, 8 or 16, of an image that is just opened."""
    if image.mode.startswith("F"):
        raise UsageError(
            f"{name}: floating-point pixels: convert it to 8 or 16 bits, or save the images as .npy"
        )
    if image.mode.startswith("I"):
        return 16
    # Pillow reads colours of 16 bits as 8 without a word; what its decoder is told shows them.
    args = image.tile[0].args if image.tile else ""
    told = args if isinstance(args, tuple) else (args,)
    deep = any(isinstance(part, str) and part.endswith((";16B", ";16L", ";16N")) for part in told)
    if image.format == "PPM":  # there it is told the largest value
        deep = any(isinstance(part, int) and part > 255 for part in told)
    if deep:
        raise UsageError(
            f"{name}: 16 bits per channel in {image.mode}, of which Pillow keeps 8: convert it to 8"
            " bits, or save the images as .npy of uint16"
        )
    return 8


def _check_pixels(size: tuple[int, int]) -> None:
    """Refuse an image of more pixels than Pillow finds plausible; it warns, up to twice as many."""
    pixels, most = size[0] * size[1], Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"Image size ({pixels} pixels) exceeds limit of {most} pixels")


@contextmanager
def opened(file: Path | bytes, name: str) -> Iterator[ImageFile]:
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


def by(size: tuple[int, int]) -> str:
    """A (width, height) as it is written: height first."""
    width, height = size
    return f"{height}x{width}"
