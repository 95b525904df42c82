"""Run folders that are damaged, or that somebody prepared: one clear error, and nothing is run."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxvae import __version__, cli
from jaxvae.runs import RunError
from jaxvae.training.load import load

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "experiments" / "digits_vae.py"
SMALL = ["--data.source", "digits", "--data.limit", "64", "--data.batch-size", "32"]
SMALL += ["--train.epochs", "1", "--train.figures-every", "None"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        cli.main(["train", str(DIGITS), "--out", str(folder), *SMALL])
    return folder


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    """A copy of the run, `run` in the working directory."""
    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def call(capsys, *args: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    status = 0
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as error:
        status = error.code
    return status, *capsys.readouterr()


def refused(capsys, *args: object, status: int = 2) -> str:
    """The one line that a command says when it fails, having written nothing."""
    before = contents(Path())
    code, out, err = call(capsys, *args)
    assert (code, out) == (status, ""), err
    assert err.startswith("jaxvae: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "JAXVAE_TRACEBACK" not in err and len(err) < 1500, err
    assert contents(Path()) == before
    return err


def commands(capsys, run: Path) -> list[str]:
    """What each command that needs the configuration says."""
    return [
        refused(capsys, "evaluate", run),
        refused(capsys, "sample", run),
        refused(capsys, "figures", run),
        refused(capsys, "export-torch", run, "a.pth"),
        refused(capsys, "train", "--resume", run, "--train.epochs", 2),
    ]


NO_JSON = {
    "empty": b"",
    "cut": b'{"jaxvae": "0.1.0", "experi',
    "bytes": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "deep object": b'{"experiment": ' * 20_000,
    "NaN": b'{"experiment": {"seed": NaN}}',
    "Infinity": b'[-Infinity, {"a": 1e999}]',
    "long number": b"1" * 10_000,
}


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
@pytest.mark.parametrize("name", ["config.json", "summary.json", "import.json"])
def test_files_that_are_no_json(capsys, run, name, content):
    (run / name).write_bytes(content)
    if name == "import.json":
        said = [refused(capsys, "export-torch", run, "a.pth")]
    else:
        said = [refused(capsys, "info", run)]
    if name == "config.json":
        said += commands(capsys, run)
    for err in said:
        assert f"{name}: not a readable JSON file" in err


@pytest.mark.parametrize("content", [b"[]", b"null", b"3", b'"text"', b"{}"])
def test_configurations_that_are_something_else(capsys, run, content):
    (run / "config.json").write_bytes(content)
    for err in [*commands(capsys, run), refused(capsys, "info", run)]:
        assert "config.json: jaxvae: missing, so not the configuration of a run" in err


CHANGES = [
    *[("data.batch_size", value) for value in ("64", 1.5, True, [64], None, {}, 0, -(10**30))],
    *[("data.range", value) for value in ([0], [0, "1"], [1, 0], "01", {"0": 1})],
    *[("data.resize", value) for value in ([28] * 3, [28.5, 28], [True, 28], 28)],
    *[("data.source", value) for value in (None, 3, ["digits"], "")],
    *[("model.hidden_dims", value) for value in (256, ["256"], [256, True], [[256]], None)],
    *[("model.family", value) for value in ("GAN", None, 3, ["VAE"])],
    *[("model.batch_norm", value) for value in (1, "yes", None)],
    *[("optimizer.options", value) for value in ([], {"b1": "x"}, {"b1": [0.9]}, None)],
    *[("optimizer.learning_rate", value) for value in (10**400, "1e-3", True, None)],
    *[("name", value) for value in ("../x", "", 3, None, "a/b")],
    *[("seed", value) for value in (-1, 2**32, 0.5, "0")],
    *[("data", value) for value in (None, [], "digits", 3)],
    *[("model.wings", value) for value in (2, None)],
    *[("__class__", value) for value in ("jaxvae.config.Experiment",)],
]


@pytest.mark.parametrize("field, value", CHANGES, ids=lambda value: str(value)[:30])
def test_fields_of_the_wrong_kind(capsys, run, field, value):
    config = json.loads((run / "config.json").read_text())
    inner = config["experiment"]
    *parts, name = field.split(".")
    for part in parts:
        inner = inner[part]
    inner[name] = value
    (run / "config.json").write_text(json.dumps(config))
    for err in (refused(capsys, "evaluate", run), refused(capsys, "train", "--resume", run)):
        assert "config.json: " in err and field in err, err


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("experiment", [], "config.json: experiment = []: must be an object"),
        ("experiment", {"seed": 1}, "config.json: name: missing"),
        ("classes", [], "config.json: classes = []: must name those of"),
        ("classes", {"data": "jaxvae.config.Data"}, "config.json: classes = "),
        ("stored_shape", [], "config.json: stored_shape = []: must be positive lengths"),
        ("stored_shape", [28, 28, True], "config.json: stored_shape = "),
        ("stored_shape", ["28", 28, 1], "config.json: stored_shape = "),
        ("stored_shape", [28, 0, 1], "config.json: stored_shape = "),
        ("stored_shape", "28x28", "config.json: stored_shape = "),
        ("info", None, "config.json: info = None: must be an object"),
        ("info", {"num_classes": 3}, "config.json: info.shape: missing"),
        ("info", {"shape": [28, 0, 1]}, "config.json: info.shape = [28, 0, 1]: must be positive"),
        ("info", {"shape": [28], "missing": 1}, "config.json: info.missing = 1: must be"),
        ("info", {"shape": [28], "wings": 2}, "config.json: "),
        ("population", 3, "population"),
        ("population", {"seeds": "2", "sweep": []}, "population"),
    ],
)
def test_the_rest_of_a_configuration(capsys, run, name, value, words):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {name: value}))
    for err in (refused(capsys, "evaluate", run), refused(capsys, "train", "--resume", run)):
        assert words in err, err


def test_a_shape_that_the_images_do_not_have(capsys, run):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"stored_shape": [28, 28]}))
    assert "images of 1 channels: must have 28" in refused(capsys, "evaluate", run)
    err = refused(capsys, "train", "--resume", run)
    assert "images have changed: stored_shape ([28, 28] to [28, 28, 1])" in err


def test_a_run_of_another_layout_names_the_version_that_made_it(capsys, run):
    """Version 0.1.0 did not write what is known about the data."""
    config = json.loads((run / "config.json").read_text())
    del config["info"]
    (run / "config.json").write_text(json.dumps(config | {"jaxvae": "0.1.0"}))
    for err in commands(capsys, run):
        assert "config.json: of jaxvae '0.1.0', whose runs have another layout" in err, err
        assert f"this is {__version__}: use the version that made it" in err, err


def test_a_field_that_is_missing_has_its_default(capsys, run):
    """So that a later version, with more fields, reads the runs of this one."""
    config = json.loads((run / "config.json").read_text())
    del config["experiment"]["model"]["compute"]
    (run / "config.json").write_text(json.dumps(config))
    assert call(capsys, "evaluate", run)[0] == 0


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda text: text.replace("val_loss", "val_lost", 1), "no column val_loss"),
        (lambda text: text.replace("\n1,", "\nx,", 1), "'x'"),
        (lambda text: text.replace("\n1,", "\nnan,", 1), "NaN"),
        (lambda text: text.replace("\n1,", "\ninf,", 1), "infinity"),
        (lambda text: text.replace("\n1,", "\n1,1,", 1), ""),
        (lambda text: text[: len(text) * 3 // 4], ""),
        (lambda text: text + '"', ""),
        (lambda text: text + "\udcff", "utf-8"),
    ],
)
def test_a_damaged_table_of_metrics(capsys, run, damage, words):
    path = run / "metrics.csv"
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    for err in (refused(capsys, "info", run), refused(capsys, "figures", run)):
        assert "metrics.csv: damaged in row " in err and words in err, err


def test_an_epoch_that_was_not_finite_is_shown(capsys, run):
    """JSON has no number for it. A population keeps such rows."""
    header, row = (run / "metrics.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    values["val_loss"] = "nan"
    (run / "metrics.csv").write_text(f"{header}\n{','.join(values.values())}\n")
    status, out, err = call(capsys, "info", run)
    assert status == 0, err
    assert json.loads(out)["last_epoch"]["val_loss"] is None


def test_pipes_are_not_waited_for(capsys, run):
    for name in ("metrics.csv", "summary.json", "config.json"):
        (run / name).rename("kept")
        os.mkfifo(run / name)
        assert name in refused(capsys, "info", run)
        Path("kept").rename(run / name)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_every_file_of_a_checkpoint_may_be_damaged(trained, run):
    """One at a time, in each step's folder: the numbers are the same, or it is refused."""
    whole = jax.tree.leaves(load(trained)[0].variables)
    names = {path.relative_to(run) for path in (run / "checkpoints").rglob("*") if path.is_file()}
    refused = 0
    for name in sorted(names):
        content = (run / name).read_bytes()
        cut(run / name)
        try:
            loaded = jax.tree.leaves(load(run)[0].variables)
            assert all(np.array_equal(a, b) for a, b in zip(loaded, whole, strict=True)), name
        except (RunError, FileNotFoundError) as error:
            assert "run/checkpoints: " in str(error)
            refused += 1
        (run / name).write_bytes(content)
    assert refused >= 3  # the rest are notes that are not needed


