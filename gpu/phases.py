"""What is run on the accelerator, phase by phase, and what is read from what it leaves."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from gpu.running import Command

MODELS = ("mnist_vae", "mnist_vae_bn", "mnist_cae", "mnist_conv_vae")
DENSE, CONVOLUTIONAL = MODELS[:2], MODELS[2:]
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
"""For processes at once: by default each takes most of the card's memory."""


class Setting(NamedTuple):
    """What the phases have in common."""

    source: str
    """Of the images, as --data.source takes it."""
    small: bool
    """Whether this is a rehearsal: everything once, as little as possible of it."""
    out: Path


class Phase(NamedTuple):
    """A part of the whole, with a time limit."""

    name: str
    title: str
    seconds: float
    """Of nine minutes: its share of the time, to which comes what those before it have left."""
    commands: Callable[[Setting], list[list[Command]]]
    """Those of a list run at once, one list after the other."""
    result: Callable[[Setting, Path], Any]
    """What is found in the folder of what the commands printed; also of those that were cut off."""
    needs_torch: bool = False


def read_json(path: Path) -> Any:
    """A file's JSON; None where a command was cut off before it wrote any."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def read_lines(path: Path) -> list[Any]:
    """A file's lines of JSON, but for one that was cut off."""
    lines = path.read_text().splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def doctor(setting: Setting) -> list[list[Command]]:
    quick = ("--quick",) if setting.small else ()
    return [[Command("doctor", ("-m", "jaxvae", "doctor", "--json", *quick))]]


