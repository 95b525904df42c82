"""Coverage-guided fuzzing of what reads files: python fuzz/readers.py READER -atheris_runs=20000.

A reader either returns or raises a UsageError that names the file; anything else is a finding.
"""

import functools
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import atheris

with atheris.instrument_imports(
    include=["jaxvae", "torch_parity", "zipfile", "numpy.lib", "PIL", "json", "csv"]
):
    import numpy as np
    from PIL import Image

    from jaxvae import Experiment, config, runs
    from jaxvae.checks import UsageError
    from jaxvae.data import arrays, cache, folder
    from jaxvae.data.splits import Split
    from jaxvae.info import Info

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 5), np.uint8)
SPLITS = {"train": Split(IMAGES[..., None], np.arange(3, dtype=np.int32))}
FORMATS = ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm")


class Reader(NamedTuple):
    """How one kind of file is fuzzed."""

    name: str  # of the file
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]  # what is damaged
    whole: Callable[[bytes], bytes] = bytes  # the file that holds it, with checksums that are right


def of(make: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    make(stream)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def images() -> list[bytes]:
    picture = Image.fromarray(np.stack([IMAGES[0]] * 3, axis=-1))
    return [of(lambda s, kind=kind: picture.save(s, kind)) for kind in FORMATS]


def cached(path: Path) -> object:
    """The images that come out of a cache whose file has this content."""
    os.environ["JAXVAE_CACHE"] = str(path.parent / "cache")
    cache.cached("a", 3, ["x"], lambda: SPLITS)
    (kept,) = (path.parent / "cache").glob("*.npz")
    kept.write_bytes(path.read_bytes())
    found = cache.cached("a", 3, ["x"], lambda: SPLITS)["train"]
    if found.images.dtype != np.uint8 or found.images.ndim != 4:
        raise AssertionError(found)
    return found


def cache_file() -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["JAXVAE_CACHE"] = temporary
        cache.cached("a", 3, ["x"], lambda: SPLITS)
        return next(Path(temporary).iterdir()).read_bytes()


def weights(path: Path) -> object:
    from jaxvae.interop import files

    return files.read(path)


def weight_file(suffix: str, zipped: bool = True) -> bytes:
    import torch

    from jaxvae.interop import files

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"a{suffix}"
        files.write(path, {"a.weight": IMAGES[0] / 255, "a.bias": np.zeros(3, np.float32)})
        if not zipped:
            torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
        return path.read_bytes()


@functools.cache
def parts_of_weights() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(weight_file(".pth"))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def with_pickle(content: bytes) -> bytes:
    """A file of torch.save with this pickle in it."""
    parts = parts_of_weights().items()
    return zipped({k: content if k.endswith("data.pkl") else v for k, v in parts})


NPY = [of(lambda s: np.save(s, IMAGES)), of(lambda s: np.save(s, np.asfortranarray(IMAGES / 255)))]
NPZ = [
    of(lambda s: np.savez(s, images=IMAGES, labels=np.arange(3))),
    of(lambda s: np.savez_compressed(s, x_train=IMAGES, x_test=IMAGES / 255)),
]
CONFIG = json.dumps(runs.describe(Experiment("a"), (28, 28, 1), Info((28, 28, 1)))).encode()
METRICS = f"{','.join(runs.COLUMNS)}\n{'1,' * 8}1\n".encode()
READERS = {
    "npy": Reader("a.npy", lambda path: arrays.find(path).read(), lambda: NPY),
    "npz": Reader("a.npz", lambda path: arrays.find(path).read(), lambda: NPZ),
    "npz-member": Reader(
        "a.npz",
        lambda path: arrays.find(path).read(),
        lambda: NPY,
        lambda b: zipped({"images.npy": b}),
    ),
    "image": Reader(
        "0.png", lambda path: folder.find(path.parent, config.Data(resize=(4, 4))).read(), images
    ),
    "cache": Reader("content", cached, lambda: [cache_file()]),
    "config": Reader("config.json", lambda path: runs.read_config(path.parent), lambda: [CONFIG]),
    "metrics": Reader("metrics.csv", runs.read_metrics, lambda: [METRICS]),
    "pth": Reader("a.pth", weights, lambda: [weight_file(".pth"), weight_file(".pth", False)]),
    "pth-pickle": Reader(
        "a.pth",
        weights,
        lambda: [v for k, v in parts_of_weights().items() if k.endswith("data.pkl")],
        with_pickle,
    ),
    "safetensors": Reader("a.safetensors", weights, lambda: [weight_file(".safetensors")]),
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"usage: readers.py READER [OPTION...] with READER one of {', '.join(READERS)}")
    reader = READERS[sys.argv.pop(1)]
    if reader.read is weights:
        with atheris.instrument_imports(
            include=["jaxvae.interop", "torch._weights_only_unpickler"]
        ):
            import torch  # noqa: F401

            import jaxvae.interop.files  # noqa: F401
    with tempfile.TemporaryDirectory() as temporary:
        path, corpus = Path(temporary) / "in" / reader.name, Path(temporary) / "corpus"
        path.parent.mkdir()
        corpus.mkdir()
        for i, content in enumerate(reader.seeds()):
            (corpus / str(i)).write_bytes(content)
        os.environ["JAXVAE_CACHE"] = os.devnull  # of the other readers: nothing is kept

        def one(content: bytes) -> None:
            path.write_bytes(reader.whole(content))
            try:
                reader.read(path)
            except UsageError as error:
                if str(path) not in str(error):
                    raise

        atheris.Setup([*sys.argv, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
