"""Do the tests find a fault? `python -m tests.mutants` plants one after the other and sees.

Each is planted in a copy of the tree, the tests of its list run there (not those that compare with
PyTorch), and docs/mutants.md notes which test failed, or that none did. What the page has is not
run again. Not a part of CI: a fault takes 1 to 30 seconds.
"""

import argparse
import importlib
import os
import re
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from hypothesis import Phase, settings

from tests.mutants.faults import ROOT, Fault, read_all

PAGE = ROOT / "docs" / "mutants.md"
COPIED = (
    "jaxvae",
    "tests",
    "experiments",
    "torch_parity",  # where the experiments are; what needs PyTorch is not run
    "docs",
    "conftest.py",
    "pyproject.toml",
)
LIBRARIES = (
    *("jax", "flax.linen", "optax", "orbax.checkpoint", "scipy.stats", "sklearn.mixture"),
    *("matplotlib.figure", "PIL.Image", "pytest"),
)
"""Imported once, before anything of the package: a fork has them."""
SECONDS = 30
"""Most processor time that the tests of one fault may take."""
TOO_LONG = -signal.SIGXCPU
NONE = "**survived**"
HEAD = "| fault | file | what is wrong | found by | seconds |\n|---|---|---|---|---|\n"


class Row(NamedTuple):
    """What became of a fault."""

    found_by: str  # the test, or NONE
    seconds: str


def main() -> None:
    options = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    options.add_argument("--only", nargs="+", help="faults whose name or file has one of these")
    options.add_argument("--again", action="store_true", help="those that the page has, too")
    options.add_argument("--whole", action="store_true", help="run the tests without any fault")
    given = options.parse_args()
    every = read_all()
    chosen = [f for f in every if not given.only or any(o in f.name + f.path for o in given.only)]
    for fault in chosen:
        fault.planted((ROOT / fault.path).read_text())  # all of them are there, before any runs
    with tempfile.TemporaryDirectory(prefix="jaxvae-mutants-") as folder:
        tree = copy(Path(folder))
        # Programs that a fault does not change are compiled once.
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(tree / "programs"))
        for library in LIBRARIES:
            importlib.import_module(library)
        # An example is enough that fails; the smallest one is not looked for.
        phases = [p for p in Phase if p not in (Phase.shrink, Phase.explain)]
        # Nor is a slow example a fault that is found: compiling takes longer than any deadline.
        settings.register_profile("mutants", derandomize=True, phases=phases, deadline=None)
        os.environ["HYPOTHESIS_PROFILE"] = "mutants"
        if given.whole:
            sys.exit(whole(tree, list(dict.fromkeys(fault.tests for fault in chosen))))
        rows = read_page()
        for fault in chosen:
            if fault.name in rows and not given.again:
                continue
            if (row := run(tree, fault)) is None:
                continue
            rows[fault.name] = row
            print(f"{fault.name}  {row.seconds:>4} s  {row.found_by:60}  {fault.words}", flush=True)
            write_page(every, rows)
    write_page(every, rows)


def copy(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


class Outcome(NamedTuple):
    """What pytest came to: its status (TOO_LONG where it was stopped), output, processor time."""

    status: int
    said: str
    seconds: float


def pytest(tree: Path, tests: str) -> Outcome:
    """Run these tests until one fails, in a fork of this process, which has the libraries."""
    with tempfile.TemporaryFile("w+") as said:
        if not (pid := os.fork()):
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _pytest(tree, shlex.split(tests))
        _, status, used = os.wait4(pid, 0)
        said.seek(0)
        seconds = used.ru_utime + used.ru_stime
        return Outcome(os.waitstatus_to_exitcode(status), said.read(), seconds)


def _pytest(tree: Path, arguments: list[str]) -> NoReturn:
    """What the fork does: nothing of this tree is imported any more, all of the copy anew."""
    status = 3  # of pytest: an internal error
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        os.chdir(tree)
        os.environ["PYTHONPATH"] = str(tree)  # of the commands that tests start
        sys.path[:] = [str(tree), *(path for path in sys.path if Path(path).resolve() != ROOT)]
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "jaxvae")]:
            del sys.modules[name]
        options = ["-x", "-q", "-p", "no:cacheprovider", "-n", "0"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # LIBRARIES, not tests
        status = int(importlib.import_module("pytest").main([*options, *arguments]))
    except BaseException:
        traceback.print_exc()
    finally:  # whatever happens, what this process would clean up is the other's
        sys.stdout.flush()
        os._exit(status)


def run(tree: Path, fault: Fault) -> Row | None:
    """Plant it, run its tests, take it out again. None where pytest fails otherwise than by a test:
    the fault, or the choice of its tests, is then no good."""
    path = tree / fault.path
    source = path.read_text()
    path.write_text(fault.planted(source))
    try:
        status, said, spent = pytest(tree, fault.tests)
    finally:
        path.write_text(source)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
            compiled.unlink()  # another fault within the same second would be taken for this one
    seconds = f"{spent:.0f}"
    if status == 0:
        return Row(NONE, seconds)
    if status == TOO_LONG:
        return Row(f"{NONE}: not found within {SECONDS} s", seconds)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+\.py)(?:::(\w+))?", said, re.MULTILINE)
    if status != 1 or failed is None or failed[2] is None:
        print(
            f"{fault.name}: no test failed, but pytest did ({status}):\n{said[-3000:]}", flush=True
        )
        return None
    return Row(f"`{failed[1].removeprefix('tests/')}` `{failed[2]}`", seconds)


def whole(tree: Path, selections: Sequence[str]) -> int:
    """1 where tests fail, or take too long, though nothing is wrong: they would find anything."""
    failed = 0
    for tests in selections:
        status, said, seconds = pytest(tree, tests)
        print(f"{seconds:4.0f} s  status {status}  {tests}", flush=True)
        if status:
            failed = 1
            print(said[-3000:], flush=True)
    return failed


def read_page() -> dict[str, Row]:
    """The rows that docs/mutants.md has, by the fault's name."""
    lines = PAGE.read_text().partition(HEAD)[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {name.strip(): Row(found_by, seconds) for name, _, _, found_by, seconds in cells}


def write_page(every: Sequence[Fault], rows: dict[str, Row]) -> None:
    """The page with these rows, in the order of the lists; what stands above them stays."""
    known = [(fault, rows[fault.name]) for fault in every if fault.name in rows]
    known = [
        (fault, row._replace(found_by=f"{NONE}: {fault.survives}"))
        if row.found_by == NONE and fault.survives
        else (fault, row)
        for fault, row in known
    ]
    survived = sum(row.found_by.startswith(NONE) for _, row in known)
    table = "".join(
        f"| {fault.name} | `{fault.path}` | {fault.words} | {row.found_by} | {row.seconds} |\n"
        for fault, row in known
    )
    above = re.sub(
        r"\*\*\d+ of \d+ faults are found\*\*(, \d+ have not been run)?",
        f"**{len(known) - survived} of {len(known)} faults are found**"
        + (f", {left} have not been run" if (left := len(every) - len(known)) else ""),
        PAGE.read_text().partition(HEAD)[0],
    )
    PAGE.write_text(above + HEAD + table)


if __name__ == "__main__":
    main()
