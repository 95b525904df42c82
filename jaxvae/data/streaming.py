"""Batches read from files ahead of their use, by threads."""

import math
import os
from collections.abc import Generator

import numpy as np

from jaxvae.checks import absent
from jaxvae.data.lazy import LazyImages

READ_AHEAD_BYTES = 64 * 2**20
"""Decoded images that wait for their use, at most; one batch where a batch is larger."""
MAX_THREADS = 16
"""Threads that read and decode, where there are as many processors."""


def stream(
    images: LazyImages, batches: np.ndarray, chunk: int
) -> Generator[np.ndarray, None, None]:
    """The images of `batches`, in this order, several batches at a time.

    Nothing is read before the first chunk is asked for. Closing the iterator stops its threads.

    Args:
        images: where they are read from.
        batches: the positions in `images` of each step's examples, integers (steps, batch).
        chunk: steps per array.

    Yields:
        arrays (m, batch, height, width, channels), where m is `chunk`, or what is left at the end.

    Raises:
        ValueError: an image is damaged; the message names it.
        UsageError: Grain is not installed.
    """
    try:
        import grain  # here, because only runs that stream need it
    except ImportError as error:
        raise absent("data.streaming = True", "Grain", "jaxvae[stream]") from error

    steps, batch_size = batches.shape
    batch_shape = (batch_size, *images.shape[1:])
    buffered = max(1, READ_AHEAD_BYTES // math.prod(batch_shape))
    # Threads suffice, for Pillow decodes without holding the interpreter. Worker processes
    # (`mp_prefetch`) of Grain 0.2.17 and 0.2.18 fail unless absl has parsed the command line.
    options = grain.ReadOptions(
        num_threads=min(MAX_THREADS, os.cpu_count() or 1, buffered), prefetch_buffer_size=buffered
    )
    dataset = grain.MapDataset.range(steps).map(lambda step: images[batches[step]])
    reader = iter(dataset.to_iter_dataset(options))
    try:
        for start in range(0, steps, chunk):
            count = min(chunk, steps - start)
            # Filled as batches arrive: a list that is stacked would need the memory twice.
            yield np.fromiter(reader, np.dtype((images.dtype, batch_shape)), count)
    finally:
        reader.close()
