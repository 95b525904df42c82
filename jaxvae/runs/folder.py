"""A run folder: config.json, metrics.csv, summary.json, checkpoints/, figures/.

Everything in it is data: nothing from a run folder is executed unasked. A run whose experiment has
classes of its own needs its experiment file to be loaded, or leave to execute its copy of that file
(`jaxvae.runs.code`).
"""

import contextlib
import csv
import dataclasses
import hashlib
import json
import math
import reprlib
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxvae import __version__
from jaxvae.atomic import atomic
from jaxvae.checks import UsageError
from jaxvae.config import Experiment, with_fields
from jaxvae.from_json import checked, from_json
from jaxvae.info import Info
from jaxvae.runs import names
from jaxvae.runs.classes import PARTS, class_name, differs, plain_parts

TERMS = [f"{split}_{term}" for split in ("train", "val") for term in ("loss", "recon", "kl")]
SOURCE = "__jaxvae_source__"
"""Name, in the module of an experiment file, of what was executed: the file may change."""
PARAMETERS = "model.safetensors"  # of an exported run, which has no checkpoints
COLUMNS = ("epoch", "step", *TERMS, "learning_rate")  # of every metrics.csv; most have more
MODULE = "jaxvae_experiment_"  # and a file's name: where its classes are


class RunError(RuntimeError):
    """A run failed; the message says where and what is kept."""


class Interrupted(RunError):
    """Training was asked to stop and has saved where it stands."""


def load_experiment(name_or_path: str | Path) -> Experiment:
    """The value `experiment` of a Python file, or what a run's config.json says.

    Args:
        name_or_path: A file, or the name of one of the package's experiments, such as mnist_vae or
            samples/iwae, where there is no file of that name.

    Raises:
        UsageError: no such file or name, the file fails, or it defines no Experiment of that name;
            a config.json is damaged, or of a run with classes of its own.
    """
    path = names.resolve(name_or_path)
    if path.name == "config.json":
        return _alike(path)
    if path.suffix != ".py":
        raise UsageError(
            f"experiment file {str(path)!r}: must be a Python file (.py), or the config.json of a"
            " run"
        )
    module = types.ModuleType(f"{MODULE}{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it is executed
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            # Not imported: a __pycache__ would be left, and hide an edit within the same second.
            content = vars(module)[SOURCE] = path.read_bytes()
            exec(compile(content, str(path), "exec"), vars(module))
    except Exception as error:
        where = line_of(error)
        raise UsageError(
            f"experiment file {str(path)!r}{f', {where[1]}' if where else ''}:"
            f" {type(error).__name__}: {error}"
        ) from error
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"experiment file {str(path)!r}: must define `experiment = Experiment(...)`"
        )
    try:
        return checked(experiment)
    except UsageError as error:
        raise UsageError(f"experiment file {str(path)!r}: {error}") from error


def line_of(error: BaseException) -> tuple[str, str] | None:
    """The innermost line of an experiment file that an error came through: its path, and "line 3".

    None: through none.
    """
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if SOURCE in frame.f_globals:
            found = frame.f_code.co_filename, f"line {line}"
    return found


def _alike(path: Path) -> Experiment:
    """The experiment of a config.json, for a run that begins anew."""
    classes = saved_config(path.parent)["classes"]
    for name, of in classes.items() if isinstance(classes, dict) else ():
        file = str(of).partition(".")[0].removeprefix(MODULE)
        if str(of).startswith(MODULE):
            raise UsageError(
                f"{path}: its {name} is a class of the file {file[:100]}.py: give that one, and"
                " options for the settings that differ"
            )
    return read_config(path.parent)[0]


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file of a run.

    Raises:
        UsageError: it is missing or damaged, or holds a number that is not finite.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file")  # a pipe would be waited for
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(value, allow_nan=False)  # NaN, Infinity and 1e999 are no JSON
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not a readable JSON file ({error})") from error
    return value


