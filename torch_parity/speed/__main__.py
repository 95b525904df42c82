"""`python -m torch_parity.speed`: how fast jaxvae trains, side by side with PyTorch.

The same models on the same batches of images from the same weights, in float32, each contestant a
process of its own, one epoch of each in turn for several rounds. Times are those of whole epochs,
the loss fetched, without compilation and validation; jaxvae shuffles within them, and PyTorch is
given its orders, so that losses can be compared.

`--quick` is for the four batch sizes that have targets, in under 5 minutes on 2 CPU cores. All of
it takes about an hour there. A busy machine makes the numbers meaningless.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

import torch_parity
from torch_parity import NO_TORCH

try:
    import torch
except ModuleNotFoundError:
    sys.exit(str(NO_TORCH))

from jaxvae import data, figures
from jaxvae.checks import UsageError, require
from jaxvae.config import Data
from torch_parity.speed.models import BENCHMARKS, MODELS, Benchmark, Published, shaped
from torch_parity.speed.race import measure, started, warm_up
from torch_parity.speed.report import Line, draw, table
from torch_parity.speed.variants import ENTRANTS
from torch_parity.speed.workers import WorkerError

BATCH_SIZES = (64, 128, 256, 512, 1024)


def main(
    model: tuple[Benchmark | Published, ...] = (),
    variant: tuple[str, ...] = (),
    batch: tuple[int, ...] = (),
    rounds: int | None = None,
    images: int | None = None,
    epochs: int = 1,
    population: tuple[int, ...] = (),
    quick: bool = False,
    in_memory: bool = False,
    against: str | None = None,
    source: str | None = None,
    figure: Path | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Compare the speed of training with PyTorch's, and print what was found.

    PyTorch is written as tutorials do it (each image a PNG that a Dataset decodes), and tuned
    (images in memory, BCE on logits, fused Adam, convolutions channels-last, torch.compile and on a
    GPU CUDA graphs where they are faster); jaxvae decodes the same PNGs while it trains, runs one
    call per step, and its compiled loop. On a GPU all of them multiply in TF32, JAX's default. The
    exit status is 1 when their losses do not agree; a target that is not met does not change it.

    Args:
        model: What to train: by default the first four, unless there are variants. The published
            networks see 64x64x3, and race against tuned PyTorch by the compiled loop alone.
        variant: Of the family, such as iwae beta_tc_vae, or all; against tuned PyTorch, by the
            compiled loop alone. Left out are those that follow a schedule, each of whose values
            torch.compile would compile, and those that differ by a line from one that is raced:
            torch_parity/speed/variants.py names them.
        batch: Batch sizes; by default 64 to 1024 of the first four, and the one that has a target
            of the others and with --quick.
        rounds: Turns of each; by default 5, with --quick 3.
        images: Images per epoch; by default as many as take seconds.
        epochs: Epochs in a turn: more where one takes but milliseconds.
        population: Also train so many models at once, for each of these sizes, such as 1 8 64.
        quick: Under 5 minutes on 2 CPU cores.
        in_memory: Without the two that decode images, and without calls per step, but with a row
            for each way to tune PyTorch. On a GPU the processes of all lines start at once.
        against: A commit of this checkout, whose compiled loop is all that this one races.
        source: Grey images of 28x28, as --data.source of an experiment names them; by default
            MNIST where it is prepared, else scikit-learn's digits.
        figure: Draw it too, to this PNG file.
        as_json: Print JSON.
    """
    if rounds is None:
        rounds = 3 if quick else 5
    try:
        allowed = f"of {', '.join(ENTRANTS)}, or all"
        require(set(variant) <= {*ENTRANTS, "all"}, "--variant", variant, allowed)
        variants = ENTRANTS if "all" in variant else variant
        names = (*model, *variants) or BENCHMARKS
        plan = [(name, size) for name in names for size in batch or batch_sizes(name, quick)]
        require(rounds >= 1, "--rounds", rounds, "at least 1")
        sizes = [size for _, size in plan]
        require(min(sizes) >= 1 and max(sizes) <= 60000, "--batch", batch, "in 1..60000")
        allowed = f"in {max(sizes)}..60000"
        require(images is None or max(sizes) <= images <= 60000, "--images", images, allowed)
        require(epochs >= 1, "--epochs", epochs, "at least 1")
        require(min(population, default=1) >= 1, "--population", population, "at least 1")
        png = figure is None or figure.suffix == ".png"
        require(png, "--figure", figure, "a path that ends in .png")
        stored, description = training_images(source)
        older = None if against is None else checkout(against)
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    tree = None if older is None else Path(older.name)
    together = in_memory and torch.cuda.is_available()
    lines = []
    for pairs in [plan] if together else [[pair] for pair in plan]:
        named = "; ".join(f"{MODELS[name].title}, batch {size}" for name, size in pairs)
        print(named, file=sys.stderr, flush=True)
        sizes_of = [
            (name, size, images or max(size, entry_images(name, quick))) for name, size in pairs
        ]
        batches = [
            (name, shaped(stored[: count // size * size], MODELS[name].image_shape), size)
            for name, size, count in sizes_of
        ]
        try:
            found = compare_speed(batches, rounds, epochs, population, in_memory, together, tree)
        except WorkerError as error:
            sys.exit(f"{named}: {error}")
        lines += found
        if not as_json:
            print("".join(f"{table(line)}\n\n" for line in found), end="", flush=True)

    about = {
        "device": device_name(),
        "data": description,
        "jax": version("jax"),
        "torch": version("torch"),
    }
    if as_json:
        print(json.dumps({**about, "lines": [line.as_dict() for line in lines]}))
    else:
        print(", ".join(f"{key}: {value}" for key, value in about.items()))
    if figure is not None:
        figures.save(draw(lines, about["device"]), figure)
    sys.exit(0 if all(line.losses_agree for line in lines) else 1)


def checkout(commit: str) -> tempfile.TemporaryDirectory[str]:
    """The packages as they were at a commit, in a folder that lasts as long as what is returned.

    Raises:
        UsageError: these packages are in no checkout, or it has no such commit.
    """
    root = Path(torch_parity.__file__).parents[1]
    archive = ["git", "-C", str(root), "archive", commit, "--"]
    found = subprocess.run([*archive, "jaxvae", "torch_parity", "experiments"], capture_output=True)
    require(found.returncode == 0, "--against", commit, f"a commit of the checkout in {root}")
    folder = tempfile.TemporaryDirectory()
    subprocess.run(["tar", "-x", "-C", folder.name], input=found.stdout, check=True)
    return folder


def batch_sizes(name: str, quick: bool) -> tuple[int, ...]:
    return (MODELS[name].target.batch_size,) if quick or name not in BENCHMARKS else BATCH_SIZES


def entry_images(name: str, quick: bool) -> int:
    entry = MODELS[name]
    return entry.quick_images if quick else entry.images


def training_images(source: str | None = None) -> tuple[np.ndarray, str]:
    """60 000 images, uint8 (n, 28, 28, 1), and what they are; a smaller set is repeated.

    Raises:
        UsageError: `source` is no such images.
    """
    if source is None and any(d["name"] == "mnist" and d["ready"] for d in data.available()):
        source = "mnist"
    if source is not None:
        dataset = data.load(Data(source))
        shape = dataset.train.images.shape[1:]
        require(shape == (28, 28, 1), "--source", source, "images of shape (28, 28, 1)")
        images, description = dataset.train.images[:], dataset.description
    else:
        images = data.whole(Data("digits"))[0].images[:]
        description = "scikit-learn's digits, repeated (MNIST is not prepared)"
    return np.resize(images, (60000, *images.shape[1:])), description


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def compare_speed(
    pairs: Sequence[tuple[str, np.ndarray, int]],
    rounds: int,
    epochs: int = 1,
    populations: tuple[int, ...] = (),
    in_memory: bool = False,
    at_once: bool = False,
    against: Path | None = None,
) -> list[Line]:
    """Models, the images of an epoch, batch sizes: start all of them, then train in turn.

    After an epoch to warm up, with `at_once` that of many contestants at once, come `rounds` that
    count, of `epochs` each.

    Raises:
        WorkerError: a contestant failed, or they are not on the same kind of device.
    """
    with contextlib.ExitStack() as stack:
        races = [
            stack.enter_context(
                started(name, images, size, 1 + rounds * epochs, populations, in_memory, against)
            )
            for name, images, size in pairs
        ]
        warm = warm_up(races, at_once)
        return [
            measure(race, *reports, rounds, epochs)
            for race, reports in zip(races, warm, strict=True)
        ]


if __name__ == "__main__":
    tyro.cli(main, prog="python -m torch_parity.speed")