def test_a_damaged_checkpoint_is_no_traceback(run):
    """TensorStore's other reads go on when one has failed, and have nobody to tell."""
    for path in (run / "checkpoints").glob("*/state/d/*"):
        cut(path)
    command = [sys.executable, "-m", "jaxvae", "evaluate", "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()  # of the one checkpoint, and the conclusion
    assert "is damaged (" in first and "every checkpoint is damaged" in last


@pytest.mark.parametrize(
    "imported",
    [
        [],
        {},
        {"map": ["reference"], "prefix": "", "num_batches_tracked": 0},
        {"map": "reference", "prefix": 3, "num_batches_tracked": 0},
        {"map": "reference", "prefix": "", "num_batches_tracked": "0"},
        {"map": "../evil.py", "prefix": "", "num_batches_tracked": 0},
        {"map": "evil.py", "prefix": "", "num_batches_tracked": 0},
    ],
)
def test_a_run_that_says_it_was_imported(capsys, run, imported):
    (run / "import.json").write_text(json.dumps(imported))
    for folder in (run, Path()):
        (folder / "evil.py").write_text("import os\nos.mkdir('executed')\n")
    err = refused(capsys, "export-torch", run, "a.pth")
    assert "import" in err
    assert not Path("executed").exists()


def test_nothing_of_a_run_folder_is_executed(capsys, run, monkeypatch):
    """Python files, pickles and module names in it stay what they are: files and names."""
    code = "import os\nos.mkdir('executed')\n"
    names = ("digits_vae", "experiment", "sitecustomize", "conftest", "jaxvae", "evil")
    for name in names:
        (run / f"{name}.py").write_text(code)
        (run / "checkpoints" / f"{name}.py").write_text(code)
    (run / "jax").mkdir()
    (run / "jax" / "__init__.py").write_text(code)
    config = json.loads((run / "config.json").read_text())
    for command in ("info", "evaluate"):
        assert call(capsys, command, run)[0] == 0
    config["classes"]["objective"] = "evil.Objective"
    (run / "config.json").write_text(json.dumps(config))
    monkeypatch.chdir(run)
    assert "its objective is a 'evil.Objective'" in refused(capsys, "evaluate", ".")
    assert not Path("executed").exists() and not Path("../executed").exists()


def test_no_source_loads_a_pickle():
    unsafe = r"allow_pickle=True|weights_only=False|"
    unsafe += r"pickle\.loads?\(|extractall\(|torch\.jit\.load\((?!\{)"  # as a call, not as advice
    for package in ("jaxvae", "torch_parity"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            if "tests" not in path.parts:
                assert not re.search(unsafe, text), path
                assert text.count("torch.load(") == text.count("weights_only=True"), path
