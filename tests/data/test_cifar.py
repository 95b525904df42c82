"""CIFAR-10 in its binary version."""

import gzip
import io
import tarfile
import tracemalloc

import numpy as np
import pytest

from jaxvae.checks import UsageError
from jaxvae.data import cifar
from tests.data import archives


@pytest.fixture
def archive(tmp_path):
    """Write an archive of these bytes and return its path."""

    def write(content):
        path = tmp_path / "a.tar.gz"
        path.write_bytes(content)
        return path

    return write


def check(splits):
    for key, names in cifar.PARTS.items():
        first = 5 if key == "test" else 0
        want = np.concatenate(
            [archives.pixels(2, first + k, (3, 32, 32)) for k in range(len(names))]
        )
        images, labels, *_ = splits[key]
        assert images.shape == (2 * len(names), 32, 32, 3) and images.dtype == np.uint8
        for channel in range(3):
            np.testing.assert_array_equal(images[..., channel], want[:, channel])
        assert labels.dtype == np.int32
        assert labels.tolist() == [first + k + i for k in range(len(names)) for i in range(2)]


def test_a_folder_and_an_archive(tmp_path, archive):
    files = archives.cifar_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    check(cifar.read_folder(tmp_path))
    # In any order, among others, below any folder; nothing is unpacked.
    more = {"batches.meta.txt": b"airplane\n", **dict(reversed(files.items()))}
    before = sorted(tmp_path.iterdir())
    for prefix in ("cifar-10-batches-bin/", "", "../../", "/etc/"):
        path = archive(archives.tar_gz(more, prefix))
        check(cifar.read_archive(path))
    assert sorted(tmp_path.iterdir()) == sorted([*before, path])


def test_files_that_are_missing_or_no_records(tmp_path, archive):
    files = archives.cifar_files()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "data_batch_3.bin").unlink()
    with pytest.raises(UsageError, match=r"needs data_batch_3\.bin, which is not in this folder"):
        cifar.read_folder(tmp_path)
    del files["data_batch_3.bin"], files["test_batch.bin"]
    with pytest.raises(UsageError, match=r"needs data_batch_3\.bin, test_batch\.bin, which"):
        cifar.read_archive(archive(archives.tar_gz(files)))
    for content in (b"", bytes(3072), bytes(3074)):
        (tmp_path / "data_batch_3.bin").write_bytes(content)
        with pytest.raises(UsageError, match=rf"3\.bin: has {len(content)} bytes: .* of 3073"):
            cifar.read_folder(tmp_path)


@pytest.mark.parametrize("label", [10, 255])
def test_a_label_above_9(tmp_path, archive, label):
    files = archives.cifar_files()
    content = bytearray(files["data_batch_2.bin"])
    content[cifar.RECORD] = label
    files["data_batch_2.bin"] = bytes(content)
    with pytest.raises(UsageError, match=rf"batch_2\.bin: label {label} of image 1: .* 0\.\.9"):
        cifar.read_archive(archive(archives.tar_gz(files)))


def test_pickles_are_named_and_not_read(archive):
    with pytest.raises(UsageError, match="pickled"):
        cifar.read_archive(archive(archives.tar_gz({"data_batch_1": b"\x80\x04."})))


def member(name: str, size: int, kind: bytes = tarfile.REGTYPE, **fields) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def announcing(size: int) -> bytes:
    """The header of a file that is to be skipped, with a size that only GNU's base 256 can say."""
    header = bytearray(member("other", 0))
    header[124:136] = b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def packed(*parts: bytes) -> bytes:
    """These bytes, gzipped piece by piece, so that a bomb takes no memory here."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        for part in parts:
            file.write(part)
    return stream.getvalue()


MEGABYTE = bytes(2**20)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not a readable archive"),
        (b"nonsense", "not a readable archive"),
        (packed(b"nonsense" * 100), "not a readable archive"),
        (packed(member("data_batch_1.bin", 2**40)), "not a readable archive"),
        (packed(member("data_batch_1.bin", 2**40), *[MEGABYTE] * 20), "not a readable archive"),
        (packed(announcing(2**80)), "it ends within a member"),  # would be skipped block by block
        (packed(member("x" * 200, 0), *[member("a", 0)] * 1000), "needs data_batch_1.bin"),
        (archives.tar_gz(archives.cifar_files())[:-50_000], "not a readable archive"),
        (packed(member("test_batch.bin", 0, tarfile.SYMTYPE, linkname="/etc/passwd")), "needs"),
        (packed(member("test_batch.bin", 0, tarfile.LNKTYPE, linkname="test_batch.bin")), "needs"),
        (packed(member("test_batch.bin", 0, tarfile.FIFOTYPE)), "needs"),
        (packed(member("test_batch.bin", 0), member("test_batch.bin", 0)), "twice"),
    ],
)
def test_hostile_archives_are_refused(archive, content, message):
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=rf"a\.tar\.gz: .*{message}") as caught:
            cifar.read_archive(archive(content))
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        member("other", 400 * 2**20),  # has to be read to get behind it
        member("././@LongLink", 400 * 2**20, tarfile.GNUTYPE_LONGNAME),  # a name
        member("pax", 400 * 2**20, tarfile.XHDTYPE),  # names of fields
    ],
)
def test_a_bomb_is_not_read_to_its_end(archive, monkeypatch, head):
    monkeypatch.setattr(cifar, "LARGEST", 2 * 2**20)
    path = archive(packed(head, *[MEGABYTE] * 40))
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=f"more than {2 * 2**20} bytes"):
            cifar.read_archive(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
