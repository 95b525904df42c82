"""Images that stay in their files and are decoded when they are asked for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

import numpy as np

Reader = Callable[[list[int]], Iterable[np.ndarray]]
"""Reads and decodes records in the order given: each (height, width, channels).

It is called by several threads at once.
"""


@dataclass(frozen=True, eq=False)
class LazyImages:
    """Images of a set that need not fit into memory, in the place of an array.

    `shape`, `dtype`, `ndim`, `len` and `take` are those of an array (n, height, width, channels)
    and decode nothing. Indexing decodes just what it returns. Several threads may do so at once.
    """

    read: Reader
    records: np.ndarray
    """The record of each image, integers (n,)."""
    image_shape: tuple[int, int, int]
    """(height, width, channels)."""

    dtype: np.dtype = np.dtype(np.uint8)  # noqa: RUF009  # which never changes
    """uint8 or uint16."""

    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self), *self.image_shape)

    def __len__(self) -> int:
        return len(self.records)

    def take(self, indices: np.ndarray, axis: Literal[0] = 0) -> "LazyImages":
        """The images at `indices`, still in their files."""
        return replace(self, records=self.records.take(indices, axis=axis))

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Decoded images (m, height, width, channels), of a slice or an array of integers.

        Raises:
            ValueError: an image is damaged; the message names it.
        """
        records = self.records[index].tolist()
        images = np.dtype((self.dtype, self.image_shape))
        return np.fromiter(self.read(records), images, len(records))

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        # Without this, NumPy would take it for a sequence and decode the whole set.
        raise TypeError("images that stay in their files become an array by indexing: images[:]")


def consecutive(
    read: Reader,
    counts: Sequence[int],
    image_shape: tuple[int, int, int],
    dtype: np.dtype = np.dtype(np.uint8),  # noqa: B008
) -> list[LazyImages]:
    """The first counts[0] records, the next counts[1], and so on, as images."""
    ends = np.cumsum(counts)
    return [
        LazyImages(read, np.arange(end - count, end), image_shape, dtype)
        for count, end in zip(counts, ends, strict=True)
    ]


def concatenate(parts: Sequence[np.ndarray | LazyImages]) -> np.ndarray | LazyImages:
    """The images of several splits of one source, one after the other; nothing is decoded."""
    lazy = [part for part in parts if isinstance(part, LazyImages)]
    if lazy:  # the splits of a source share what reads their records
        return replace(lazy[0], records=np.concatenate([part.records for part in lazy]))
    return np.concatenate([part for part in parts if isinstance(part, np.ndarray)])
