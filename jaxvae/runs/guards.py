"""Whether a command may write to a run folder: its lock, and what a resumed run may change."""

import contextlib
import dataclasses
import fcntl
import importlib.util
import itertools
import logging
import os
import reprlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from jaxvae import __version__
from jaxvae.checks import UsageError, absent, require
from jaxvae.config import Experiment
from jaxvae.runs.folder import (
    PARAMETERS,
    RunError,
    origin_of,
    read_config,
    read_metrics,
    saved_config,
)

log = logging.getLogger("jaxvae")

# What a resumed run may change, because it does not change what a step computes.
FREE_ON_RESUME = {
    "name",
    "train.epochs",
    "train.max_steps",
    "train.early_stopping",
    "train.chunk_steps",
    "train.checkpoint_steps",
    "train.figures_every",
    "train.figure_formats",
    "train.figure_footer",
    "train.track",
    "train.report",
    "data.streaming",
}

# What it may change when told so: the saved state fits, and the run goes on in another way.
CHANGEABLE = (
    "jaxvae",
    "data.source",
    "objective.beta",
    "objective.warmup_steps",
    "optimizer.learning_rate",
    "optimizer.schedule",
    "optimizer.decay",
    "optimizer.patience",
    "optimizer.warmup_steps",
    "train.epochs",
    "train.sub_batch",
)


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


def refuse_unchangeable(may_change: Collection[str]) -> None:
    """Raise a UsageError unless all of these settings are `CHANGEABLE`."""
    for name in may_change:
        require(name in CHANGEABLE, "--may-change", name, f"one of {', '.join(CHANGEABLE)}")


TRACKERS = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "mlflow": ("mlflow", "MLflow"),
    "wandb": ("wandb", "Weights & Biases"),
}
"""What each of `train.track` imports, and its name; the extra that installs it has the kind's."""


def refuse_absent(experiment: Experiment) -> None:
    """Raise a UsageError where a setting needs an extra of the package that is not installed."""
    data, train = experiment.data, experiment.train
    for name, value, module, package, extra in (
        ("data.streaming", data.streaming, "grain", "Grain", "stream"),
        *(("train.track", repr(kind), *TRACKERS[kind], kind) for kind in train.track),
    ):
        if value and importlib.util.find_spec(module) is None:
            raise absent(f"{name} = {value}", package, f"jaxvae[{extra}]")


def refuse_changes(experiment: Experiment, folder: Path, may_change: Collection[str] = ()) -> None:
    """A resumed run must compute what it computed before, except as `may_change` says.

    Raises:
        UsageError: fields differ that may not; all of them, with both values.
    """
    saved, *_ = read_config(folder, like=experiment)
    free = FREE_ON_RESUME | set(may_change)
    if experiment.optimizer.schedule == "cosine" and "train.epochs" not in may_change:
        free = free - {"train.epochs"}  # the cosine ends at the last epoch
    changed = differences(saved, experiment)
    made_by, this = saved_config(folder)["jaxvae"], __version__
    if made_by != this:
        changed["jaxvae"] = (made_by, this)
    changed = {name: values for name, values in changed.items() if name not in free}
    if changed:
        listed = ", ".join(f"{name} ({old!r} to {new!r})" for name, (old, new) in changed.items())
        told = [name for name in changed if name in CHANGEABLE]
        hint = f"; unless told so: --may-change {' '.join(told)}" if told == list(changed) else ""
        others = _beginning(folder) if "data.source" in changed else ""
        raise UsageError(f"{folder}: a resumed run cannot change {listed}{hint}{others}")


def parts_as_before(experiment: Experiment, folder: Path) -> int | None:
    """Of how many images the parts were that the run took, where `train.sub_batch` is left open.

    A run from before there were parts took whole batches. None: the number is set, or it was set
    before, and was told to change.

    Raises:
        UsageError: config.json is damaged.
    """
    saved, whole = saved_config(folder), experiment.data.batch_size
    before = read_config(folder, like=experiment)[0].train.sub_batch
    size = saved.get("sub_batch", whole)
    if type(size) is not int or size < 1 or whole % size:
        path, allowed = folder / "config.json", f"a divisor of data.batch_size = {whole}"
        raise UsageError(f"{path}: sub_batch = {reprlib.repr(size)}: must be {allowed}")
    if experiment.train.sub_batch is not None or before is not None:
        return None
    return size


