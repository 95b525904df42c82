"""`python3 -m gpu.populations SOURCE --steps 100 --sizes 1 8 64 512`: what many members cost.

The MLP VAE at batch 128, members that differ in their seeds, one program for all of them. A line of
JSON for each size.
"""

import argparse
import json
import time
from dataclasses import replace

import jax
import jax.numpy as jnp

from jaxvae import data
from jaxvae.config import Data, Population
from jaxvae.runs import load_experiment
from jaxvae.training import members
from jaxvae.training import program as programs

ROUNDS = 5
CHUNKS = 3  # in a round


def main(source: str, steps: int, sizes: list[int]) -> None:
    """Time chunks of `steps` steps of the MLP VAE for populations of these sizes."""
    dataset = data.load(Data(source))
    experiment = load_experiment("experiments/mnist_vae.py")
    experiment = replace(experiment, train=replace(experiment.train, chunk_steps=steps))
    for size in sizes:
        everyone = members.members(experiment, Population(seeds=size))
        print(json.dumps(measure(everyone, dataset)), flush=True)


def measure(everyone: tuple[members.Experiment, ...], dataset: data.Dataset) -> dict[str, object]:
    """Microseconds per step of all members together, by round, and what else it took."""
    program, state = programs.build(everyone[0], dataset, everyone=everyone)
    size = len(everyone)
    order, steps = next(program.chunks(0, program.steps_per_epoch))
    seconds, loss = [], 0.0
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        for _ in range(CHUNKS):
            state, sums = program.advance(state, program.sums(), order, steps)
        loss = float(jnp.mean(sums["loss"])) / steps
        seconds.append((time.perf_counter() - began) / (CHUNKS * steps))
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "size": size,
        "step_microseconds": [1e6 * x for x in seconds[1:]],  # the first round warms up
        "compile_seconds": program.compile_seconds,
        "loss": loss,
        "peak_bytes": memory.get("peak_bytes_in_use"),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python3 -m gpu.populations")
    parser.add_argument("source")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    main(**vars(parser.parse_args()))
