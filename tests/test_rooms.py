"""Rooms: what each part of the package imports, and that importing it changes nothing outside."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "jaxvae").rglob("*.py"))

# From the top floor down. Rooms of one floor do not import each other, but for the ground's.
FLOORS = [
    ["__main__"],
    ["cli", "estimator"],
    ["run"],
    ["doctor", "interop", "study"],
    ["training"],
    ["report"],
    ["runs"],
    ["evaluation"],
    ["figures", "data", "metrics"],
    ["variants"],
    ["config"],
    ["models"],
    ["objectives"],
    ["batch", "info", "noise", "axis", "checks", "processes", "from_json", "atomic", "held"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND = FLOORS[-1]

ONE_ROOM = {
    **dict.fromkeys(("build", "changes", "conventions"), "config"),
    **dict.fromkeys(("callbacks", "words"), "run"),
}
"""Modules of one room beside the package's others: settings, what they build, and named ones."""
FLOOR |= {module: FLOOR[room] for module, room in ONE_ROOM.items()}
FLAX_ELSEWHERE = {
    "jaxvae/config.py": "the type of what `Model.build` returns",
    "jaxvae/interop/weights.py": "names of arrays in nested dictionaries",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def modules(nodes: Iterator[ast.AST] | list[ast.stmt]) -> Iterator[str]:
    """The modules that these nodes import; of `from a import b`, a.b where that is one of ours."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if module_exists(inner) else node.module


def all_imports(path: Path) -> set[str]:
    """Those inside functions and under TYPE_CHECKING too."""
    return {*modules(ast.walk(ast.parse(path.read_text())))}


def own_imports(path: Path) -> set[str]:
    """Those that are carried out when the module is imported."""
    return {*modules(ast.parse(path.read_text()).body)}


def test_every_module_is_in_a_room():
    found = {path.relative_to(ROOT / "jaxvae").parts[0].removesuffix(".py") for path in FILES}
    assert found == {"__init__", *FLOOR}


def room_of(module: str) -> str:
    return ONE_ROOM.get(module, module)


BATCHES = {
    "jaxvae/config.py",
    "jaxvae/evaluation/evaluate.py",
    "jaxvae/evaluation/regret.py",
    "jaxvae/evaluation/trained.py",
    "jaxvae/models/autoencoders.py",
    "jaxvae/models/bound.py",
    "jaxvae/report/looks.py",
    "jaxvae/report/weights.py",
    "jaxvae/training/step.py",
}


def test_few_files_have_a_function_that_is_given_a_batch():
    """By the annotations of arguments: objectives, evaluation, pages, modules, the step."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                every = [*node.args.args, *node.args.kwonlyargs]
                kinds = [ast.unparse(a.annotation) for a in every if a.annotation is not None]
                if any(kind.strip("'\"") in ("Batch", "Batch | None") for kind in kinds):
                    found.add(name_of(path))
    assert found == BATCHES


OF_EVERY_NETWORK = ("convolution.py", "layers.py")
"""Files of the models that are not the family's own."""


def test_variants_are_read_at_a_glance():
    """A file of the family, its bottlenecks among the models, has at most 200 lines, and an
    experiment 70; jobs are programs."""
    of_family = [
        (path, 200)
        for room in ("variants", "models")
        for path in (ROOT / "jaxvae" / room).glob("*.py")
        if path.name not in OF_EVERY_NETWORK
    ]
    experiments = [(path, 70) for path in (ROOT / "experiments").rglob("*.py")]
    for path, most in of_family + experiments:
        if path.parent.name != "jobs":
            assert len(path.read_text().splitlines()) <= most, name_of(path)


def test_a_room_imports_only_rooms_below_it():
    upwards = set()
    for path in FILES:
        room = room_of(path.relative_to(ROOT / "jaxvae").parts[0].removesuffix(".py"))
        for module in all_imports(path):
            package, *rest = module.split(".")
            # `jaxvae` itself gives the settings, and its version to all.
            if package != "jaxvae" or not rest or room in ("__init__", room_of(rest[0])):
                continue
            below = FLOOR[room] < FLOOR[rest[0]]
            if not below and not (room in GROUND and rest[0] in GROUND):
                upwards.add((name_of(path), rest[0]))
    assert not upwards


def test_who_imports_torch_and_flax():
    flax = set()
    for path in FILES:
        packages = {module.partition(".")[0] for module in all_imports(path)}
        assert "torch_parity" not in packages, path
        if "torch" in packages:
            assert path.parent.name == "interop", path
            assert not any(m.startswith("torch") for m in own_imports(path)), path
        if "flax" in packages and path.parent.name != "models":
            flax.add(name_of(path))
    assert flax == FLAX_ELSEWHERE.keys()


STATE = """
import importlib, logging, os, signal, sys, warnings


def state():
    loggers = {name: (logger.level, logger.disabled, len(logger.filters), len(logger.handlers))
               for name, logger in logging.root.manager.loggerDict.items()
               if isinstance(logger, logging.Logger) and name != "jaxvae"}
    return {"loggers": loggers, "root": (logging.root.level, logging.root.handlers[:]),
            "disabled": logging.root.manager.disable, "hooks": (sys.excepthook, sys.unraisablehook),
            "filters": warnings.filters[:], "environment": dict(os.environ),
            "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
            "path": sys.path[:]}

others, ours = (words.split() for words in sys.argv[1:])
for name in others:
    importlib.import_module(name)
before = state()
for name in ours:
    importlib.import_module(name)
after = state()
for name in after["loggers"].keys() - before["loggers"].keys():
    level, *_ = after["loggers"].pop(name)
    if level != logging.NOTSET:
        sys.exit(f"the new logger {name} has a level")
for name, value in before.items():
    if after[name] != value:
        sys.exit(f"{name}: {value} became {after[name]}")
"""


@pytest.mark.parametrize("reverse", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_importing_changes_nothing_outside(reverse):
    """Other packages come first: what they change at their import is theirs."""
    ours, others = [], set()
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not name.endswith("__main__"):  # is run, not imported
            ours.append(name)
            others |= {m for m in own_imports(path) if not m.startswith("jaxvae")}
    command = [sys.executable, "-c", STATE, " ".join(sorted(others))]
    command.append(" ".join(sorted(ours, reverse=reverse)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