def refuse_other_images(
    folder: Path,
    stored_shape: tuple[int, ...],
    images: dict[str, Any],
    may_change: Collection[str] = (),
) -> None:
    """A resumed run uses the same images as before; with "data.source" in `may_change`, as many.

    Args:
        folder: the run folder.
        stored_shape: (height, width, channels).
        images: their `data.fingerprint`.
        may_change: as for `refuse_changes`.

    Raises:
        UsageError: their number or size differs, or what they show.
    """
    saved = saved_config(folder)
    known = saved.get("images")  # not of weights that were imported
    before = {"stored_shape": saved["stored_shape"]} | (known if isinstance(known, dict) else {})
    now: dict[str, Any] = {"stored_shape": list(stored_shape)} | images
    if "data.source" in may_change:
        before.pop("digest", None)
    if changed := [name for name in before if before[name] != now.get(name)]:
        listed = ", ".join(f"{name} ({before[name]} to {now.get(name)})" for name in changed)
        hint = "; unless told so: --may-change data.source" if changed == ["digest"] else ""
        raise UsageError(f"{folder}: its images have changed: {listed}{hint}{_beginning(folder)}")


def _beginning(folder: Path) -> str:
    """What one who comes with other images may have wanted."""
    return f"; for a new run that begins with its parameters: train EXPERIMENT --init-from {folder}"


def refuse_other_origin(folder: Path, init_from: Path | None) -> None:
    """A resumed run began where it began; who says where must say the same.

    Raises:
        UsageError: another run is named, or the run began by itself.
    """
    if init_from is None:
        return
    origin = origin_of(folder)
    allowed = "left out: the run began by itself"
    if origin is not None:
        allowed = f"{origin['run']!r}, with which the run began"
    same = origin is not None and origin["run"] == str(init_from)
    require(same, "init_from", str(init_from), allowed)


def refuse_exported(folder: Path) -> None:
    """Raise a UsageError where a folder is that of an exported run, which cannot go on."""
    if (folder / PARAMETERS).exists():
        raise UsageError(
            f"{folder}: an exported run has parameters and no state of an optimizer to go on from;"
            f" for a new run that begins with them: train EXPERIMENT --init-from {folder}"
        )


def refuse_lost_checkpoints(folder: Path) -> None:
    """A run without a checkpoint may begin again, unless metrics.csv tells of more than an epoch.

    Raises:
        RunError: it does, so checkpoints were lost. The first epoch's may not have been saved.
    """
    if any(row["epoch"] > 1 for row in read_metrics(folder / "metrics.csv")):
        raise RunError(
            f"{folder}: metrics.csv tells of several epochs, but there is no checkpoint to go on"
            " from; train again into another folder"
        )


def refuse_population(folder: Path) -> None:
    """What needs a single run says so.

    Raises:
        UsageError: not a run folder, or a population's.
    """
    if "population" in saved_config(folder):
        raise UsageError(
            f"{folder}: a population; take a member out of it first (in Python: run.member(0)):"
            f" jaxvae extract {folder} --member 0 --out RUN"
        )


def refuse_existing(folder: Path, instead: str = "give another --out") -> None:
    """Raise a FileExistsError that says what to do `instead`, unless `folder` is new or empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not empty; {instead}")


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder, new or not: no other process can train there meanwhile.

    The lock is the kernel's, so it ends with the process, however that ends. A folder that is empty
    in the end is removed, with those above it that were made for it.

    Raises:
        UsageError: another process holds it.
        OSError: it cannot be made.
    """
    made = [folder, *(parent for parent in folder.parents if not parent.exists())]
    handle = _locked(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for empty in made:
                empty.rmdir()
        os.close(handle)


def _locked(folder: Path) -> int:
    """A handle of the folder, made where it is missing, that holds its lock until it is closed."""
    while True:
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder}: a file, not a run folder")
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise UsageError(f"{folder}: another process is training in it") from error
        except OSError as error:  # some network file systems cannot
            log.warning("%s: cannot be locked (%s): train in it only once", folder, error)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(folder)):
                return handle
        os.close(handle)  # whoever held it before has removed it meanwhile: once more


def is_held(folder: Path) -> bool:
    """Whether a process holds a run folder, as `held` does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # some network file systems cannot lock
        return False
    finally:
        os.close(handle)
    return False


def remove_unfinished(folder: Path) -> None:
    """Remove what a process that was killed has left half-written in a run folder, by `atomic`."""
    for unfinished in (*folder.glob(".*.*.tmp"), *folder.glob("figures/.*.*.tmp")):
        if unfinished.name.split(".")[-2].isdigit():
            unfinished.unlink(missing_ok=True)


def claim_folder(name: str) -> Path:
    """Create the first of runs/NAME, runs/NAME-2, ... that does not exist yet."""
    for n in itertools.count(1):
        folder = Path("runs") / (name if n == 1 else f"{name}-{n}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError  # count never ends
