"""A run folder: config.json, metrics.csv, summary.json, checkpoints/, figures/.

Everything in it is data: nothing from a run folder is executed. A run whose experiment has classes
of its own needs its experiment file again to be loaded.
"""

import contextlib
import csv
import dataclasses
import importlib.util
import itertools
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxvae.config import Experiment, UsageError

PARTS = ("data", "model", "objective", "optimizer", "train")

# What a resumed run may change, because it does not change what a step computes.
FREE_ON_RESUME = {
    "name",
    "train.epochs",
    "train.max_steps",
    "train.early_stopping",
    "train.chunk_steps",
    "train.checkpoint_steps",
    "train.figures_every",
    "train.tensorboard",
}


class RunError(RuntimeError):
    """A run failed; the message says where and what is kept."""


def load_experiment(path: str | Path) -> Experiment:
    """The value `experiment` of a Python file.

    Raises:
        UsageError: no such file, it fails, or it defines no Experiment of that name.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"experiment file {str(path)!r}: no such file")
    spec = importlib.util.spec_from_file_location(f"jaxvae_experiment_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"experiment file {str(path)!r}: must be a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it is executed
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(
            f"experiment file {str(path)!r}: {type(error).__name__}: {error}"
        ) from error
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"experiment file {str(path)!r}: must define `experiment = Experiment(...)`"
        )
    return experiment


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well, and vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UsageError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable JSON file ({error})") from error


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """Write metrics.csv, a row per epoch."""
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv; none if there is no such file yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return [row | {"epoch": int(row["epoch"]), "step": int(row["step"])} for row in rows]


def describe(experiment: Experiment, stored_shape: tuple[int, ...]) -> dict[str, Any]:
    """What config.json holds: versions, the experiment, its classes, the stored images' shape."""
    return {
        "jaxvae": version("jaxvae"),
        "jax": version("jax"),
        "stored_shape": list(stored_shape),
        "classes": {name: _class_name(getattr(experiment, name)) for name in PARTS},
        "experiment": dataclasses.asdict(experiment),
    }


def _class_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def saved_config(folder: Path) -> dict[str, Any]:
    """What config.json holds, as it was written by `describe`.

    Raises:
        UsageError: not a run folder, or a damaged config.json.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(f"{folder}: not a run folder (it has no config.json)")
    return read_json(path)


def read_config(
    folder: Path, like: Experiment | None = None
) -> tuple[Experiment, tuple[int, int, int]]:
    """The experiment of a run and the shape (height, width, channels) of its stored images.

    Args:
        folder: the run folder.
        like: the experiment the run came from; needed when it has classes of its own.

    Raises:
        UsageError: not a run folder, a damaged config.json, or a missing experiment file.
    """
    saved = saved_config(folder)
    template = Experiment(name="run") if like is None else like
    try:
        for name, class_name in saved["classes"].items():
            if class_name != _class_name(getattr(template, name)):
                raise UsageError(
                    f"{folder}: its {name} is a {class_name}; give the experiment file that defines"
                    " it (--experiment FILE; to resume: train FILE --resume RUN)"
                )
        experiment = _replace(template, saved["experiment"])
        height, width, channels = saved["stored_shape"]
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{folder / 'config.json'}: not a configuration of this version ({error})"
        ) from error
    return experiment, (height, width, channels)


def _replace(template: Any, values: dict[str, Any]) -> Any:
    """`template` with all its fields replaced by JSON values; lists become tuples."""
    changes = {}
    for name, value in values.items():
        current = getattr(template, name)
        if dataclasses.is_dataclass(current):
            value = _replace(current, value)
        elif isinstance(value, list):
            value = tuple(value)
        changes[name] = value
    return dataclasses.replace(template, **changes)


def differences(a: Any, b: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Fields in which two experiments differ, by dotted name: (value in a, value in b)."""
    found: dict[str, tuple[Any, Any]] = {}
    for f in dataclasses.fields(a):
        left, right = getattr(a, f.name), getattr(b, f.name)
        if dataclasses.is_dataclass(left):
            found |= differences(left, right, f"{prefix}{f.name}.")
        elif left != right:
            found[prefix + f.name] = (left, right)
    return found


def refuse_changes(experiment: Experiment, folder: Path) -> None:
    """A resumed run must compute what it computed before.

    Raises:
        UsageError: fields differ that may not; all of them, with both values.
    """
    saved, _ = read_config(folder, like=experiment)
    free = FREE_ON_RESUME
    if experiment.optimizer.schedule == "cosine":
        free = free - {"train.epochs"}  # the cosine ends at the last epoch
    changed = {
        name: values for name, values in differences(saved, experiment).items() if name not in free
    }
    if changed:
        listed = ", ".join(f"{name} ({old!r} to {new!r})" for name, (old, new) in changed.items())
        raise UsageError(f"{folder}: a resumed run cannot change {listed}")


def refuse_population(folder: Path) -> None:
    """What needs a single run says so.

    Raises:
        UsageError: not a run folder, or a population's.
    """
    if "population" in saved_config(folder):
        raise UsageError(
            f"{folder}: a population; take a member out of it first:"
            f" jaxvae extract {folder} --member 0 --out RUN"
        )


def refuse_existing(folder: Path, instead: str = "give another --out") -> None:
    """Raise a FileExistsError that says what to do `instead`, unless `folder` is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not empty; {instead}")


def claim_folder(name: str) -> Path:
    """Create the first of runs/NAME, runs/NAME-2, ... that does not exist yet."""
    for n in itertools.count(1):
        folder = Path("runs") / (name if n == 1 else f"{name}-{n}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError  # count never ends
