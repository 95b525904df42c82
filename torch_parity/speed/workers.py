"""A contestant of the speed comparison in a process of its own, so that its memory is its own.

The parent keeps a `Worker` per contestant and tells one at a time to train an epoch; the others
wait. In the process, a contestant is a generator: it yields once it has its data, and from then on
once per epoch, so what runs between two yields is what is timed. The first epoch includes building
and compiling.
"""

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxvae.runs import RunError

Report = dict[str, Any]


def png(image: np.ndarray) -> bytes:
    """A grey image, uint8 (height, width, 1), as a PNG file: what is decoded while training."""
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0]).save(buffer, "png")
    return buffer.getvalue()


class Job(NamedTuple):
    """What all contestants of a comparison train."""

    experiment: str
    """Name of the experiment's file, and but for variants of the recipe."""
    batch_size: int
    folder: str
    """Has images.npy, uint8 (n, height, width, channels), n a multiple of the batch size;
    orders.npy, int64 (epochs, n), the order in which each epoch visits them; and weights.npz, the
    state dict of the PyTorch model that everybody starts from."""
    bernoulli: bool
    """Whether the loss is a binary cross-entropy."""
    scale: float
    """A batch's loss as its source computes it / mean over the batch of nats per image."""
    variant: str = ""
    """Of `torch_parity.speed.variants`, where it is one of the family."""
    settings: dict[str, Any] | None = None
    """Of the experiment, where they are not those of its file."""
    weight_map: str = "reference"
    """Of `jaxvae.interop.find.known_maps`: the one that the weights' names are of."""


class WorkerError(RunError):
    """A contestant failed."""


class Worker:
    """A contestant's process, as its parent sees it.

    `contestant` is `tutorial` with or without `workers`, `tuned` and its options, `jaxvae loop`,
    `jaxvae step`, `jaxvae streamed`, `jaxvae population SIZE` or `limit`; `tree` is where else the
    packages are, such as another version of them.
    """

    def __init__(self, contestant: str, job: Job, tree: Path | None = None):
        self.contestant = contestant
        # What a job leaves as it is need not be known to another version.
        usual = Job._field_defaults
        told = {n: x for n, x in job._asdict().items() if n not in usual or x != usual[n]}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, contestant, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # By default JAX takes most of a GPU's memory, which here is shared.
            env=os.environ
            | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            | ({} if tree is None else {"PYTHONPATH": str(tree)}),
            cwd=tree,
        )

    def ready(self) -> Report:
        """Wait for its report: first, once it has its data, its `device`, `cpu` or a GPU's name.

        Raises:
            WorkerError: it failed.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            raise WorkerError(f"{self.contestant}: ended with status {status}")
        report = json.loads(line)
        if "error" in report:
            raise WorkerError(f"{self.contestant}: {report['error']}")
        return report

    def epoch(self, count: int = 1) -> Report:
        """Let it train so many epochs; return `seconds` of one, `peak_bytes` and what it yielded.

        Raises:
            WorkerError: it failed.
        """
        self.begin(count)
        return self.ready()

    def begin(self, count: int = 1) -> None:
        """Let it train so many epochs without waiting for them, as `ready` does.

        Raises:
            WorkerError: it has ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{count}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"{self.contestant}: has ended") from None

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


def main(contestant: str, job: str) -> None:
    """What a worker's process does: for each line on stdin, which says how many, it trains so many
    epochs and answers with a JSON line on stdout."""
    # Whatever libraries print goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(report: Report) -> None:
        print(json.dumps(report), file=answers, flush=True)

    try:
        epochs = _contestant(contestant.split(), Job(**json.loads(job)))
        answer(next(epochs))
        for count in map(int, sys.stdin):
            began = perf_counter()
            for _ in range(count):
                report = next(epochs)
            seconds = (perf_counter() - began) / count
            answer({"seconds": seconds, "peak_bytes": peak_bytes(), **report})
    except Exception as error:  # the parent says so, and goes on where it can
        lines = str(error).strip().splitlines() or [""]
        answer({"error": f"{type(error).__name__}: {lines[0]}"})


def _contestant(words: list[str], job: Job) -> Iterator[Report]:
    # Each process imports only its own library: what it imports is part of its memory.
    kind, *options = words
    if kind == "jaxvae":
        from torch_parity.speed import ours

        if options[0] == "population":
            return ours.population(job, options[1])
        return ours.train(job, options[0])
    if kind == "limit":
        from torch_parity.speed import limit

        return limit.limit(job)
    from torch_parity.speed import pytorch

    if kind == "tutorial":
        return pytorch.tutorial(job, *options)
    return pytorch.tuned(job, *options)


def peak_bytes() -> int:
    """The largest resident memory this process has had."""
    # On Linux getrusage starts from the parent's memory at the fork; VmHWM starts anew.
    status = Path("/proc/self/status")
    if status.is_file():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
