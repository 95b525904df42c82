"""`python3 -m gpu.profiling SOURCE --steps 100 --models mnist_vae ...`: where a step's time goes.

For each model, at batch 128, the time of a chunk and the trace of another one, without CUDA graphs:
how long kernels ran, and the gaps between them. A line of JSON for each.

A loop that is replayed as a CUDA graph, as in training, leaves next to nothing in a trace. Without
graphs the host launches kernel after kernel: each takes as long, the gaps are far longer.
"""

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import jax
from jax.profiler import ProfileData

from jaxvae import data
from jaxvae.config import Data, Experiment
from jaxvae.runs import load_experiment
from jaxvae.training import devices
from jaxvae.training import program as programs

BATCH = 128
ROUNDS = 5
TOP = 12  # kernels that are listed
LAUNCHED = {"xla_gpu_graph_min_graph_size": 2**30}  # no graph has so many kernels


class Kernel(NamedTuple):
    """One run of a kernel, in nanoseconds."""

    name: str
    start: float
    end: float


def main(source: str, steps: int, models: list[str]) -> None:
    """Profile a chunk of `steps` steps of each of these experiments."""
    dataset = data.load(Data(source))
    for name in models:
        experiment = load_experiment(f"experiments/{name}.py")
        experiment = replace(
            experiment,
            data=replace(experiment.data, batch_size=BATCH),
            train=replace(experiment.train, chunk_steps=steps),
        )
        with mock.patch.dict(devices.CUDA_OPTIONS, LAUNCHED):
            seconds, kernels = traced(experiment, dataset)
        found = {
            "model": name,
            "batch_size": BATCH,
            "steps": steps,
            "step_microseconds": 1e6 * seconds,
            "trace": summary(kernels, steps) if kernels else None,
        }
        print(json.dumps(found), flush=True)


def traced(experiment: Experiment, dataset: data.Dataset) -> tuple[float, list[Kernel]]:
    """Seconds per step of a chunk, by the median, and of one more chunk its kernels."""
    program, state = programs.build(experiment, dataset)
    steps = experiment.train.chunk_steps
    source, _ = next(program.chunks(0, program.steps_per_epoch))
    seconds = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        state, sums = program.advance(state, program.sums(), source, steps)
        jax.block_until_ready(sums)
        seconds.append((time.perf_counter() - began) / steps)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            state, sums = program.advance(state, program.sums(), source, steps)
            jax.block_until_ready(sums)
        [trace] = Path(folder).rglob("*.xplane.pb")
        kernels = list(kernels_of(ProfileData.from_file(str(trace))))
    return median(seconds[1:]), kernels


def kernels_of(profile: Any) -> Iterator[Kernel]:
    """The kernels of the first accelerator; a CPU's trace has none."""
    for plane in profile.planes:
        if plane.name.startswith(("/device:GPU:0", "/device:TPU:0")):
            for line in plane.lines:  # a GPU's streams, or of a TPU its operations
                if "Compute" in line.name or line.name == "XLA Ops":
                    for event in line.events:
                        yield Kernel(event.name, event.start_ns, event.start_ns + event.duration_ns)


def summary(kernels: list[Kernel], steps: int) -> dict[str, Any]:
    """Per step, in microseconds: the span of all kernels, their part of it, the longest ones."""
    total: dict[str, float] = defaultdict(float)
    count = Counter(kernel.name for kernel in kernels)
    for kernel in kernels:
        total[kernel.name] += kernel.end - kernel.start
    span = max(k.end for k in kernels) - min(k.start for k in kernels)
    return {
        "span_microseconds": span / steps / 1e3,
        "busy_microseconds": busy(kernels) / steps / 1e3,
        "kernels_per_step": len(kernels) / steps,
        "top": [
            {"kernel": name, "per_step": count[name] / steps, "microseconds": t / steps / 1e3}
            for name, t in sorted(total.items(), key=lambda item: -item[1])[:TOP]
        ],
    }


def busy(kernels: Iterable[Kernel]) -> float:
    """Nanoseconds in which at least one kernel ran: streams may run some at once."""
    found, until = 0.0, float("-inf")
    for kernel in sorted(kernels, key=lambda k: k.start):
        found += max(0.0, kernel.end - max(kernel.start, until))
        until = max(until, kernel.end)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python3 -m gpu.profiling")
    parser.add_argument("source")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--models", nargs="+", required=True)
    main(**vars(parser.parse_args()))
