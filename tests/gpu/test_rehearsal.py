"""The pack, and every phase of `python3 -m gpu` at reduced size where there is no accelerator."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpu import pack

ROOT = Path(__file__).parents[2]
VERSIONS = (
    "jax==0.11.2",
    "numpy==2.5.*",
    "flax",
    "optax",
    "orbax-checkpoint<0.13",
    "chex",
    "rich",
    "matplotlib",
    "scikit-learn",
    "Pillow",
    "pytest",
    "pytest-xdist",
    "hypothesis",
)
"""What a machine with an accelerator has, besides JAX's plugin for it and PyTorch."""


@pytest.mark.slow
@pytest.mark.ci
def test_pack_without_an_index(tmp_path, monkeypatch):
    """MNIST where it is prepared, and a README that says what to run."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "old-1-py3-none-any.whl").touch()
    pack.main(tmp_path, wheels=False)
    text = (tmp_path / "README.md").read_text()
    assert f"python3 -m gpu --pack {tmp_path.name} " in text
    assert not list(tmp_path.rglob("*.whl")) and pack.size(tmp_path) < pack.LIMIT
    if (tmp_path / "mnist.npz").is_file():
        arrays = np.load(tmp_path / "mnist.npz")
        assert arrays["train_images"].shape == (60000, 28, 28, 1)
        assert arrays["test_labels"].shape == (10000,)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    pack.main(tmp_path, wheels=False)
    assert [path.name for path in tmp_path.glob("*.*")] == ["README.md"]
    assert "not prepared here" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_a_pack_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "LIMIT", 100)
    with pytest.raises(SystemExit, match="larger than"):
        pack.main(tmp_path, wheels=False)


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    pack.main(folder)
    return folder


@pytest.mark.slow
def test_pack(packed):
    names = {path.name.split("-")[0].lower() for path in packed.glob("wheels/*.whl")}
    assert names == {name.replace("-", "_").lower() for name in pack.PACKAGES}
    assert pack.size(packed) <= pack.LIMIT


def python_312() -> str | None:
    """Where one is; a shim of pyenv may be there that starts none."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/3.12*")
    for found in (shutil.which("python3.12"), *(f"{path}/bin/python" for path in versions)):
        if found and not subprocess.run([found, "-c", ""], capture_output=True).returncode:
            return found
    return None


def without_network() -> list[str]:
    """What to start a command with so that it has none, where that is allowed."""
    command = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*command, "true"]).returncode:
        print("the network stays on: unshare is missing or not permitted")
        return []
    return command


def rehearse(out: Path, pack: Path, *command: str, phases: list[str]) -> None:
    """Every one of the phases passes and has a table, however slow the machine is."""
    where = ("--pack", str(pack), "--out", str(out))
    options = ("--small", "--minutes", "30", *where, "--phases", *phases)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ended = subprocess.run(
        [*command, "-m", "gpu", *options],
        cwd=ROOT,
        env={**environment, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads((out / "results.json").read_text())["phases"]
    assert {name: phase["status"] for name, phase in found.items()} == dict.fromkeys(
        phases, "passed"
    )
    assert all(phase["result"] for phase in found.values())
    assert (out / "table.txt").read_text().count("passed") >= len(phases)


@pytest.mark.slow
def test_rehearsal_in_an_environment_like_the_machines(packed, tmp_path):
    """All that needs no PyTorch, with the pack installed without an index, nor a network."""
    python = python_312()
    if python is None:
        print("no Python 3.12: rehearsed in this environment, where the pack is not needed")
        python = sys.executable
    else:
        subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
        python = str(tmp_path / "venv" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *VERSIONS], check=True)
    phases = ["doctor", "tests", "populations", "profile", "experiments"]
    rehearse(tmp_path / "out", packed, *without_network(), python, phases=phases)


@pytest.mark.slow
def test_rehearsal_beside_pytorch(packed, tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'")
    rehearse(tmp_path / "out", packed, sys.executable, phases=["parity", "speed"])
