"""Small archives of the usual sets: what the real ones are, but for their numbers of images."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from jaxvae.data import cifar

FOUR = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


def pixels(n: int, seed: int = 0, shape: tuple[int, ...] = (28, 28)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def idx(array: np.ndarray) -> bytes:
    """Written from the format's description, not with the code under test."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def four(train: int = 7, test: int = 4, classes: int = 10) -> dict[str, bytes]:
    """MNIST's four files, unpacked, by their names without .gz."""
    contents = (pixels(train), np.arange(train) % classes, pixels(test, 1), np.arange(test) % 3)
    return {f"{n}-ubyte": idx(array) for n, array in zip(FOUR, contents, strict=True)}


def write_four(folder: Path, packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in four().items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        else:
            (folder / name).write_bytes(content)
    return folder


def emnist_zip(name: str, train: int, test: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for old, content in four(train, test).items():
            new = f"gzip/emnist-{name}-{old.replace('t10k', 'test')}.gz"
            archive.writestr(new, gzip.compress(content, 1))
    return stream.getvalue()


def cifar_files(n: int = 2) -> dict[str, bytes]:
    """The .bin files of CIFAR-10 with n images each: image i of file k has label (k + i) % 10."""
    files = {}
    for k, name in enumerate(name for names in cifar.PARTS.values() for name in names):
        images = pixels(n, k, (3, 32, 32))
        records = (bytes([(k + i) % 10]) + image.tobytes() for i, image in enumerate(images))
        files[name] = b"".join(records)
    return files


def tar_gz(files: dict[str, bytes], prefix: str = "cifar-10-batches-bin/") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()
