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
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Annotated, Literal, NamedTuple

import jax
import numpy as np
import torch
import tyro

from jaxvae import data, figures, noise
from jaxvae.config import Data, UsageError, require
from jaxvae.data.batches import epoch_order
from torch_parity.experiments import experiment_of
from torch_parity.recipes import PIXELS, RECIPES
from torch_parity.speed.report import Contestant, Line, Target, draw, table
from torch_parity.speed.workers import Job, Report, Worker, WorkerError

Name = Literal["mnist_vae", "mnist_vae_bn", "mnist_cae", "mnist_conv_vae"]


class Entry(NamedTuple):
    """A model that is compared, and images per epoch: fewer for those that take long."""

    title: str
    images: int
    quick_images: int
    target: Target


MODELS: dict[Name, Entry] = {
    "mnist_vae": Entry("MLP VAE", 60000, 12800, Target(128, 6.0, 1.2, 0.75)),
    "mnist_vae_bn": Entry("BatchNorm VAE", 60000, 12800, Target(128, 5.0, 1.2)),
    "mnist_cae": Entry("CAE", 16384, 6144, Target(64, 4.0, 2.0)),
    "mnist_conv_vae": Entry("conv VAE", 2048, 768, Target(64, 1.4, 1.0)),
}
BATCH_SIZES = (64, 128, 256, 512, 1024)


