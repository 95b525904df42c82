"""jaxvae as a contestant of the speed comparison: its own program, as its training loop calls it.

Does not import torch.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.config import Experiment, Population, with_fields
from jaxvae.data import Dataset, Split
from jaxvae.data.decode import decode_lazily
from jaxvae.data.headers import Encoded, Rules
from jaxvae.interop.find import named_map
from jaxvae.interop.maps import reference_map
from jaxvae.interop.weights import to_flax, with_variables
from jaxvae.training import members
from jaxvae.training import program as programs
from jaxvae.training.state import TrainState
from torch_parity.experiments import experiment_of
from torch_parity.speed.workers import Job, Report, png
from torch_parity.variants import maps


def train(job: Job, mode: str) -> Iterator[Report]:
    """By the compiled loop (`mode` is "loop"), or by one call per step ("step").

    The compiled loop over images that stay PNG files and are decoded meanwhile is "streamed".

    Yields the device, then after each epoch the mean `loss` in nats per image and `device_bytes`,
    the largest memory of a GPU (None on a CPU).
    """
    experiment, dataset = _load(job)
    if mode == "step":
        experiment = replace(experiment, train=replace(experiment.train, chunk_steps=1))
    if mode == "streamed":
        files = [png(image) for image in dataset.train.images[:]]
        encoded = Encoded(files, [f"image {i}" for i in range(len(files))], None)
        dataset = dataset._replace(train=decode_lazily({"train": encoded}, Rules(None))["train"])
    weights = dict(np.load(f"{job.folder}/weights.npz"))
    yield _device()

    program, state = programs.build(experiment, dataset)
    if job.variant:
        state = maps.start(state, experiment, weights, maps.of(job.experiment))
    else:
        reference = reference_map(experiment.model, dataset.train.images.shape[1:])
        weight_map = named_map(job.weight_map, reference)
        variables = to_flax(weights, weight_map, state.variables.model)
        state = with_variables(state, jax.tree.map(jnp.asarray, variables))
    yield from _epochs(program, state)


def population(job: Job, size: str) -> Iterator[Report]:
    """So many models at once, which differ in their seeds, initial weights included.

    Yields what `train` does, with the mean of their losses.
    """
    experiment, dataset = _load(job)
    everyone = members.members(experiment, Population(seeds=int(size)))
    yield _device()

    program, state = programs.build(experiment, dataset, everyone=everyone)
    yield from _epochs(program, state)


def _load(job: Job) -> tuple[Experiment, Dataset]:
    experiment = with_fields(experiment_of(job.experiment), job.settings or {})
    experiment = replace(experiment, data=replace(experiment.data, batch_size=job.batch_size))
    images = np.load(f"{job.folder}/images.npy")
    split, held_out = Split(images, None), Split(images[: job.batch_size], None)
    return experiment, Dataset(job.experiment, split, held_out, held_out, None, "")


def _device() -> Report:
    device = jax.devices()[0]
    return {"device": "cpu" if device.platform == "cpu" else device.device_kind}


def _epochs(program: programs.Program, state: TrainState) -> Iterator[Report]:
    """Epoch after epoch, as the training loop does it."""
    for epoch in itertools.count():
        sums = program.sums()
        first = epoch * program.steps_per_epoch
        for source, num_steps in program.chunks(first, first + program.steps_per_epoch):
            before = sums
            state, sums = program.advance(state, sums, source, num_steps)
            _fetched(before)  # a chunk's metrics are fetched while the next one runs
        memory = jax.devices()[0].memory_stats() or {}
        yield {
            "loss": _fetched(sums)["loss"] / program.steps_per_epoch,
            "device_bytes": memory.get("peak_bytes_in_use"),
        }


def _fetched(sums: dict[str, jax.Array]) -> dict[str, float]:
    """Means over a population; a plain run's numbers."""
    return {name: float(np.mean(value)) for name, value in jax.device_get(sums).items()}