def parity(setting: Setting) -> list[list[Command]]:
    threads = {"OMP_NUM_THREADS": str(max(1, cpus() // len(MODELS)))}
    # Most of the time is spent on compiling, of which choosing the fastest kernels is most.
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    models = MODELS[:1] if setting.small else MODELS
    return [
        [
            Command(
                name,
                ("-m", "torch_parity", "--experiment", name, "--json"),
                SHARED | threads | {"XLA_FLAGS": flags},
            )
            for name in models
        ]
    ]


def parity_result(setting: Setting, folder: Path) -> dict[str, Any]:
    found = {name: read_json(folder / f"{name}.out") for name in MODELS}
    return {name: result for name, result in found.items() if result is not None}


# A turn takes 20 ms at least on a fast card.
MANY = {"images": 30720, "rounds": 4}
SPEED_128 = {
    "dense-128": (DENSE, MANY),
    "convolutional-128": (CONVOLUTIONAL, MANY),
}
SPEED_1024 = {
    "small-1024": (MODELS[:3], MANY | {"batch": 1024, "epochs": 5}),
    "large-1024": (MODELS[3:], {"batch": 1024, "epochs": 2, "images": 15360, "rounds": 4}),
}
SPEED_SMALL = {"small": (DENSE[:1], {"batch": 32, "images": 128, "rounds": 1})}
Parts = Mapping[str, tuple[tuple[str, ...], dict[str, int]]]


def speed(parts: Parts, setting: Setting) -> list[list[Command]]:
    """In parts, so that what is done is kept; the models of a part fit the card together."""
    environment = SHARED | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}  # many processes compile at once
    source = () if setting.source == "digits" else ("--source", setting.source)
    commands = []
    for name, (models, numbers) in (SPEED_SMALL if setting.small else parts).items():
        options = [f"--{option}={number}" for option, number in numbers.items()]
        arguments = ("--model", *models, *options, *source, "--in-memory", "--json")
        commands.append(Command(name, ("-m", "torch_parity.speed", *arguments), environment))
    return [[command] for command in commands]


def speed_result(parts: Parts, setting: Setting, folder: Path) -> list[Any]:
    names = SPEED_SMALL if setting.small else parts
    found = [read_json(folder / f"{name}.out") for name in names]
    return [line for part in found if part is not None for line in part["lines"]]


def tests(setting: Setting) -> list[list[Command]]:
    xml = f"--junitxml={setting.out / 'logs' / 'tests' / 'tests.xml'}"
    # pytest-benchmark, where it is installed, warns of xdist, and warnings are errors.
    plugins = ("-p", "no:benchmark", "-p", "no:cacheprovider", "-n", str(min(8, cpus())))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()
    arguments = ("-m", "pytest", "-q", *plugins, xml, "-m", "accelerator", "tests/accelerator")
    return [[Command("tests", arguments, SHARED | {"XLA_FLAGS": flags})]]


def cpus() -> int:
    return os.cpu_count() or 1


def tests_result(setting: Setting, folder: Path) -> list[dict[str, Any]]:
    path = folder / "tests.xml"
    if not path.is_file():
        return []
    found = []
    for case in ElementTree.parse(path).iter("testcase"):
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        found.append(
            {
                "name": case.get("name"),
                "seconds": float(case.get("time", 0)),
                "outcome": "passed" if bad is None else bad.tag,
                "message": None if bad is None else (bad.get("message") or "").split("\n")[0],
            }
        )
    return found


def populations(setting: Setting) -> list[list[Command]]:
    sizes = ("1", "2") if setting.small else ("1", "8", "64", "512")
    steps = "2" if setting.small else "100"
    arguments = ("-m", "gpu.populations", setting.source, "--steps", steps, "--sizes", *sizes)
    return [[Command("populations", arguments)]]


def profile(setting: Setting) -> list[list[Command]]:
    models = (MODELS[0], MODELS[2]) if setting.small else MODELS
    steps = "2" if setting.small else "100"
    arguments = ("-m", "gpu.profiling", setting.source, "--steps", steps, "--models", *models)
    return [[Command("profile", arguments)]]


def experiments(setting: Setting) -> list[list[Command]]:
    """All at once. A run that was cut off goes on; one that has finished is trained anew."""
    options = {
        "mnist_conv_vae": ("--train.chunk-steps", "750"),
        "mnist_vae_bn": (),
        "pytorch_examples_vae": (),
    }
    shrink = ("--train.epochs", "1", "--data.limit", "256", "--data.batch-size", "64")
    common = ("--or-resume", "--train.figures-every", "0", *(shrink if setting.small else ()))
    commands = []
    for name, own in options.items():
        folder = setting.out / "runs" / name
        if (read_json(folder / "summary.json") or {}).get("status") == "finished":
            shutil.rmtree(folder)
        where = (f"experiments/{name}.py", "--data.source", setting.source, "--out", str(folder))
        arguments = ("-m", "jaxvae", "train", *where, *own, *common)
        commands.append(Command(name, arguments, SHARED))
    return [commands]


def experiments_result(setting: Setting, folder: Path) -> dict[str, Any]:
    """From the summaries; of a run that was cut off, what its metrics say."""
    kept = ("status", "epochs", "best", "last", "seconds", "compile_seconds", "total_seconds")
    found: dict[str, Any] = {}
    for run in sorted((setting.out / "runs").glob("*")):
        summary = read_json(run / "summary.json")
        rows = []
        if (run / "metrics.csv").is_file():
            with (run / "metrics.csv").open() as file:
                rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        if (summary or {}).get("status") == "finished":
            found[run.name] = {name: summary[name] for name in kept}
        elif rows:
            best = min(rows, key=lambda row: row["val_loss"])
            seconds = sum(row["seconds"] for row in rows)
            numbers = (len(rows), best, rows[-1], seconds, None, None)
            found[run.name] = dict(zip(kept, ("cut off", *numbers), strict=True))
    return found


PHASES = (
    Phase("doctor", "Doctor", 65, doctor, lambda _, logs: read_json(logs / "doctor.out")),
    Phase("parity", "Parity with PyTorch", 72, parity, parity_result, needs_torch=True),
    Phase(
        "speed",
        "Speed beside PyTorch",
        155,
        partial(speed, SPEED_128),
        partial(speed_result, SPEED_128),
        needs_torch=True,
    ),
    Phase("tests", "Tests on the accelerator", 33, tests, tests_result),
    Phase(
        "populations",
        "Populations of the MLP VAE",
        57,
        populations,
        lambda _, logs: read_lines(logs / "populations.out"),
    ),
    Phase(
        "profile",
        "Profile of a chunk",
        45,
        profile,
        lambda _, logs: read_lines(logs / "profile.out"),
    ),
    # Last, since it takes what time the others leave.
    Phase("experiments", "Experiments", 113, experiments, experiments_result),
)

ASKED_FOR = Phase(
    "speed-1024",
    "Speed beside PyTorch at batch 1024",
    150,
    partial(speed, SPEED_1024),
    partial(speed_result, SPEED_1024),
    needs_torch=True,
)
"""Left out unless `--phases` names it: nine minutes do not hold it too."""
