"""Encoded images (PNG, JPEG, ...) to arrays, with Pillow: all at once, or when asked for.

An image has 8 bits per channel (uint8), or 16 where it is grey (uint16).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from jaxvae.checks import UsageError, require
from jaxvae.data.aspect import BACKGROUNDS, Size, corner, cropped, within
from jaxvae.data.headers import GREY_MODES, Encoded, Rules, bits_of, by, opened, read_header
from jaxvae.data.lazy import consecutive
from jaxvae.data.splits import Split


class Plan(NamedTuple):
    """What every image of a set is decoded to.

    `shape` is (height, width, channels) with 1 (grey) or 3 channels (RGB). `resized`: images of
    another size are resized to it, as `aspect` says; otherwise they are refused. What is
    transparent shows the `background`, 0 or 255, and so does what is around an image.
    """

    shape: tuple[int, int, int]
    resized: bool
    background: int = 255
    bits: int = 8
    aspect: str = "stretch"

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)


def decode(parts: dict[str, Encoded], rules: Rules) -> dict[str, Split]:
    """Decode all splits to one size and one number of channels.

    Images that are all grey give 1 channel, otherwise all are converted to RGB. What is transparent
    shows `rules.background`.

    Args:
        parts: the encoded images of each split.
        rules: with `resize`, images are resized to it (bilinear, antialiased) if their sizes
            differ or they have more pixels than that. Smaller images of one size stay as they are:
            they are resized on the device, unless `rules.on_host`.

    Raises:
        UsageError: an image is damaged, has several pages or more bits than are read, or sizes
            differ and nothing says which one is meant.
    """
    plan = _plan(parts, rules)
    splits = {}
    for key, part in parts.items():
        images = np.empty((len(part.files), *plan.shape), plan.dtype)
        for i, name in enumerate(part.names):
            images[i] = decode_image(part.files[i], name, plan)
        splits[key] = Split(images, part.labels)
    return splits


def decode_lazily(parts: dict[str, Encoded], rules: Rules) -> dict[str, Split]:
    """As `decode`, but only headers are read: images are decoded when they are asked for.

    Raises:
        UsageError: as `decode`; but damage beyond an image's header shows when it is decoded.
    """
    plan = _plan(parts, rules)
    files = [file for part in parts.values() for file in part.files]
    names = [name for part in parts.values() for name in part.names]
    images = consecutive(
        lambda numbers: (decode_image(files[i], names[i], plan) for i in numbers),
        [len(part.files) for part in parts.values()],
        plan.shape,
        plan.dtype,
    )
    return {
        key: Split(own, part.labels) for (key, part), own in zip(parts.items(), images, strict=True)
    }


def decode_image(file: Path | bytes, name: str, plan: Plan) -> np.ndarray:
    """One image as `plan` says, (height, width, channels); from any thread.

    Raises:
        UsageError: it is damaged, or of another size or depth than those that `plan` was made from;
            the message starts with `name`.
    """
    height, width, channels = plan.shape
    with opened(file, name) as image:
        if (found := bits_of(image, name)) != plan.bits:
            raise UsageError(
                f"{name}: {found} bits per channel, where the set has {plan.bits}: convert it"
            )
        # Copies of the image would take a sixth of the time where it is small.
        ImageOps.exif_transpose(image, in_place=True)
        if plan.bits == 16:
            pixels = _sixteen(image, name)
        else:
            pixels, mode = _on(image, plan.background), "L" if channels == 1 else "RGB"
            if pixels.mode != mode:
                pixels = pixels.convert(mode)
        if pixels.size != (width, height):
            if not plan.resized:
                raise UsageError(
                    f"{name}: {by(pixels.size)} (height x width), where the set has"
                    f" {by((width, height))}"
                )
            pixels = fitted(pixels, (height, width), plan.aspect, plan.background)
        array = np.asarray(pixels)
        return (array if plan.bits == 8 else np.rint(array).astype(np.uint16)).reshape(plan.shape)


def fitted(image: Image.Image, size: Size, aspect: str, background: int) -> Image.Image:
    """The image at another size, (height, width), bilinear, as `config.Data.aspect` says."""
    box, inner = None, size
    if aspect == "crop":
        top, left, height, width = cropped(image.size[::-1], size)
        box = left, top, left + width, top + height
    elif aspect == "pad":
        inner = within(image.size[::-1], size)
    image = image.resize(inner[::-1], Image.Resampling.BILINEAR, box)
    if inner == size:
        return image
    around = Image.new(image.mode, size[::-1], (background,) * len(image.getbands()))
    around.paste(image, corner(inner, size)[::-1])
    return around


def resized(images: np.ndarray, size: Size, aspect: str, background: int) -> np.ndarray:
    """uint8 images (n, height, width, channels) as Pillow resizes them, bilinear, rounded."""
    found = np.empty((len(images), *size, images.shape[-1]), np.uint8)
    for i, c in np.ndindex(len(images), images.shape[-1]):
        channel = Image.fromarray(np.ascontiguousarray(images[i, ..., c]))
        found[i, ..., c] = np.asarray(fitted(channel, size, aspect, background))
    return found


def _on(image: Image.Image, background: int) -> Image.Image:
    """The image on a background, where it is transparent."""
    if not image.has_transparency_data:
        return image
    colour = (background, background, background, 255)
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image.convert("RGBA"))


def _sixteen(image: Image.Image, name: str) -> Image.Image:
    """A grey image of 16 bits as floats, which Pillow resizes without rounding."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise UsageError(
            f"{name}: values from {values.min()} to {values.max()}: must be within 16 bits"
        )
    return Image.fromarray(values.astype(np.float32))


def _plan(parts: dict[str, Encoded], rules: Rules) -> Plan:
    """One size, depth and number of channels for all images, from their headers."""
    files = [file for part in parts.values() for file in part.files]
    names = [name for part in parts.values() for name in part.names]
    headers = [read_header(file, name) for file, name in zip(files, names, strict=True)]

    resize, sizes = rules.resize, [header.size for header in headers]
    odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is not None and resize is None:
        raise UsageError(
            f"{names[odd]}: {by(sizes[odd])} (height x width), but {names[0]} is {by(sizes[0])};"
            " give one size for all with --data.resize HEIGHT WIDTH, or one number for both"
        )
    width, height = sizes[0]
    larger = resize is not None and width * height > resize[0] * resize[1]
    resized = resize is not None and (odd is not None or larger or rules.on_host)
    if resize is not None and resized:
        height, width = resize
    bits = [header.bits for header in headers]
    other = next((i for i, depth in enumerate(bits) if depth != bits[0]), None)
    if other is not None:
        raise UsageError(
            f"{names[other]}: {bits[other]} bits per channel, but {names[0]} has {bits[0]}:"
            " convert one of them"
        )
    grey = all(header.mode in GREY_MODES for header in headers)
    if not grey and bits[0] == 16:
        raise UsageError(f"{names[0]}: 16 bits per channel: only grey images are read at that")
    shape = (height, width, 1 if grey else 3)
    if bits[0] == 16 and resized and rules.aspect == "pad":
        # The brightest pixel of the set is seen as 1, and white would be brighter than all.
        black = "'black' for data.aspect = 'pad' and files of 16 bits"
        require(rules.background == "black", "data.background", rules.background, black)
    return Plan(shape, resized, BACKGROUNDS[rules.background], bits[0], rules.aspect)
