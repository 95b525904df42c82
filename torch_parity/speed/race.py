"""A race: one model at one batch size, its contestants trained in turn, each in its own process."""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from jaxvae import noise
from jaxvae.data.batches import epoch_order
from torch_parity.experiments import experiment_of
from torch_parity.speed.models import MODELS
from torch_parity.speed.recipes import RACED
from torch_parity.speed.report import Contestant, Line
from torch_parity.speed.variants import ENTRANTS
from torch_parity.speed.workers import Job, Report, Worker, WorkerError
from torch_parity.variants.recipes import VARIANTS

OURS = {"streamed": "jaxvae streamed", "step": "jaxvae step", "loop": "jaxvae loop"}


class Race(NamedTuple):
    """The contestants of one model at one batch size, their processes started."""

    name: str
    batch_size: int
    num_images: int
    rows: dict[str, list[str]]
    """The contestants that are tried for each row of the table; the fastest of a row counts."""
    populations: dict[int, str]
    workers: dict[str, Worker]

    def __str__(self) -> str:
        return f"{self.name}, batch {self.batch_size}"


AGAINST = "jaxvae against"
"""The compiled loop of another version of the packages."""


def ways(name: str, is_gpu: bool, in_memory: bool) -> dict[str, list[str]]:
    """The rows of the table, and the contestants that are tried for each of them.

    In memory each way to run PyTorch is a row of its own; else tuned PyTorch is one row, which the
    fastest way takes, beside the contestants that decode images.
    """
    entry = MODELS[name]
    is_convolutional = experiment_of(entry.experiment or name).model.network == "conv"
    tuned = tuned_options(is_convolutional, is_gpu, in_memory)
    if not in_memory:
        contestants = [f"tuned {option}".strip() for option in tuned]
        ours = {row: [contestant] for row, contestant in OURS.items()}
        if entry.target.tutorial is None:  # and decoding is as for the others
            return {"tuned": contestants, "loop": ours["loop"]}
        read = {"tutorial": ["tutorial"], "workers": ["tutorial workers"]}
        return {**read, "tuned": contestants, **ours}
    rows: dict[str, list[str]] = {}
    for option in tuned:
        way = option.replace("channels_last", "").split()
        rows.setdefault(" ".join(way) or "eager", []).append(f"tuned {option}".strip())
    return {**rows, "loop": [OURS["loop"]]}


def tuned_options(is_convolutional: bool, is_gpu: bool, in_memory: bool = False) -> list[str]:
    """What tuned PyTorch is tried with; of a row, the fastest is the one that counts."""
    options = ["", "compiled"]
    if is_convolutional:
        options = ["", "channels_last", "compiled channels_last"]
        if in_memory:
            options.insert(2, "compiled")
    if is_gpu:
        options += [f"{option} cuda_graph".strip() for option in options]
    return options


@contextlib.contextmanager
def started(
    name: str,
    images: np.ndarray,
    batch_size: int,
    epochs: int,
    populations: Sequence[int] = (),
    in_memory: bool = False,
    against: Path | None = None,
) -> Iterator[Race]:
    """Start the contestants, and end them in the end.

    Args:
        name: one of `MODELS`.
        images: uint8 (n, *shape), n a multiple of the batch size: an epoch.
        batch_size: of all contestants.
        epochs: how many will be trained at most, the one to warm up included.
        populations: also train so many models at once.
        in_memory: see `ways`.
        against: a folder with another version of the packages: the two are all that is raced.
    """
    rows = ways(name, torch.cuda.is_available(), in_memory)
    if against:
        rows = {"against": [AGAINST], "loop": rows["loop"]}
    together = {size: f"jaxvae population {size}" for size in populations}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        job = write_job(name, images, batch_size, epochs, folder)
        contestants = [c for tried in rows.values() for c in tried]
        workers = {
            contestant: stack.enter_context(contextlib.closing(Worker(contestant, job)))
            for contestant in (*contestants, *together.values(), "limit")
            if contestant != AGAINST
        }
        if against:
            older = contextlib.closing(Worker(OURS["loop"], job, against))
            workers = {AGAINST: stack.enter_context(older), **workers}
        yield Race(name, batch_size, len(images), rows, together, workers)


def write_job(name: str, images: np.ndarray, batch_size: int, epochs: int, folder: str) -> Job:
    """What all contestants are told; the arrays that it names are written to the folder.

    Args:
        name: one of `MODELS`.
        images: uint8 (n, *shape), n a multiple of the batch size: an epoch.
        batch_size: of all contestants.
        epochs: how many will be trained at most.
        folder: an empty one.
    """
    entry = MODELS[name]
    experiment = experiment_of(entry.experiment or name)
    num_pixels = math.prod(images.shape[1:])
    job = Job(
        experiment.name,
        batch_size,
        folder,
        experiment.objective.likelihood == "bernoulli",
        1.0 if entry.experiment else experiment.objective.scale(num_pixels, batch_size),
        name if entry.experiment else "",
        entry.settings,
        entry.weight_map,
    )
    weights: Any = {n: x.numpy() for n, x in initial_weights(job, images).items()}
    np.savez(f"{folder}/weights.npz", **weights)
    np.save(f"{folder}/images.npy", images)
    np.save(f"{folder}/orders.npy", orders(experiment.seed, len(images), epochs))
    return job


