"""jaxvae as a contestant of the speed comparison: its own program, as its training loop calls it.

Does not import torch.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data import Dataset, Split
from jaxvae.runs import load_experiment
from jaxvae.training import program as programs
from torch_parity.maps import reference_map
from torch_parity.speed_workers import Job, Report
from torch_parity.weights import to_flax

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def train(job: Job, mode: str) -> Iterator[Report]:
    """By the compiled loop (`mode` is "loop"), or by one call per step ("step").

    Yields the device, then after each epoch the mean `loss` in nats per image and `device_bytes`,
    the largest memory of a GPU (None on a CPU).
    """
    experiment = load_experiment(EXPERIMENTS / f"{job.experiment}.py")
    experiment = replace(experiment, data=replace(experiment.data, batch_size=job.batch_size))
    if mode == "step":
        experiment = replace(experiment, train=replace(experiment.train, chunk_steps=1))
    images = np.load(f"{job.folder}/images.npy")
    split, held_out = Split(images, None), Split(images[: job.batch_size], None)
    dataset = Dataset(job.experiment, split, held_out, held_out, None, "")
    weights = dict(np.load(f"{job.folder}/weights.npz"))
    device = jax.devices()[0]
    yield {"device": "cpu" if device.platform == "cpu" else device.device_kind}

    program, state = programs.build(experiment, dataset)
    weight_map = reference_map(experiment.model, images.shape[1:])
    variables = to_flax(weights, weight_map, state.variables)
    params, batch_stats = jax.tree.map(jnp.asarray, (variables["params"], variables["batch_stats"]))
    state = replace(state, params=params, batch_stats=batch_stats)
    chunk = experiment.train.chunk_steps
    for epoch in itertools.count():
        order = program.order(epoch)
        sums = {name: jnp.zeros(()) for name in program.metrics}
        running = None
        for done in range(0, program.steps_per_epoch, chunk):
            num_steps = min(chunk, program.steps_per_epoch - done)
            state, sums = program.advance(state, sums, order, num_steps)
            if running is not None:  # a chunk's metrics are fetched while the next one runs
                _fetched(running)
            running = sums
        means = {name: value / program.steps_per_epoch for name, value in _fetched(sums).items()}
        memory = device.memory_stats() or {}
        yield {"loss": means["loss"], "device_bytes": memory.get("peak_bytes_in_use")}


def _fetched(sums: dict[str, jax.Array]) -> dict[str, float]:
    return {name: float(value) for name, value in sums.items()}
