"""A run's copy of the file that defines its classes: experiment.py, its digest in config.json.

The copy is data until somebody says that it may be executed (`trust_code`). Its digest shows that
it was edited, not who wrote it.
"""

import hashlib
import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment
from jaxvae.runs.classes import own_classes
from jaxvae.runs.folder import SOURCE, load_experiment, saved_code

log = logging.getLogger("jaxvae")

COPY = "experiment.py"


class Code(NamedTuple):
    """A Python file: its name without folders, and what it holds."""

    file: str
    content: bytes

    @property
    def digest(self) -> str:
        return _digest(self.content)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def code_of(experiment: Experiment) -> Code | None:
    """The file that defines the classes of an experiment that are not the package's.

    It is an experiment file, a module that defines an `experiment`, or the script that runs. None:
    there are no such classes, or no one file of that kind defines them, as in a notebook.
    """
    own = own_classes(experiment)
    names = {cls.__module__ for cls in own}
    module = sys.modules.get(names.pop()) if len(names) == 1 else None
    if module is None:
        return None
    # A file of the same name may have been loaded since.
    known = all(vars(module).get(cls.__qualname__) is cls for cls in own)
    usable = isinstance(vars(module).get("experiment"), Experiment)
    file = Path(getattr(module, "__file__", None) or "")
    if not known or not (usable or module.__name__ == "__main__") or file.suffix != ".py":
        return None
    content = vars(module).get(SOURCE)
    try:
        return Code(file.name, file.read_bytes() if content is None else content)
    except OSError:  # it is gone
        return None


def keep(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """Write the copy for a run that begins or goes on; return what config.json says of it.

    A copy of other code, which trained until now, is kept beside it as experiment-DIGEST.py.
    """
    before = saved_code(folder) if (folder / "config.json").is_file() else None
    code, path = code_of(experiment), folder / COPY
    if code is None:
        if own_classes(experiment):
            log.info(
                "no copy of the code of %s is kept, since no one file defines it and `experiment`;"
                " later commands need a file that does (--experiment FILE)",
                ", ".join(cls.__qualname__ for cls in own_classes(experiment)),
            )
        return {} if before is None else {"code": before}
    if path.is_file() and (old := path.read_bytes()) != code.content:
        path.rename(folder / f"experiment-{_digest(old)[:8]}.py")
    _write(path, code.content)
    return {"code": {"file": code.file, "sha256": code.digest}}


def carry(folder: Path, out: Path) -> dict[str, Any]:
    """Copy the copy of a run into another's folder; return what config.json says of it.

    Raises:
        UsageError: it was edited, or it is not there.
    """
    saved = saved_code(folder)
    if saved is None:
        return {}
    _write(out / COPY, _unedited(folder, saved["sha256"]))
    return {"code": saved}


def experiment_for(
    folder: Path, like: Experiment | None, trust_code: bool = False
) -> Experiment | None:
    """The `like` for a run: the one that is given, or with `trust_code` that of the run's own copy.

    Where the one that is given is of other code than the run's, a warning says so. None: neither is
    given, or the run needs none.

    Raises:
        UsageError: both are given, the copy was edited or fails, or there is none.
    """
    if like is not None:
        require(not trust_code, "trust_code", trust_code, "False where an experiment file is given")
        warn_of_other(folder, like)
        return like
    if not trust_code:
        return None
    saved = saved_code(folder)
    if saved is not None:
        _unedited(folder, saved["sha256"])
        return load_experiment(folder / COPY)
    return None


def warn_of_other(folder: Path, experiment: Experiment) -> None:
    """Say that an experiment's classes are of other code than those of the run."""
    saved, code = saved_code(folder), code_of(experiment)
    if saved is not None and code is not None and code.digest != saved["sha256"]:
        log.warning(
            "%s: %s is not the code that the run was trained with, %s (their SHA-256 differ)",
            *(folder, code.file, folder / COPY),
        )


def _unedited(folder: Path, digest: str) -> bytes:
    path = folder / COPY
    if not path.is_file():
        raise UsageError(f"{path}: no such file, though config.json names it; give --experiment")
    content = path.read_bytes()
    if _digest(content) != digest:
        raise UsageError(
            f"{path}: edited since the run wrote it (its SHA-256 is not that in config.json); if it"
            f" is meant so, give --experiment {path}"
        )
    return content


def _write(path: Path, content: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(content)
