"""IDX files: what they hold, and what is refused when they are damaged or hostile."""

import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest

from jaxvae.checks import UsageError
from jaxvae.data import idx
from tests.data import archives


def read(content: bytes, rank: int = 3) -> np.ndarray:
    return idx.read(idx.Named(io.BytesIO(content), "NAME"), rank)


def test_images_and_labels_as_they_were_written(tmp_path):
    images, labels = archives.pixels(5, shape=(3, 4)), np.array([3, 0, 9, 1, 1])
    for pack in (bytes, gzip.compress):
        (tmp_path / "images").write_bytes(pack(archives.idx(images)))  # by content, not by name
        (tmp_path / "labels").write_bytes(pack(archives.idx(labels)))
        split = idx.read_split(tmp_path / "images", tmp_path / "labels", 10)
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int32
        np.testing.assert_array_equal(split.images, images[..., None])
        np.testing.assert_array_equal(split.labels, labels)


def test_pieces_join_without_loss(monkeypatch):
    monkeypatch.setattr(idx, "PIECE", 7)
    images = archives.pixels(5, shape=(3, 4))
    np.testing.assert_array_equal(read(gzip.compress(archives.idx(images))), images)


GOOD = archives.idx(archives.pixels(2, shape=(3, 4)))
OF = dict(zip(("magic", "n", "height", "width"), range(0, 16, 4), strict=True))


def with_field(name: str, value: int, content: bytes = GOOD) -> bytes:
    return content[: OF[name]] + struct.pack(">I", value) + content[OF[name] + 4 :]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "ends within its header, after 0 of 16 bytes"),
        (GOOD[:15], "ends within its header, after 15 of 16 bytes"),
        (with_field("magic", 2049), "magic number is 2049: must be 2051"),
        (with_field("magic", 0x0C03), "magic number is 3075: must be 2051"),  # int32
        (with_field("n", 3), r"announces 36 bytes, of shape \[3, 3, 4\], but it holds at most 24"),
        (with_field("n", 1), r"announces 12 bytes, of shape \[1, 3, 4\], but it holds more"),
        (with_field("width", 2**32 - 1), "announces 25769803770 bytes"),
        (GOOD[:-1], "but it holds at most 23"),
        (GOOD + b"\0", "but it holds more"),
        (b"\x1f\x8b", "not a readable IDX file"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"nonsense", "not a readable IDX file"),
    ],
)
def test_damaged_files_are_refused(content, message):
    with pytest.raises(UsageError, match=f"NAME: .*{message}"):
        read(content)
    if not content.startswith(idx.GZIP):
        # Compressed, a file could hold more than its own bytes: less is then found by reading.
        with pytest.raises(UsageError, match="NAME: not a readable IDX file"):
            read(gzip.compress(content))


def test_a_flipped_bit_in_a_compressed_file_is_noticed():
    """By gzip's checksum: at level 0 the bytes stand there as they are; the bit is a pixel's."""
    packed = bytearray(gzip.compress(GOOD, 0))
    packed[packed.index(GOOD) + 20] ^= 1
    with pytest.raises(UsageError, match="CRC"):
        read(bytes(packed))
    with pytest.raises(UsageError, match="not a readable IDX file"):
        read(gzip.compress(GOOD)[:-3])


def test_no_memory_is_taken_for_what_a_header_announces():
    """2^31 images that a file of 4 MB could hold by gzip's largest ratio, but does not."""
    header = struct.pack(">4I", 2051, 2**31, 1, 1)
    noise = np.random.default_rng(0).bytes(4 * 2**20)
    content = gzip.compress(header + noise, 0)
    assert idx.DEFLATED * len(content) > 2**31
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=f"announces {2**31} bytes.*holds {len(noise)}"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(noise)
    finally:
        tracemalloc.stop()


def test_a_bomb_is_read_as_far_as_its_header_says():
    """64 MB of zeros in 64 KB, which announce one image."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=9) as file:
        file.write(struct.pack(">4I", 2051, 1, 28, 28))
        for _ in range(64):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"announces 784 bytes.*holds more"):
            read(stream.getvalue())
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (archives.pixels(3), [0, 1], "LABELS: has 2 labels for 3 images"),
        (archives.pixels(3), [0, 10, 255], r"LABELS: label 255 of image 2: must be in 0\.\.9"),
        (archives.pixels(0), [], r"IMAGES: holds no images; its shape is \(0, 28, 28\)"),
        (archives.pixels(2, shape=(0, 5)), [1, 2], "IMAGES: holds no images"),
    ],
)
def test_splits_that_do_not_fit_are_refused(images, labels, message):
    pair = (archives.idx(images), archives.idx(np.array(labels, int)))
    named = [idx.Named(io.BytesIO(c), n) for c, n in zip(pair, ("IMAGES", "LABELS"), strict=True)]
    with pytest.raises(UsageError, match=message):
        idx.to_split(*named, 10)
