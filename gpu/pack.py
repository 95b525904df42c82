"""`python -m gpu.pack`: what a machine with an accelerator lacks, in one folder.

For a machine that has JAX, Flax, Optax, Orbax and PyTorch but neither a network nor the rest:
wheels for Python 3.12 on x86-64 Linux, and MNIST as one .npz file where it is prepared here.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from jaxvae import data
from jaxvae.config import Data

PACKAGES = (
    "tyro",
    "docstring-parser",
    "typeguard",
    "tensorboardX",
    "array-record",
    "grain",
    "portpicker",
)
"""What jaxvae imports, and what that imports; --no-deps leaves out the large rest."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_24_x86_64", "manylinux_2_17_x86_64")
LIMIT = 30 * 2**20
"""Bytes that the folder may take."""

README = """\
What `python3 -m gpu` needs on a machine without a network: wheels for Python 3.12 on x86-64 Linux,
which it installs into a temporary folder where they are missing, and the images to train on.

Copy the checkout with this folder inside it to the machine, and run there, in the checkout:

    python3 -m gpu --pack {folder} --out gpu-results

It takes at most 9 minutes. gpu/README.md says what it does.

{contents}
"""


def main(folder: Path, wheels: bool = True) -> None:
    """Fill the folder anew, and say what is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("wheels/*.whl"), *folder.glob("mnist.npz")):
        old.unlink()
    if wheels:
        download(folder / "wheels")
    images = write_mnist(folder / "mnist.npz")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [path for path in files if path.name != "README.md"]
    contents = [f"    {path.relative_to(folder)}  {path.stat().st_size:,} bytes" for path in files]
    text = "\n".join([*contents, "", images])
    (folder / "README.md").write_text(README.format(folder=folder.name, contents=text))
    total = size(folder)
    print(f"{folder}: {total / 2**20:.1f} MiB. {images}", file=sys.stderr)
    if total > LIMIT:
        sys.exit(f"{folder}: larger than the {LIMIT / 2**20:.0f} MiB that it may be")


def download(folder: Path) -> None:
    """The wheels, from the index that pip is set up with."""
    target = ("--python-version", "3.12", "--implementation", "cp")
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    where = ("--dest", str(folder))
    subprocess.run([sys.executable, *command, *target, *platforms, *where, *PACKAGES], check=True)


def write_mnist(path: Path) -> str:
    """MNIST as one file, where it is prepared; return what became of it."""
    if not any(found["name"] == "mnist" and found["ready"] for found in data.available()):
        return "MNIST is not prepared here: without it, scikit-learn's digits are trained on."
    mnist = data.load(Data("mnist"))
    train, test = mnist.train, mnist.test
    assert train.labels is not None and test.labels is not None
    np.savez_compressed(
        path,
        train_images=train.images[:],
        train_labels=train.labels,
        test_images=test.images[:],
        test_labels=test.labels,
    )
    return f"{path.name} is MNIST."


def size(folder: Path) -> int:
    """Bytes of all its files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m gpu.pack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("gpu-pack"))
    main(parser.parse_args().folder)
