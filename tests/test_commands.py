"""Every command that a document, a notebook or a docstring shows is one that exists, with options
that exist and values that are allowed: each is parsed by its own program, and not carried out."""

import argparse
import dataclasses
import functools
import os
import re
import runpy
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import tyro

from jaxvae import cli, runs
from jaxvae.cli import commands as of_jaxvae
from jaxvae.config import Population
from jaxvae.evaluation import groups
from jaxvae.info import Info
from jaxvae.training.members import members
from tests import documents
from tests.documents import ROOT, Command

FILES = {"sparse.py": "docs/variants.md", "capacity_vae.py": "docs/walkthrough.md"}
"""Files that commands name, each of them the block that begins with a docstring."""
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EVERY = [
    *(c for path in (*documents.DOCUMENTS, *documents.NOTEBOOKS) for c in documents.commands(path)),
    *(c for path in documents.PROGRAMS for c in documents.commands_of_program(path)),
]
SOURCES = list(dict.fromkeys(command.where.partition(":")[0] for command in EVERY))


class Understood(Exception):
    """A program has parsed its arguments."""


@pytest.fixture
def refusal(monkeypatch, tmp_path, capsys):
    """A function: what the program of a command says against its words, or nothing."""
    monkeypatch.chdir(tmp_path)
    for name, document in FILES.items():
        [text] = (b.text for b in documents.blocks(document, "python") if b.text.startswith('"""'))
        Path(name).write_text(text)
    notebook = (ROOT / "notebooks" / "a_variant.py").read_text()
    Path("my_variant.py").write_text(notebook.partition("\nrun = ")[0])  # as its last lines say
    stop_jaxvae(monkeypatch)
    stop_programs(monkeypatch)
    return functools.partial(refused, monkeypatch, capsys)


def stop_jaxvae(monkeypatch):
    """Its commands end where they have understood what they are asked; one that trains leaves its
    settings, which is what others parse their options with."""

    def leave(options, folder, resume=False):
        population = getattr(options, "population", Population())
        members(options.experiment, population)  # each with settings that are allowed
        if folder.is_absolute():  # it is somebody's
            return {}
        config = runs.describe(options.experiment, (28, 28, 1), Info((28, 28, 1)))
        config["population"] = dataclasses.asdict(population)
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_json(folder / "config.json", config)
        return {}

    def study(experiment, folder, population, metrics, *_):
        groups.names_of(metrics)
        members(experiment, population)
        return {}

    monkeypatch.setattr(of_jaxvae, "_train", leave)
    monkeypatch.setattr("jaxvae.study.study", study)
    monkeypatch.setattr(of_jaxvae, "import_torch", lambda o: leave(o, o.out or Path("runs/b")))
    for name, command in cli.COMMANDS.items():
        if name not in ("experiments", "completion"):
            monkeypatch.setitem(cli.COMMANDS, name, understood(command))


def understood(command):
    """The command's words and nothing else of it."""

    @functools.wraps(command)
    def end(**given):
        groups.names_of(given.get("metrics", ()))
        file = given.get("experiment", getattr(given.get("saved"), "experiment", None))
        if file is not None:
            runs.load_experiment(file)
        return {}

    return end


def stop_programs(monkeypatch):
    """Those of argparse and of tyro raise `Understood`."""
    parse_args, cli_of_tyro = argparse.ArgumentParser.parse_args, tyro.cli

    def parse_alone(self, *args):
        parse_args(self, *args)
        raise Understood

    def cli_alone(f, *, prog=None, args=None, **options):
        if args is not None:  # a command of jaxvae
            return cli_of_tyro(f, prog=prog, args=args, **options)
        cli_of_tyro(functools.wraps(f)(lambda *_, **__: None), prog=prog)
        raise Understood

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_alone)
    monkeypatch.setattr(tyro, "cli", cli_alone)


def refused(monkeypatch, capsys, command: Command) -> str:
    """What is wrong with a command; empty where nothing is."""
    words = ["mnist_vae" if word == "NAME" else word for word in command.words]
    said = ""
    match words:
        case ["jaxvae", *rest] | ["python", "-m", "jaxvae", *rest]:
            said = ended(capsys, lambda: cli.main(rest))
        case ["python" | "python3" | ".venv/bin/python", "-m", "pytest", *rest]:
            said = ", ".join(path for path in rest if not (ROOT / path).exists())
        case ["python" | "python3", "-m", module, *rest]:
            path = module.removeprefix("jaxvae.").replace(".", "/")
            package = f"{path}/__main__.py"
            path = package if (ROOT / package).exists() else f"{path}.py"
            said = refused_by_file(monkeypatch, capsys, path, rest)
        case ["python" | "python3", path, *rest]:
            said = refused_by_file(monkeypatch, capsys, path, rest)
        case ["make", *rest]:
            said = ", ".join(word for word in rest if not known_to_make(word))
        case ["pip", "install", *rest]:
            extras = re.findall(r"\bjaxvae\[(.*?)\]", " ".join(rest))
            known = PROJECT["optional-dependencies"]
            said = ", ".join(e for each in extras for e in each.split(",") if e not in known)
        case [".ci/run"]:
            said = "" if os.access(ROOT / ".ci/run", os.X_OK) else "no such program"
        case _:
            said = "no command that this test knows"
    # In a sentence `jaxvae evaluate` is enough.
    return "" if not command.whole and re.search(r"^jaxvae: (?:[\w-]+: )?give ", said) else said