def write_metrics(path: Path, rows: list[dict[str, float]]) -> None:
    """Write metrics.csv, a row per epoch; what a row does not have is empty."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv; none if there is no such file yet.

    Raises:
        UsageError: it is damaged: not a file of numbers, or without a column that all runs have.
    """
    if not path.exists():
        return []
    rows: list[dict[str, float]] = []
    try:
        if not path.is_file():
            raise ValueError("not a file")  # a pipe would be waited for
        with path.open(newline="", encoding="utf-8") as file:
            for texts in csv.DictReader(file, strict=True):
                row = {name: float(text) for name, text in texts.items() if text != ""}
                if missing := [name for name in COLUMNS if name not in row]:
                    raise ValueError(f"no column {', '.join(missing)}")
                rows.append(row | {name: int(row[name]) for name in ("epoch", "step")})
    except (OSError, ValueError, TypeError, OverflowError, csv.Error) as error:
        raise UsageError(
            f"{path}: damaged in row {len(rows) + 1} ({error}); mend it, or remove it to go on"
            " without its rows"
        ) from error
    return rows


def read_summary(folder: Path) -> dict[str, Any]:
    """What summary.json holds; {} where there is none, as of a run that still trains."""
    path = folder / "summary.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    return found


def best_member(members: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of a population's members in summary.json, that of the lowest validation loss, among those
    that stayed finite; None: none did."""
    finite = [m for m in members if m["best"] is not None and m.get("failed_epoch") is None]
    return min(finite, key=lambda member: member["best"]["val_loss"], default=None)


def best_row(rows: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Of metrics.csv, that of the lowest validation loss; None: none is finite."""
    finite = [row for row in rows if math.isfinite(row["val_loss"])]
    return min(finite, key=lambda row: row["val_loss"], default=None)


def describe(
    experiment: Experiment,
    stored_shape: tuple[int, ...],
    info: Info,
    images: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What config.json holds: versions, the experiment, its classes, the stored examples' shape,
    what the model knows of the data, and their `data.fingerprint` (None: not known, of weights that
    were imported)."""
    return {
        "jaxvae": __version__,  # not the metadata: a checkout that is not installed runs too
        "jax": version("jax"),
        "stored_shape": list(stored_shape),
        "info": dataclasses.asdict(info) | {"shape": list(info.shape)},
        "images": images,
        "classes": {name: class_name(getattr(experiment, name)) for name in PARTS},
        "experiment": dataclasses.asdict(experiment),
    }


def ended_early(experiment: Experiment, error: RunError) -> dict[str, Any]:
    """What summary.json holds of a run that failed or was interrupted."""
    prefix = "" if isinstance(error, Interrupted) else "failed: "
    return {"experiment": experiment.name, "status": f"{prefix}{error}"}


def saved_config(folder: Path) -> dict[str, Any]:
    """What config.json holds, as it was written by `describe`.

    Raises:
        UsageError: not a run folder, or a damaged config.json.
    """
    path = folder / "config.json"
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such run folder")
    if not path.is_file():
        raise UsageError(f"{folder}: not a run folder (it has no config.json)")
    for entry in folder.iterdir():
        if entry.is_symlink() and entry.is_dir():  # what is written would land elsewhere
            raise UsageError(f"{entry}: a link; must be a folder inside the run folder")
    saved = read_json(path)
    if isinstance(saved, dict) and "jaxvae" in saved and "info" not in saved:
        raise UsageError(
            f"{path}: of jaxvae {reprlib.repr(saved['jaxvae'])}, whose runs have another layout;"
            f" this is {__version__}: use the version that made it"
        )
    for name in ("jaxvae", "stored_shape", "info", "classes", "experiment"):
        if not isinstance(saved, dict) or name not in saved:
            raise UsageError(f"{path}: {name}: missing, so not the configuration of a run")
    return saved


def saved_code(folder: Path) -> dict[str, str] | None:
    """What config.json says of the run's copy of its code: `file` and `sha256`; None: it has none.

    Raises:
        UsageError: not a run folder, or this is damaged.
    """
    code = saved_config(folder).get("code")
    for name in ("file", "sha256") if code is not None else ():
        if not isinstance(code, dict) or not isinstance(code.get(name), str):
            raise UsageError(f"{folder / 'config.json'}: code.{name}: must be there, as str")
    return code


def _needed(folder: Path) -> str:
    """What makes a run's own classes known, in words."""
    code = saved_code(folder)
    file = "the experiment file that defines it" if code is None else f"{_called(code)!r}"
    trusted = "" if code is None else "; or --trust-code, to execute the copy in the run folder"
    return (
        f"give {file} (--experiment FILE; to resume: train FILE --resume RUN; in Python:"
        f" like=jaxvae.runs.load_experiment(FILE)){trusted}"
    )


def _called(code: Mapping[str, str]) -> str:
    """The file of a run's code; of one of the package's experiments, as it is now, its name."""
    for path in names.experiments().values():
        if path.name == code["file"]:
            same = hashlib.sha256(path.read_bytes()).hexdigest() == code["sha256"]
            return path.stem if same else code["file"]
    return code["file"]


def template_for(folder: Path, experiment: Experiment) -> Experiment:
    """A `like` for a run that need not be one of this experiment: its parts are of the classes that
    config.json names, which are the package's own or those of `experiment`.

    Raises:
        UsageError: not a run folder, or it has other classes.
    """
    saved = saved_config(folder)
    classes, values, found = saved["classes"], saved["experiment"], {}
    plain = plain_parts(classes)
    for name in PARTS if isinstance(classes, dict) and isinstance(values, dict) else ():
        parts, cls = (getattr(plain, name), getattr(experiment, name)), str(classes.get(name))
        same = [part for part in parts if differs(cls, values.get(name), part) is None]
        if not same:
            copy = "" if saved_code(folder) is None else ", or --trust-code be given: it has a copy"
            raise UsageError(
                f"{folder}: its {name} is a {cls[:100]!r}: must be a class of"
                f" the package, or of the experiment file that is given{copy}"
            )
        found[name] = same[0]
    return with_fields(plain, found)


def origin_of(folder: Path) -> dict[str, Any] | None:
    """What config.json says of the run that this one began with; None: of none.

    Raises:
        UsageError: not a run folder, or this is damaged.
    """
    origin = saved_config(folder).get("init_from")
    kinds = {
        "run": str,
        "checkpoint_step": int,
        "taken": int,
        "initialised": list,
        "not_taken": list,
        "seen_otherwise": list,
    }
    for name, kind in kinds.items() if origin is not None else ():
        if not isinstance(origin, dict) or not isinstance(origin.get(name), kind):
            raise UsageError(
                f"{folder / 'config.json'}: init_from.{name}: must be there, as {kind.__name__}"
            )
    return origin


def read_config(
    folder: Path, like: Experiment | None = None
) -> tuple[Experiment, tuple[int, ...], Info]:
    """The experiment of a run, the shape of its stored examples, and what is known of the data.

    Args:
        folder: the run folder.
        like: the experiment the run came from; needed when it has classes of its own.

    Raises:
        UsageError: not a run folder, a damaged config.json, or a missing experiment file.
    """
    path, saved = folder / "config.json", saved_config(folder)
    classes, shape = saved["classes"], saved["stored_shape"]
    template = plain_parts(classes) if like is None else like
    if not isinstance(classes, dict) or set(classes) != set(PARTS):
        raise UsageError(f"{path}: classes = {reprlib.repr(classes)}: must name those of {PARTS}")
    values = saved["experiment"]
    for name in PARTS:
        own = values.get(name) if isinstance(values, dict) else None
        if (why := differs(str(classes[name]), own, getattr(template, name))) is not None:
            raise UsageError(
                f"{path}: its {name} is a {str(classes[name])[:100]!r}"
                f"{'' if like is None else ', ' + why}; {_needed(folder)}"
            )
    try:
        experiment = from_json(template, saved["experiment"])
    except Exception as error:  # a class of a user's own may raise anything
        raise UsageError(f"{path}: {error}") from error
    if like is not None and like.data.source == experiment.data.source:  # with its arrays
        data = dataclasses.replace(experiment.data, source=like.data.source)
        experiment = dataclasses.replace(experiment, data=data)
    try:
        info = from_json(Info(()), saved["info"], "info.")
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    for name, lengths in (("stored_shape", shape), ("info.shape", list(info.shape))):
        whole = isinstance(lengths, list) and all(type(length) is int for length in lengths)
        if not whole or not lengths or min(lengths) < 1:
            allowed = "positive lengths, such as a height, a width and a number of channels"
            raise UsageError(f"{path}: {name} = {reprlib.repr(lengths)}: must be {allowed}")
    return experiment, tuple(shape), info
