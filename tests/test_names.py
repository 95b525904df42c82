"""Experiments by name: which file is meant, what the list says, another run alike."""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from jaxvae import Population, cli, runs
from jaxvae.checks import UsageError
from jaxvae.cli import commands
from jaxvae.cli.main import _train_defaults
from jaxvae.info import Info
from jaxvae.runs import names
from tests.commands import call

ROOT = Path(__file__).parents[1]
ALL = sorted((ROOT / "experiments").rglob("*.py"))
JOBS = [file for file in ALL if "def main(" in file.read_text()]
FILES = [file for file in ALL if file not in JOBS]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """A folder of experiments of its own; nothing in it can be executed."""
    for name in ("top", "a/same", "b/same", "b/only"):
        path = tmp_path / "own" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            '"""A title\nof two lines.\n\nMore.\n"""\n\nraise SystemExit("executed")\n'
            "experiment = None\n"
        )
    monkeypatch.setattr(names, "FOLDER", tmp_path / "own")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "own"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_name_and_its_last_part_mean_the_file(file, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = file.relative_to(ROOT / "experiments").with_suffix("")
    for name in (relative.as_posix(), file.stem, relative, file):
        assert names.resolve(name) == file


def test_a_script_is_no_experiment(folder):
    (folder / "script.py").write_text('"""An\nexperiment of ours."""\n\nold_experiment = 1\n')
    assert [*names.experiments()] == ["top", "a/same", "b/only", "b/same"]


def test_jobs_are_not_listed():
    assert set(names.experiments().values()) == set(FILES) and JOBS


def test_a_name_gives_what_its_file_defines(monkeypatch, tmp_path):
    by_file = runs.load_experiment(ROOT / "experiments" / "posteriors" / "flow_vae.py")
    monkeypatch.chdir(tmp_path)
    by_name = runs.load_experiment("flow_vae")
    assert (by_name.name, by_name.data, by_name.objective) == (
        *(by_file.name, by_file.data),
        by_file.objective,
    )
    # Classes are known by the file's name, so that a run of one is a run of the other.
    models = {f"{type(e.model).__module__}" for e in (by_file, by_name)}
    assert models == {"jaxvae_experiment_flow_vae"}


def test_an_unclear_name_is_refused_with_what_it_may_mean(folder):
    assert names.resolve("only") == folder / "b" / "only.py"
    assert names.resolve("a/same") == folder / "a" / "same.py"
    with pytest.raises(UsageError, match=r"experiment 'same': must be one of a/same, b/same$"):
        names.resolve("same")


def test_a_file_goes_before_a_name_and_a_folder_does_not(folder):
    Path("top").mkdir()
    assert names.resolve("top") == folder / "top.py"
    Path("top").rmdir()
    Path("top").write_text("")
    assert names.resolve("top") == Path("top")
    with pytest.raises(UsageError, match=r"'top': must be a Python file"):
        runs.load_experiment("top")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mnist_vea", "did you mean mnist_vae or"),
        ("MNIST_CAE", "did you mean mnist_cae"),
        ("experiments/digit_vae.py", "did you mean digits_vae?"),
        ("samples/iwea", "did you mean iwae?"),
        ("quite_another", "experiment; `jaxvae experiments` lists"),
    ],
)
def test_a_misspelt_name_is_one_line_with_suggestions(given, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for command in (
        ["train", given],
        ["import-torch", "weights.pth", "--as", given],
        ["evaluate", "runs/a", "--experiment", given],
        ["extract", "runs/a", "--member", 0, "--out", "b", "--experiment", given],
        ["experiments", given],
    ):
        status, _, err = call(capsys, *command)
        assert status == 2 and words in err and repr(given) in err and len(err.splitlines()) == 1


def test_a_file_beside_is_suggested(folder):
    Path("mine.py").write_text("")
    with pytest.raises(UsageError, match=r"did you mean mine\.py\?"):
        names.resolve("mine")


@pytest.mark.parametrize("item", names.listed(), ids=lambda item: item.name)
def test_docstrings_say_what_is_listed_and_typed(item):
    text = item.path.read_text()
    first = text.splitlines()[0].removeprefix('"""')
    assert item.title == first and first.endswith(".")
    run = re.findall(r"^Run: (.*?)  ", text, re.M)
    assert [" ".join(command.split()[:3]) for command in run] == (
        [] if item.name.startswith("published/") else [f"jaxvae train {item.path.stem}"]
    )
    for shown in re.findall(r"--as (\S+)", text):
        assert shown == item.path.stem
    if item.name.startswith("published/"):
        assert item.expect == item.number == "" and "--as" in text
    else:
        assert re.fullmatch(r"[\w ]*(loss|MSE) -?\d+(\.\d+)? (nats|per pixel).*", item.number)
        assert item.expect.startswith(item.number) and item.expect.endswith((".", ")"))


def test_the_readme_reads_right_on_a_package_index():
    """Its links and pictures are whole addresses, those of the repository of files that are here;
    what it names is in a wheel, or is said to be in a clone."""
    repository = re.findall(r'^Repository = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[0]
    linked = dict(re.findall(r"^\[(.+)\]: (\S+)$", README, re.M))
    text = re.sub(r"```.*?```|`[^`]*`", "", README, flags=re.DOTALL)
    assert not re.search(r"\]\((?!https://)|src=\"(?!https://)", text)
    assert {*re.findall(r"(?<!!)\[([\w./]+)\](?!:)", text)} == linked.keys()
    for address in [*linked.values(), *re.findall(r'src="(\S+)"', text)]:
        path = re.sub(rf"^({repository}/(blob|tree)/main/|https://raw\..*?/main/)", "", address)
        assert path == repository or (ROOT / path).exists(), address
    assert "experiments/" not in README and "notebooks/" not in README.partition("\n[")[0]


def test_the_readme_counts_the_variants():
    """Those of the families; tests/test_results.py sees that docs/variants.md has each."""
    others = ("", "jobs", "studies", "published")
    variants = [item for item in names.listed() if item.family not in others]
    assert f"and {len(variants)} published variants," in " ".join(README.split())


def test_expectations_are_those_of_the_recipes_table():
    """By their numbers, to the digits that the docstring has."""
    recipes = (ROOT / "docs" / "recipes.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| [^|]* \| (?:MSE )?(-?[\d.]+) ", recipes, re.M)
    assert len(table) == 11
    expected = {
        item.name: re.findall(r" (-?\d[\d.]*) ", item.number)[0]
        for item in names.listed()
        if item.number
    }
    for name, reached in table:
        digits = len(expected[name].partition(".")[2])
        assert f"{float(reached):.{digits}f}" == expected[name], name


def test_the_list_is_of_docstrings_alone(folder, capsys):
    status, result, err = call(capsys, "experiments")
    assert status == 0
    listed = result["experiments"]
    assert [item["name"] for item in listed] == ["top", "a/same", "b/only", "b/same"]
    assert listed[0] == {
        "name": "top",
        "title": "A title of two lines.",
        "family": "",
        "expect": "",
        "number": "",
        "paper": "",
        "path": str(folder / "top.py"),
    }
    assert err == ""


def test_a_terminal_sees_lines_that_fit_and_a_name_prints_the_file(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    cli.main(["experiments"])
    out, err = capsys.readouterr()
    assert err == ""
    out = re.sub(r"\x1b\[\d*m", "", out)  # names are bold
    assert max(map(len, out.splitlines())) <= 72
    assert re.search(r"^mnist_vae +A dense VAE of MNIST", out, re.M)
    assert "expect: test loss 106.9 nats per image after 10 epochs" in " ".join(out.split())
    with pytest.raises(SystemExit):
        cli.main(["experiments", "iwae"])
    assert capsys.readouterr().out == (ROOT / "experiments/samples/iwae.py").read_text()


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; from jaxvae import cli\n"
        "try: cli.main(['experiments'])\n"
        "finally: print({'jax', 'flax', 'sklearn', 'numpy'} & {*sys.modules}, file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and done.stderr.endswith("set()\n"), done.stderr
    assert len(json.loads(done.stdout)["experiments"]) == len(FILES)


def test_train_alone_is_the_demo(caplog, monkeypatch, tmp_path):
    """tests/test_wheel.py trains it."""
    monkeypatch.chdir(tmp_path)
    assert _train_defaults([]).experiment == runs.load_experiment("digits_vae")
    monkeypatch.setattr(commands, "_train", lambda options, folder: {"name": folder.name})
    with caplog.at_level("INFO", logger="jaxvae"):
        assert commands.train(_train_defaults([])) == {"name": "digits_vae"}
        commands.train(_train_defaults(["mnist_vae"]))
    [said] = caplog.messages
    assert said.startswith("no experiment is named: training the demo, digits_vae;")


@pytest.fixture
def run(tmp_path):
    """The configuration of a population that began with another run."""
    experiment = runs.load_experiment("digits_vae")
    experiment = replace(experiment, seed=5, objective=replace(experiment.objective, beta=2))
    config = runs.describe(experiment, (8, 8, 1), Info((28, 28, 1)))
    parts = {"initialised": [], "not_taken": [], "seen_otherwise": []}
    config["init_from"] = {"run": "runs/first", "checkpoint_step": 3, "taken": 1} | parts
    config["population"] = asdict(Population(seeds=2, sweep=("objective.beta=1,4",)))
    (tmp_path / "run").mkdir()
    runs.write_json(tmp_path / "run" / "config.json", config)
    return tmp_path / "run"


def test_a_run_alike_from_a_config(run, capsys):
    """With its settings, its members and its beginning."""
    config = run / "config.json"
    defaults = _train_defaults([str(config)])
    assert defaults.file == config and defaults.resume is None
    assert defaults.init_from == Path("runs/first")
    assert defaults.population == Population(seeds=2, sweep=("objective.beta=1,4",))
    assert defaults.experiment == runs.load_experiment(config)
    assert (defaults.experiment.seed, defaults.experiment.objective.beta) == (5, 2)
    assert defaults.experiment.model == runs.load_experiment("digits_vae").model

    status, _, err = call(capsys, "train", run)
    assert status == 2 and f"another one alike begins with {config}" in err
    config.rename(run / "other.json")
    status, _, err = call(capsys, "train", run / "other.json")
    assert status == 2 and "must be a Python file (.py), or the config.json of a run" in err


def test_a_run_alike_whose_classes_are_a_files_needs_the_file(run, capsys):
    config = json.loads((run / "config.json").read_text())
    config["classes"]["objective"] = "jaxvae_experiment_mine.Sparse"
    (run / "config.json").write_text(json.dumps(config))
    status, _, err = call(capsys, "train", run / "config.json")
    assert status == 2 and len(err.splitlines()) == 1
    assert "its objective is a class of the file mine.py: give that one" in err


@pytest.mark.parametrize(
    ("options", "module", "said"),
    [
        ("--data.streaming", "grain", "data.streaming = True: needs Grain"),
        ("--train.track tensorboard", "tensorboardX", "train.track = 'tensorboard': needs tensorb"),
        ("--train.track mlflow", "mlflow", "train.track = 'mlflow': needs MLflow"),
        ("--train.track wandb", "wandb", "train.track = 'wandb': needs Weights & Biases"),
    ],
)
def test_an_extra_that_is_absent_is_named_before_anything_is_written(
    options, module, said, capsys, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, module, None)
    status, _, err = call(capsys, "train", "--out", tmp_path / "run", *options.split())
    extra = {"grain": "stream", "tensorboardX": "tensorboard"}.get(module, module)
    last = err.splitlines()[-1]
    assert status == 2 and last.startswith(f"jaxvae: {said}")
    assert last.endswith(f", which is not installed: pip install 'jaxvae[{extra}]'")
    assert not (tmp_path / "run").exists()


def test_an_option_that_has_another_name_now(capsys, tmp_path):
    status, _, err = call(capsys, "train", "--out", tmp_path / "run", "--train.tensorboard")
    assert status == 2 and err == "jaxvae: --train.tensorboard: is --train.track tensorboard now\n"
