"""Coverage-guided fuzzing of what reads files: python fuzz/readers.py READER -atheris_runs=20000.

A reader either returns or raises a UsageError that names the file; anything else is a finding. The
readers: npy, npz, image, cache, config, metrics, pth, safetensors.
"""

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["jaxvae", "torch_parity", "zipfile", "numpy.lib", "PIL", "json", "csv"]
):
    import numpy as np
    from PIL import Image

    from jaxvae import Experiment, runs
    from jaxvae.config import UsageError
    from jaxvae.data import arrays, cache, folder
    from jaxvae.data.splits import Split

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 5), np.uint8)
FORMATS = ("png", "jpeg", "gif", "bmp", "webp", "tiff", "ppm")


def of(make: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    make(stream)
    return stream.getvalue()


def read_image(path: Path) -> object:
    return folder.load(path.parent, (4, 4))


def read_cache(path: Path) -> object:
    """Whatever the file holds, images come out of it."""
    splits = {"train": Split(IMAGES[..., None], None)}
    os.environ["JAXVAE_CACHE"] = str(path.parent)
    cache.cached("a", 3, ["x"], lambda: splits)
    (kept,) = path.parent.glob("a-*.npz")
    kept.write_bytes(path.read_bytes())
    found = cache.cached("a", 3, ["x"], lambda: splits)["train"]
    if found.images.dtype != np.uint8 or found.images.ndim != 4:
        raise AssertionError(found)
    return found


def read_config(path: Path) -> object:
    return runs.read_config(path.parent)


def read_weights(path: Path) -> object:
    from torch_parity import files

    return files.read(path)


def weights(suffix: str) -> bytes:
    with atheris.instrument_imports(include=["torch_parity", "torch._weights_only_unpickler"]):
        from torch_parity import files
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / f"a{suffix}"
        files.write(path, {"a.weight": IMAGES[0] / 255, "a.bias": np.zeros(3, np.float32)})
        return path.read_bytes()


def images() -> list[bytes]:
    picture = Image.fromarray(np.stack([IMAGES[0]] * 3, axis=-1))
    return [of(lambda s, kind=kind: picture.save(s, kind)) for kind in FORMATS]


# The name of the file, what reads it, and valid files to start from.
READERS: dict[str, tuple[str, Callable[[Path], object], Callable[[], list[bytes]]]] = {
    "npy": ("a.npy", arrays.load, lambda: [of(lambda s: np.save(s, IMAGES))]),
    "npz": (
        "a.npz",
        arrays.load,
        lambda: [
            of(lambda s: np.savez(s, images=IMAGES, labels=np.arange(3))),
            of(lambda s: np.savez_compressed(s, x_train=IMAGES, x_test=IMAGES / 255)),
        ],
    ),
    "image": ("0.png", read_image, images),
    "cache": ("content", read_cache, lambda: [of(lambda s: np.savez(s, train_images=IMAGES))]),
    "config": (
        "config.json",
        read_config,
        lambda: [json.dumps(runs.describe(Experiment("a"), (28, 28, 1))).encode()],
    ),
    "metrics": (
        "metrics.csv",
        runs.read_metrics,
        lambda: [f"{','.join(runs.COLUMNS)}\n{'1,' * 8}1\n".encode()],
    ),
    "pth": ("a.pth", read_weights, lambda: [weights(".pth")]),
    "safetensors": ("a.safetensors", read_weights, lambda: [weights(".safetensors")]),
}


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        sys.exit(f"usage: readers.py READER [OPTION...] with READER one of {', '.join(READERS)}")
    name, read, seeds = READERS[sys.argv.pop(1)]
    with tempfile.TemporaryDirectory() as temporary:
        path, corpus = Path(temporary) / "in" / name, Path(temporary) / "corpus"
        path.parent.mkdir()
        corpus.mkdir()
        os.environ["JAXVAE_CACHE"] = os.devnull  # nothing is kept
        for i, content in enumerate(seeds()):
            (corpus / str(i)).write_bytes(content)

        def one(content: bytes) -> None:
            path.write_bytes(content)
            try:
                read(path)
            except UsageError as error:
                if str(path) not in str(error):
                    raise

        atheris.Setup([*sys.argv, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
