"""The package as people get it: built, checked, installed from its wheel, and used in an empty
folder, where nothing of the repository is to hand.

The environment is a new one. What the wheel says that it needs, and what that needs in turn, is
linked into it from the environment of the tests, as if installed: a real installation takes
minutes and a network, and gives the same files. Nothing else is there: neither PyTorch nor the
other extras, nor this repository. So a dependency that is used but not declared is missed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = [pytest.mark.slow, pytest.mark.ci]

ROOT = Path(__file__).parents[1]
BUILT = ("jaxvae", "torch_parity", "experiments", "LICENSE", "README.md", "pyproject.toml")
EXPERIMENTS = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("experiments/**/*.py")}
SHORT = ["--train.epochs", "1", "--train.figures-every", "None", "--data.limit", "160"]
LACKS_TORCH = "which is not installed: pip install 'jaxvae[parity]'"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from the source distribution, which is built from a copy of the tree.

    Without isolation: the tests' environment has setuptools, and no network is needed.
    """
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in (*BUILT, "setup.py", "MANIFEST.in"):
        path = ROOT / name
        if path.is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(path, tree / name, ignore=unwanted)
        else:
            shutil.copy(path, tree / name)
    command = ["-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = run(sys.executable, *command, cwd=tree)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [built] = out.glob("*.whl")
    [_] = out.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The folder of an environment into which the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    pip = ["-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    done = run(sys.executable, *pip, "--no-deps", "--no-index", str(wheel), cwd=folder)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(wheel) as archive:
        [text] = (archive.read(n).decode() for n in archive.namelist() if n.endswith("/METADATA"))
    needed = re.findall(r"^Requires-Dist: (.*)$", text, re.M)
    for name in sorted(closure(needed)):
        link(metadata.distribution(name), site)
    return folder


def closure(requirements: list[str]) -> set[str]:
    """The names of what is required, and of what that requires; of extras those that are named."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            if (requirement.name, wanted) not in found:
                found.add((requirement.name, wanted))
                texts = metadata.distribution(requirement.name).requires or []
                waiting += [(Requirement(text), wanted) for text in texts]
    return {name for name, _ in found}


def link(distribution: metadata.Distribution, site: Path) -> None:
    """The top folders and files of a distribution, those of the command line left out."""
    for top in {file.parts[0] for file in distribution.files or ()}:
        source = Path(str(distribution.locate_file(top)))
        unwanted = top in ("..", "__pycache__") or top.endswith(".pth")
        if not unwanted and not (site / top).exists():
            (site / top).symlink_to(source)


@pytest.fixture
def use(installed, tmp_path):
    """A command of the environment, in an empty folder and with an empty home."""

    def call(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "empty"
        folder.mkdir(exist_ok=True)
        return run(str(installed / "bin" / program), *arguments, cwd=folder, home=tmp_path)

    return call


def run(*command: str, cwd: Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process that sees nothing of this one's Python; programs that were compiled it may use."""
    kept = ("PATH", "HOME", "LANG", "JAX_COMPILATION_CACHE_DIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {} if home is None else {"HOME": str(home)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_what_is_in_the_wheel(wheel):
    """All modules and experiments, the marks of types, the licence; no tests and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {n for n in archive.namelist() if ".dist-info/" not in n}
        licences = [n for n in archive.namelist() if n.endswith("licenses/LICENSE")]
    modules = [p for package in ("jaxvae", "torch_parity") for p in ROOT.glob(f"{package}/**/*.py")]
    expected = {path.relative_to(ROOT).as_posix() for path in modules}
    expected = {name for name in expected if "/tests/" not in name}
    expected |= {"jaxvae/py.typed", "torch_parity/py.typed"}
    page = [path for path in ROOT.glob("jaxvae/report/page/**/*") if path.is_file()]
    expected |= {path.relative_to(ROOT).as_posix() for path in page}
    assert names == expected | {f"jaxvae/{name}" for name in EXPERIMENTS}
    assert len(licences) == 1


def test_the_metadata_hold(wheel):
    done = run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), cwd=wheel.parent)
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(wheel) as archive:
        [text] = (archive.read(n).decode() for n in archive.namelist() if n.endswith("/METADATA"))
    head, _, readme = text.partition("\n\n")
    assert "Project-URL: Repository, https://github.com/jaxvae/jaxvae\n" in head
    pictures = re.findall(r'<img src="([^"]*)"|!\[[^]]*\]\(([^)]*)\)', readme)
    assert pictures and all("".join(found).startswith("https://") for found in pictures)


def test_the_environment_has_what_is_declared_and_nothing_else(use):
    code = (
        "import importlib.util as u, jaxvae, sys; print(jaxvae.__file__)\n"
        "names = 'torch grain tensorboardX h5py tensorflow pytest experiments tests'.split()\n"
        "print([n for n in names if u.find_spec(n)])"
    )
    done = use("python", "-c", code)
    assert done.returncode == 0, done.stderr
    where, others = done.stdout.splitlines()
    assert "/site-packages/jaxvae/" in where and others == "[]"


def test_experiments_are_listed_and_shown(use):
    done = use("jaxvae", "experiments")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["experiments"]
    named = {path for path in EXPERIMENTS if "\nexperiment = " in (ROOT / path).read_text()}
    assert {f"experiments/{item['name']}.py" for item in listed} == named
    assert listed[0]["name"] == "digits_vae" and "site-packages" in listed[0]["path"]
    done = use("jaxvae", "experiments", "burgess_vae")
    assert done.stdout == (ROOT / "experiments" / "published" / "burgess_vae.py").read_text()


def test_the_demo_and_another_run_alike(use, tmp_path):
    done = use("jaxvae", "train", "--train.epochs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("no experiment is named: training the demo, digits_vae;")
    assert json.loads(done.stdout)["epochs"] == 2
    run = tmp_path / "empty" / "runs" / "digits_vae"
    assert (run / "figures" / "samples.png").is_file()
    done = use("jaxvae", "export-torch", "runs/digits_vae", "weights.pth")
    assert done.returncode == 2 and done.stderr.endswith(f"{LACKS_TORCH}\n")
    assert len(done.stderr.splitlines()) == 1 and not (run.parents[1] / "weights.pth").exists()
    done = use("jaxvae", "train", "runs/digits_vae/config.json", *SHORT)
    assert done.returncode == 0 and json.loads(done.stdout)["folder"] == "runs/digits_vae-2"


def test_a_variant_by_its_name_and_every_experiment_option(use):
    done = use("jaxvae", "train", "iwae", "--out", "a", *SHORT)
    assert done.returncode == 0, done.stderr
    done = use("jaxvae", "evaluate", "a")  # its objective is the package's
    assert done.returncode == 0 and json.loads(done.stdout)["loss"] > 0, done.stderr
    done = use("jaxvae", "train", "flow_vae", "--out", "b", *SHORT)
    assert done.returncode == 0, done.stderr
    done = use("jaxvae", "evaluate", "b", "--experiment", "posteriors/flow_vae")
    assert done.returncode == 0 and json.loads(done.stdout)["loss"] > 0, done.stderr
    done = use("jaxvae", "train", "b/config.json")
    assert done.returncode == 2 and "a class of the file flow_vae.py" in done.stderr
    done = use("jaxvae", "evaluate", "a", "--experiment", "iwea")
    assert done.returncode == 2 and "did you mean iwae?" in done.stderr


def test_a_misspelt_name(use):
    done = use("jaxvae", "train", "mnist_vea")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and "did you mean mnist_vae" in done.stderr


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("python", ["-m", "torch_parity"]),
        ("python", ["-m", "torch_parity.speed", "--quick"]),
        ("python", ["-m", "torch_parity.epoch"]),
        ("jaxvae", ["import-torch", "vae.pth", "--as", "burgess_vae"]),
        ("jaxvae", ["import-torch", "vae.safetensors", "--as", "published/pythae_vae"]),
    ],
)
def test_without_pytorch_one_line_says_what_to_install(use, tmp_path, program, arguments):
    (tmp_path / "empty").mkdir()
    for name in ("vae.pth", "vae.safetensors"):
        (tmp_path / "empty" / name).write_bytes(b"weights")
    done = use(program, *arguments)
    assert done.returncode in (1, 2) and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.endswith(LACKS_TORCH)


def test_without_tensorflow_datasets(installed, use):
    """As after `pip install --no-deps`: its sets are refused in one line, all else works."""
    [linked] = installed.glob("lib/python*/site-packages/tensorflow_datasets")
    source = linked.readlink()
    linked.unlink()
    try:
        done = use("jaxvae", "train", "--out", "a", *SHORT)
        assert done.returncode == 0, done.stderr
        done = use("jaxvae", "train", "mnist_vae", "--data.source", "caltech101")
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
        assert "pip install tensorflow-datasets" in done.stderr
        done = use("jaxvae", "datasets")
        names = [item["name"] for item in json.loads(done.stdout)["datasets"]]
        assert "digits" in names and "mnist" in names and "PATH" in names
    finally:
        linked.symlink_to(source)
