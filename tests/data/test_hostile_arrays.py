"""NumPy files that announce what they do not hold, or hold code: refused, and nothing is run."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from jaxvae.checks import UsageError
from jaxvae.data import arrays

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Code:
    """A pickle of it makes a folder when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def header(shape: str, descr: str = "'|u1'") -> bytes:
    """The start of a .npy file."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def enlarged(content: bytes) -> bytes:
    """An archive whose directory says that its only file has 2^31 bytes more than it has."""
    at = content.index(b"PK\x01\x02") + 24
    size = struct.pack("<I", struct.unpack("<I", content[at : at + 4])[0] + 2**31)
    return content[:at] + size + content[at + 4 :]


HUGE = header(f"({10**12 // 784}, 28, 28)") + bytes(100)


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.npy", b"", "not a readable"),
        ("a.npy", HUGE, "its header announces 999999999"),
        ("a.npy", header("(-1, 28, 28)") + bytes(784), "not a readable"),
        ("a.npy", header("(1, 28, 28)", "'|O'") + pickle.dumps(Code()), "Object arrays"),
        ("a.npy", header("(" * 4000 + "1" + ")" * 4000), "not a readable"),
        ("a.npy", header("(1, 28, 28)", "[('a', '|u1')]") + bytes(784), "dtype [('a', 'u1')]"),
        ("a.npy", pickle.dumps(Code()), "not a readable"),
        ("a.npz", zipped(**{"images.npy": HUGE}), "its header announces 999999999"),
        ("a.npz", enlarged(zipped(**{"images.npy": header("(2739137, 28, 28)")})), "at most"),
        ("a.npz", zipped(**{"images.npy": b"text", "images": b"text"}), "not a readable"),
        ("a.npz", zipped(**{"readme.txt": b"text"}), "it holds []"),
        ("a.npz", pickle.dumps(Code()), "not a readable"),
    ],
)
def test_damaged_and_hostile_arrays(name, content, words):
    path = Path(name)
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        arrays.find(path).read()
    assert f"{name}: " in str(error.value) and words in str(error.value)
    assert len(str(error.value)) < 400
    assert os.listdir() == [name]


def test_an_archive_writes_nothing():
    stream = io.BytesIO()
    np.save(stream, IMAGES)
    names = ("images.npy", "../escaped.npy", "/tmp/jaxvae-escaped.npy", "..\\escaped.npy")
    os.mkdir("in")
    path = Path("in", "a.npz")
    path.write_bytes(zipped(**dict.fromkeys(names, stream.getvalue())))
    assert len(arrays.find(path).read().train.images) == 20
    assert (os.listdir(), os.listdir("in")) == (["in"], ["a.npz"])
    assert not Path("/tmp/jaxvae-escaped.npy").exists()


def test_what_is_not_read_may_be_anything():
    """Other arrays of an archive, such as the description that some sets hold as an object."""
    np.savez("a.npz", images=IMAGES, metadata=np.array(Code()), more=np.zeros(3, "m8[s]"))
    assert len(arrays.find(Path("a.npz")).read().train.images) == 20
    assert not Path("executed").exists()