def main(
    model: tuple[Name, ...] = tuple(MODELS),
    batch: tuple[int, ...] = (),
    rounds: int | None = None,
    images: int | None = None,
    population: tuple[int, ...] = (),
    quick: bool = False,
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
        model: What to train.
        batch: Batch sizes; by default 64 to 1024, with --quick the one that has a target.
        rounds: Epochs of each; by default 5, with --quick 3.
        images: Images per epoch; by default as many as take seconds.
        population: Also train so many models at once, for each of these sizes, such as 1 8 64.
        quick: Under 5 minutes on 2 CPU cores.
        figure: Draw it too, to this PNG file.
        as_json: Print JSON.
    """
    if rounds is None:
        rounds = 3 if quick else 5
    plan = [
        (name, size)
        for name in model
        for size in batch or ((MODELS[name].target.batch_size,) if quick else BATCH_SIZES)
    ]
    try:
        require(rounds >= 1, "--rounds", rounds, "at least 1")
        sizes = [size for _, size in plan]
        require(min(sizes) >= 1 and max(sizes) <= 60000, "--batch", batch, "in 1..60000")
        allowed = f"in {max(sizes)}..60000"
        require(images is None or max(sizes) <= images <= 60000, "--images", images, allowed)
        require(min(population, default=1) >= 1, "--population", population, "at least 1")
        png = figure is None or figure.suffix == ".png"
        require(png, "--figure", figure, "a path that ends in .png")
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

    stored, description = training_images()
    lines = []
    for name, size in plan:
        entry = MODELS[name]
        count = images or max(size, entry.quick_images if quick else entry.images)
        print(f"{entry.title}, batch {size}", file=sys.stderr, flush=True)
        try:
            line = compare_speed(name, stored[: count // size * size], size, rounds, population)
        except WorkerError as error:
            sys.exit(f"{name}, batch {size}: {error}")
        lines.append(line)
        if not as_json:
            print(f"{table(line)}\n", flush=True)

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


def training_images() -> tuple[np.ndarray, str]:
    """60 000 images, uint8 (n, 28, 28, 1), and what they are: MNIST's where it is prepared."""
    if any(found["name"] == "mnist" and found["ready"] for found in data.available()):
        dataset = data.load(Data("mnist"))
        return dataset.train.images[:], dataset.description
    digits, _ = data.whole(Data("digits"))
    tiled = np.resize(digits.images[:], (60000, *digits.images.shape[1:]))
    return tiled, "scikit-learn's digits, repeated (MNIST is not prepared)"


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


def tuned_options(is_convolutional: bool, is_gpu: bool) -> list[str]:
    """What tuned PyTorch is tried with; the fastest is the one that counts."""
    options = ["", "compiled"]
    if is_convolutional:
        options = ["", "channels_last", "compiled channels_last"]
    if is_gpu:
        options += [f"{option} cuda_graph".strip() for option in options]
    return options


def compare_speed(
    name: Name,
    images: np.ndarray,
    batch_size: int,
    rounds: int,
    populations: tuple[int, ...] = (),
) -> Line:
    """Train in turn: after an epoch to warm up, `rounds` that count.

    Args:
        name: one of `MODELS`.
        images: uint8 (n, 28, 28, 1), n a multiple of the batch size: an epoch.
        batch_size: of all contestants.
        rounds: epochs of each.
        populations: also train so many models at once.

    Raises:
        WorkerError: a contestant failed, or they are not on the same kind of device.
    """
    is_gpu, experiment = torch.cuda.is_available(), experiment_of(name)
    tuned = [
        f"tuned {options}".strip()
        for options in tuned_options(experiment.model.network == "conv", is_gpu)
    ]
    plain = {
        "tutorial": "tutorial",
        "streamed": "jaxvae streamed",
        "step": "jaxvae step",
        "loop": "jaxvae loop",
    }
    together = {size: f"jaxvae population {size}" for size in populations}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        job = Job(
            name,
            batch_size,
            folder,
            experiment.objective.likelihood == "bernoulli",
            experiment.objective.scale(PIXELS, batch_size),
        )
        torch.manual_seed(0)
        weights = RECIPES[name].model().state_dict()
        np.savez(f"{folder}/weights.npz", **{key: value.numpy() for key, value in weights.items()})
        np.save(f"{folder}/images.npy", images)
        np.save(f"{folder}/orders.npy", orders(experiment.seed, len(images), rounds + 1))

        workers = {
            contestant: stack.enter_context(contextlib.closing(Worker(contestant, job)))
            for contestant in (*plain.values(), *tuned, *together.values(), "limit")
        }
        devices = {contestant: worker.ready()["device"] for contestant, worker in workers.items()}
        if len({device == "cpu" for device in devices.values()}) > 1:
            raise WorkerError(f"not all on the same device: {devices}")

        first: dict[str, Report] = {}
        rejected: dict[str, str] = {}
        for contestant, worker in workers.items():
            try:
                first[contestant] = worker.epoch()
            except WorkerError as error:  # where torch.compile finds no compiler, for instance
                if contestant not in tuned[1:]:
                    raise
                rejected[_options(contestant)] = str(error)
        found: dict[str, list[Report]] = {contestant: [] for contestant in first}
        for _ in range(rounds):
            for contestant, reports in found.items():
                reports.append(workers[contestant].epoch())

    seconds = {c: [report["seconds"] for report in reports] for c, reports in found.items()}
    fastest = min(set(tuned) & set(found), key=lambda c: median(seconds[c]))
    rejected |= {
        _options(c): f"{median(seconds[c]):.3f} s" for c in tuned if c in found and c != fastest
    }

    def contestant_of(name: str, options: str = "") -> Contestant:
        last = found[name][-1]
        return Contestant(
            options=options,
            seconds=seconds[name],
            loss=last["loss"],
            compile_seconds=max(0.0, first[name]["seconds"] - median(seconds[name])),
            peak_bytes=last["peak_bytes"],
            device_bytes=last["device_bytes"],
        )

    limits = found["limit"]
    target = MODELS[name].target
    return Line(
        model=name,
        title=MODELS[name].title,
        batch_size=batch_size,
        num_images=len(images),
        contestants={
            "tutorial": contestant_of(plain["tutorial"]),
            "tuned": contestant_of(fastest, _options(fastest)),
            "streamed": contestant_of(plain["streamed"]),
            "step": contestant_of(plain["step"]),
            "loop": contestant_of(plain["loop"]),
        },
        limit_seconds=seconds["limit"],
        product_seconds=median(report["products"] for report in limits),
        flops_per_second=median(report["flops_per_second"] for report in limits),
        bytes_per_second=median(report["bytes_per_second"] for report in limits),
        rejected=rejected,
        populations={size: contestant_of(c) for size, c in together.items()},
        target=None if is_gpu or batch_size != target.batch_size else target,
    )


def orders(seed: int, num_images: int, epochs: int) -> np.ndarray:
    """jaxvae's orders of the images, int64 (epochs, num_images)."""
    key = noise.root(seed)
    of_epoch = jax.jit(lambda epoch: epoch_order(key, epoch, num_images))
    return np.array([of_epoch(epoch) for epoch in range(epochs)], np.int64)


def _options(contestant: str) -> str:
    return contestant.removeprefix("tuned").strip() or "eager"


if __name__ == "__main__":
    tyro.cli(main, prog="python -m torch_parity.speed")