def initial_weights(job: Job, images: np.ndarray) -> dict[str, torch.Tensor]:
    """What PyTorch initialises; code books begin at features of the first images."""
    torch.manual_seed(0)
    if not job.variant:
        return RACED[job.experiment].model().state_dict()
    entrant = ENTRANTS[job.variant]
    model = entrant.model()
    first = torch.from_numpy(images[: job.batch_size]).movedim(-1, 1)
    VARIANTS[job.experiment].start(model, entrant.inputs(first))
    found: dict[str, torch.Tensor] = model.state_dict()
    return found


def warm_up(races: Sequence[Race], at_once: bool) -> list[tuple[dict[str, Report], dict[str, str]]]:
    """Let every contestant train the epoch in which it compiles.

    Returns for each race the reports of its contestants, and why others failed.

    Args:
        races: whose processes have just started.
        at_once: let those that use PyTorch compile at once, as a machine of many cores can. jaxvae
            comes first, alone, since XLA chooses its kernels by timing them.

    Raises:
        WorkerError: a contestant failed that has a row for itself, or they are not on the same
            kind of device.
    """
    found: list[tuple[dict[str, Report], dict[str, str]]] = [({}, {}) for _ in races]
    turns = [
        (race, reports, contestant, worker)
        for race, reports in zip(races, found, strict=True)
        for contestant, worker in race.workers.items()
    ]
    stages = [turns]
    if at_once:
        kinds = ("jaxvae", "tuned", "limit")
        stages = [[turn for turn in turns if turn[2].startswith(kind)] for kind in kinds]
    devices: dict[str, str] = {}
    for stage in stages:
        devices |= {contestant: worker.ready()["device"] for *_, contestant, worker in stage}
        if len({device == "cpu" for device in devices.values()}) > 1:
            raise WorkerError(f"not all on the same device: {devices}")
        together = at_once and stage[0][2].startswith("tuned")
        for *_, worker in stage if together else ():
            worker.begin()
        for race, reports, contestant, worker in stage:
            if not together:
                worker.begin()
            _note(race, *reports, contestant, worker)
    return found


def _note(
    race: Race, first: dict[str, Report], failed: dict[str, str], contestant: str, worker: Worker
) -> None:
    """Wait for a contestant's first epoch. Ways to tune PyTorch, and workers, need not work."""
    try:
        first[contestant] = worker.ready()
    except WorkerError as error:  # where torch.compile finds no compiler, for instance
        if not contestant.startswith(("tuned ", "tutorial ")):
            raise
        failed[_options(contestant)] = str(error)


def measure(
    race: Race, first: dict[str, Report], failed: dict[str, str], rounds: int, epochs: int = 1
) -> Line:
    """Let those that warmed up take turns, for so many rounds of so many epochs each.

    Args:
        race: whose contestants have warmed up.
        first: their reports then.
        failed: why others failed.
        rounds: turns of each.
        epochs: in a turn.

    Raises:
        WorkerError: a contestant failed.
    """
    found: dict[str, list[Report]] = {contestant: [] for contestant in first}
    for _ in range(rounds):
        for contestant, reports in found.items():
            reports.append(race.workers[contestant].epoch(epochs))

    seconds = {c: [report["seconds"] for report in reports] for c, reports in found.items()}

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

    contestants, rejected = {}, dict(failed)
    for row, tried in race.rows.items():
        working = sorted((c for c in tried if c in found), key=lambda c: median(seconds[c]))
        for slower in working[1:]:
            rejected[_options(slower)] = f"{median(seconds[slower]):.3f} s"
        if working and row == "tuned":
            contestants[row] = contestant_of(working[0], _options(working[0]))
        elif working:  # whose name says all but the layout
            layout = "channels_last" if "channels_last" in working[0] else ""
            contestants[row] = contestant_of(working[0], layout)

    limits = found["limit"]
    expected = "tuned" in race.rows and not torch.cuda.is_available()
    return Line(
        model=race.name,
        title=MODELS[race.name].title,
        batch_size=race.batch_size,
        num_images=race.num_images,
        contestants=contestants,
        limit_seconds=seconds["limit"],
        product_seconds=median(report["products"] for report in limits),
        flops_per_second=median(report["flops_per_second"] for report in limits),
        bytes_per_second=median(report["bytes_per_second"] for report in limits),
        rejected=rejected,
        populations={size: contestant_of(c) for size, c in race.populations.items()},
        target=MODELS[race.name].target_at(race.batch_size) if expected else None,
    )


def orders(seed: int, num_images: int, epochs: int) -> np.ndarray:
    """jaxvae's orders of the images, int64 (epochs, num_images)."""
    key = noise.root(seed)
    of_epoch = jax.jit(lambda epoch: epoch_order(key, epoch, num_images))
    return np.array([of_epoch(epoch) for epoch in range(epochs)], np.int64)


def _options(contestant: str) -> str:
    return contestant.removeprefix("tuned").strip() or "eager"