def refused_by_file(monkeypatch, capsys, path: str, words: list[str]) -> str:
    """What a program of the repository says against its arguments; those that parse none take the
    words as they are."""
    file = ROOT / path
    if not file.is_file():
        return f"{path}: no such file"
    if not re.search(r"argparse|tyro\.cli\(", file.read_text()):
        return ""
    monkeypatch.setattr(sys, "argv", [str(file), *words])

    def carry_out():
        try:
            runpy.run_path(str(file), run_name="__main__")
        except Understood:
            return
        raise AssertionError(f"{path} took no arguments")

    return ended(capsys, carry_out)


def ended(capsys, program) -> str:
    """What a program wrote to stderr where it ended with another status than 0."""
    status = 0
    try:
        program()
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr()
    return (said.err or said.out or f"status {status}") if status else ""


def known_to_make(word: str) -> bool:
    name, is_variable, _ = word.partition("=")
    if is_variable:
        return f"$({name})" in MAKEFILE
    return re.search(rf"^{re.escape(name)}:", MAKEFILE, re.MULTILINE) is not None


def needs_torch(command: Command) -> bool:
    return any(word.startswith("torch_parity") for word in command.words)


@pytest.mark.parametrize("source", SOURCES)
def test_commands_are_understood(source, refusal):
    """In their order: one goes on with the run that another has begun."""
    if source != "README.md":  # its first training makes it
        refusal(Command("", ("jaxvae", "train", "mnist_vae", "--out", "runs/a"), True))
    own = [c for c in EVERY if c.where.partition(":")[0] == source and not needs_torch(c)]
    found = [(c.where, " ".join(c.words), said) for c in own if (said := refusal(c))]
    assert not found


@pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")
def test_comparisons_with_pytorch_are_understood(refusal):
    own = [command for command in EVERY if needs_torch(command)]
    found = [(c.where, " ".join(c.words), said) for c in own if (said := refusal(c))]
    assert len(own) >= 10 and not found


def test_all_are_found():
    """Of each kind and place."""
    places = {command.where.partition(":")[0] for command in EVERY}
    assert {"README.md", "CONTRIBUTING.md", "gpu/README.md", "docs/index.md"} <= places
    assert {"notebooks/a_variant.py", "experiments/mnist_vae.py", "docs/study.py"} <= places
    for path in documents.DOCUMENTS:
        lines = sum(len(block.text.splitlines()) for block in documents.blocks(path, "sh"))
        if lines:
            assert any(c.whole for c in documents.commands(path)), path
    sweep = next(c for c in EVERY if "--population.sweep" in c.words and c.whole)
    assert sweep.words[-2:] == ("objective.beta=0.5,1,4", "optimizer.learning-rate=1e-3,3e-4")
    written = next(c for c in EVERY if c.words[:4] == ("jaxvae", "evaluate", "runs/a", "--metrics"))
    assert "#" not in " ".join(written.words)
    of_file = [c for c in EVERY if c.where.startswith("experiments/studies/sprites_beta_vae.py")]
    study = next(c for c in of_file if c.words[1] == "study")
    assert study.words[-2:] == ("--out", "runs/study_beta")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("jaxvae train mnist_vae --model.latents 3", "--model.latents: no option of train"),
        ("jaxvae train mnist_vae --train.epochs 0", "train.epochs = 0: must be at least 1"),
        ("jaxvae train mnist_vea", "did you mean mnist_vae"),
        ("jaxvae train mnist_vae --population.sweep objective.bet=1,2", "objective.bet"),
        ("jaxvae train --resume runs/none", "runs/none"),
        ("jaxvae evaluate runs/a --metrics nl", "'nl': must be some of"),
        ("jaxvae evaluate RUN --metric nll", "--metric: no option of evaluate"),
        ("jaxvae embed runs/a --experiment nothing", "'nothing'"),
        ("jaxvae study mnist_vae --sweep objective.gamma=1 --out b", "objective.gamma"),
        ("jaxvae study mnist_vae --metrics no --out b", "'no': must be some of"),
        ("jaxvae figures runs/a --formats gif", "must be"),
        ("jaxvae tarin", "did you mean train?"),
        ("jaxvae sample", ""),
        ("make al", "al"),
        ("make test PYTESTS=-x", "PYTESTS=-x"),
        ("pip install 'jaxvae[onxx]'", "onxx"),
        ("python docs/no.py", "no such file"),
        ("python docs/study.py --slow", "unrecognized arguments: --slow"),
        ("python -m gpu --minutes many", "invalid float value: 'many'"),
        ("python -m jaxvae.experiments.jobs.denoising --limits 3", "--limits"),
        ("python -m pytest tests/nothing", "tests/nothing"),
        ("cargo build", "no command that this test knows"),
    ],
)
def test_what_is_wrong_is_noticed(words, expected, refusal):
    said = refusal(Command("", documents.words_of(words), False))
    assert expected in said and bool(said) == bool(expected)
    if not expected:  # of a line of its own all is asked
        assert "give RUN" in refusal(Command("", documents.words_of(words), True))
