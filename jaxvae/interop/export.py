"""A run as a folder that others use: parameters, or programs, with what they have to know.

safetensors: `jaxvae.load` and every command take the folder as they take a run's. stablehlo, onnx:
programs that run without this package.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax

from jaxvae import __version__, runs
from jaxvae.config import Experiment
from jaxvae.evaluation import Trained
from jaxvae.interop import card, programs
from jaxvae.runs import code, guards, measured, portable
from jaxvae.runs.folder import PARAMETERS
from jaxvae.training.load import load

Format = Literal["safetensors", "stablehlo", "onnx"]


def export(
    run: str | Path,
    folder: str | Path,
    form: Format = "safetensors",
    checkpoint: str = "best",
    like: Experiment | None = None,
    trust_code: bool = False,
) -> dict[str, Any]:
    """Write a run's model into a new folder, whole or not at all; return what was written.

    Args:
        run: the run folder.
        folder: a new one.
        form: safetensors: model.safetensors, config.json, README.md, a model card, and what
            `evaluate` measured on this checkpoint; stablehlo and onnx: a file of each of encode,
            decode and, but for onnx, sample, and programs.json, which says what they take.
        checkpoint: `best` (by validation) or `latest`.
        like, trust_code: as for `jaxvae.training.load.load`, where it has classes of its own.

    Raises:
        UsageError: not a run folder; what the format needs is not installed.
        FileExistsError: `folder` is not empty.
        FileNotFoundError: the run has no complete checkpoint.
    """
    run, folder = Path(run), Path(folder)
    guards.refuse_existing(folder, "give another folder")
    trained, step = load(run, checkpoint, like, trust_code)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as whole:
        written = Path(whole, "export")
        written.mkdir()
        summary = runs.read_summary(run)
        says: dict[str, Any] = {}
        if form == "safetensors":
            _parameters(trained, step, run, written)
            if summary:
                runs.write_json(written / "summary.json", summary | {"folder": str(folder)})
        else:
            says = _programs(trained, form, written)
        records = [r for r in measured.read_or_say(run) if r.checkpoint_step == step]
        about = card.Known(trained, step, runs.saved_config(run), summary, records)
        (written / "README.md").write_text(card.text(about, form, says), encoding="utf-8")
        written.chmod(0o755)  # which a temporary folder is not
        if folder.exists():
            folder.rmdir()  # it is empty
        written.rename(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "folder": str(folder),
        "format": form,
        "checkpoint_step": step,
        "files": sorted(path.name for path in folder.iterdir()),
        "bytes": size,
    }


def _parameters(trained: Trained, step: int, run: Path, out: Path) -> None:
    """What `load` reads: the configuration, the copy of its code, and all arrays."""
    config = runs.saved_config(run) | code.carry(run, out)
    runs.write_json(out / "config.json", config)
    metadata = {"format": "jaxvae", "jaxvae": __version__, "step": str(step)}
    portable.write(out / PARAMETERS, trained.variables, metadata)
    measured.carry(run, out, step=step)


def _programs(trained: Trained, form: Format, out: Path) -> dict[str, Any]:
    """A file of each, and programs.json; what that holds."""
    found = programs.programs(trained)
    if form == "onnx":
        found.pop("sample", None)  # its draws are JAX's own
    for name, program in found.items():
        made = programs.as_stablehlo(program) if form == "stablehlo" else None
        content = programs.as_onnx(name, program) if made is None else made
        (out / f"{name}.{form}").write_bytes(content)
    says = {name: _described(name, program, form) for name, program in found.items()}
    runs.write_json(out / "programs.json", {"jax": jax.__version__, "programs": says})
    return says


def _described(name: str, program: programs.Program, form: Format) -> Mapping[str, Any]:
    arguments = [
        {"name": n, "dtype": str(jax.numpy.dtype(dtype)), "shape": programs.axes(n, shape)}
        for n, shape, dtype in program.arguments
    ]
    return {"file": f"{name}.{form}", "what": program.says, "arguments": arguments}
