"""Images and labels in IDX files, the format of MNIST, compressed by gzip or not.

A file is a magic number (0, 0, the type, the rank), the lengths of the axes as big-endian uint32,
and the values: https://web.archive.org/web/2022/http://yann.lecun.com/exdb/mnist/ (at its end).
"""

import gzip
import math
import os
import reprlib
import struct
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data.arrays import DEFLATED
from jaxvae.data.splits import Split

UINT8 = 0x0800
"""The magic number of unsigned bytes, less the rank."""
GZIP = b"\x1f\x8b"
"""What a compressed file begins with, whatever it is called."""
PIECE = 2**20
"""Bytes that are read at once: memory is taken as they come, not as a header announces them."""


class Named(NamedTuple):
    """An open file that can seek, and what errors call it."""

    file: IO[bytes]
    name: str


def read_split(images: Path, labels: Path, classes: int) -> Split:
    """The images and labels of two files: uint8 (n, height, width, 1) and int32 (n,).

    Raises:
        UsageError: as `to_split`.
        OSError: a file cannot be opened.
    """
    with images.open("rb") as image_file, labels.open("rb") as label_file:
        return to_split(Named(image_file, str(images)), Named(label_file, str(labels)), classes)


def to_split(images: Named, labels: Named, classes: int) -> Split:
    """As `read_split`, of two open files.

    Raises:
        UsageError: a file is damaged or another kind of file, there are no images, or not as many
            labels, or a label is not below `classes`.
    """
    pixels, numbers = read(images, rank=3), read(labels, rank=1)
    if not pixels.size:
        raise UsageError(f"{images.name}: holds no images; its shape is {pixels.shape}")
    if len(pixels) != len(numbers):
        raise UsageError(f"{labels.name}: has {len(numbers)} labels for {len(pixels)} images")
    check_labels(numbers, classes, labels.name)
    return Split(pixels[..., None], numbers.astype(np.int32))


def check_labels(labels: np.ndarray, classes: int, name: str) -> None:
    """Raise a UsageError, which begins with `name`, where a label is not below `classes`."""
    i = int(labels.argmax())
    if labels[i] >= classes:
        raise UsageError(f"{name}: label {labels[i]} of image {i}: must be in 0..{classes - 1}")


def read(named: Named, rank: int) -> np.ndarray:
    """The array of an IDX file, uint8: of rank 3 for images (n, height, width), 1 for labels (n,).

    Raises:
        UsageError: it is damaged, or another kind of file.
    """
    file, name = named
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        is_packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if is_packed:
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return _read(unpacked, DEFLATED * size, rank)
        return _read(file, size, rank)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UsageError(f"{name}: not a readable IDX file ({error})") from error


def _read(file: IO[bytes] | gzip.GzipFile, largest: int, rank: int) -> np.ndarray:
    """The array of a file that holds at most `largest` bytes."""
    length = 4 * (1 + rank)
    header = file.read(length)
    if len(header) < length:
        raise ValueError(f"it ends within its header, after {len(header)} of {length} bytes")
    magic, *shape = struct.unpack(f">{1 + rank}I", header)
    if magic != UINT8 + rank:
        raise ValueError(
            f"its magic number is {magic}: must be {UINT8 + rank}, uint8 of rank {rank}"
        )
    needed = math.prod(shape)
    announced = f"its header announces {needed} bytes, of shape {reprlib.repr(shape)}, but it holds"
    if needed > largest - length:
        raise ValueError(f"{announced} at most {max(0, largest - length)}")
    content = bytearray()
    # One byte more than announced is asked for: at the end of the file gzip compares its checksum.
    while piece := file.read(min(PIECE, needed + 1 - len(content))):
        content += piece
        if len(content) > needed:
            raise ValueError(f"{announced} more")
    if len(content) < needed:
        raise ValueError(f"{announced} {len(content)}")
    return np.frombuffer(content, np.uint8).reshape(shape)
