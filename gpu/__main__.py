"""`python3 -m gpu`: all that is to be known on a machine with one accelerator, in 9 minutes.

Imports the standard library alone, so that it starts anywhere. Each phase is one or more processes
with a time limit; a phase that fails, takes too long or lacks PyTorch is noted with its reason, and
the others go on. What is found is written anew after every phase: results.json, table.txt and
profile.txt, and what the processes printed in logs/. The exit status is 1 when a phase failed.
"""

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu import tables
from gpu.phases import ASKED_FOR, PHASES, Phase, Setting
from gpu.running import GRACE, run_together, stop_at_signals

ROOT = Path(__file__).resolve().parents[1]
SHOWN = (
    *("jax", "jaxlib", "jax-cuda13-plugin", "jax-cuda12-plugin", "flax", "optax"),
    *("orbax-checkpoint", "numpy", "torch", "triton"),
)


def main() -> None:
    """Parse the command line, run the phases, exit."""
    phases = {phase.name: phase for phase in (*PHASES, ASKED_FOR)}
    parser = argparse.ArgumentParser(prog="python3 -m gpu", description=__doc__)
    usual = [phase.name for phase in PHASES]
    parser.add_argument("--phases", nargs="+", choices=[*phases], default=usual)
    parser.add_argument("--pack", type=Path, default=ROOT / "gpu-pack", help="what is missing here")
    parser.add_argument("--out", type=Path, default=ROOT / "gpu-results", help="for the results")
    parser.add_argument("--small", action="store_true", help="a rehearsal, on a CPU too")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all phases together")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes}: must be above 0")

    ends = time.monotonic() + 60 * options.minutes
    stop_at_signals()
    out, pack = options.out.resolve(), options.pack.resolve()
    os.chdir(ROOT)
    mnist = pack / "mnist.npz"
    setting = Setting(str(mnist) if mnist.is_file() else "digits", options.small, out)
    with tempfile.TemporaryDirectory(prefix="jaxvae-gpu-") as site:
        install(sorted(pack.glob("wheels/*.whl")), site)
        path = [site, str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ |= {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
        chosen = [phase for name, phase in phases.items() if name in options.phases]
        try:
            failed = run(chosen, setting, ends)
        except KeyboardInterrupt:
            sys.exit(f"interrupted; {out} holds what was found")
    sys.exit(1 if failed else 0)


def install(wheels: Sequence[Path], site: str) -> None:
    """Those wheels whose package is not there, into a folder; needs no index and no network.

    Where they cannot be, pip says why, and the phases that need them say what they lack.
    """
    missing = [str(wheel) for wheel in wheels if not installed(wheel.name.split("-")[0])]
    if missing:
        options = ("--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir")
        command = (sys.executable, "-m", "pip", "install", *options, "--target", site, *missing)
        subprocess.run(command, check=False)


def installed(name: str) -> str | None:
    """The version of a package that is there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def run(phases: Sequence[Phase], setting: Setting, ends: float) -> bool:
    """Run the phases, until `ends` of time.monotonic() at most; return whether one failed.

    Each must end when its share of the time is over, to which comes what those before it have left.
    """
    setting.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"about": about(setting), "phases": {}}
    seconds, shares = ends - time.monotonic(), sum(phase.seconds for phase in phases)
    until = ends - seconds
    for phase in phases:
        until += seconds * phase.seconds / shares
        print(f"{phase.title}, {until - time.monotonic():.0f} s at most", file=sys.stderr)
        found = results["phases"][phase.name] = begun(phase, until)
        write(results, setting)
        try:
            if found["status"] == "running":
                run_phase(phase, setting, until, found)
        except KeyboardInterrupt:
            found |= {"status": "failed", "reasons": ["interrupted"]}
            raise
        finally:
            write(results, setting)
        print(f"  {found['status']}", *found["reasons"], sep="\n  ", file=sys.stderr)
    return any(found["status"] == "failed" for found in results["phases"].values())


def begun(phase: Phase, until: float) -> dict[str, Any]:
    """What is known of a phase before it runs."""
    found: dict[str, Any] = dict.fromkeys(("seconds", "limit", "result"))
    found |= {"status": "running", "reasons": []}
    if phase.needs_torch and importlib.util.find_spec("torch") is None:
        return found | {"status": "left out", "reasons": ["PyTorch is not installed"]}
    return found | {"limit": until - time.monotonic()}


def run_phase(phase: Phase, setting: Setting, until: float, found: dict[str, Any]) -> None:
    """Run a phase's commands and note in `found` what came of them."""
    logs = setting.out / "logs" / phase.name
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    began = time.monotonic()
    grace = min(GRACE, found["limit"] / 4)
    reasons = found["reasons"]
    for commands in phase.commands(setting):
        if time.monotonic() >= until - grace:
            reasons += [f"{command.name}: no time was left for it" for command in commands]
            continue
        ended = run_together(commands, until, logs, grace)
        reasons += [end.failure for end in ended if end.failure is not None]
    found["seconds"] = time.monotonic() - began
    found["status"] = "failed" if reasons else "passed"
    try:
        found["result"] = phase.result(setting, logs)
    except Exception as error:  # of a command that was cut off, for instance
        reasons.append(f"its results cannot be read: {error!r}")
        found["status"] = "failed"


def write(results: dict[str, Any], setting: Setting) -> None:
    """All results so far; each file is replaced as a whole."""
    profile = results["phases"].get("profile", {}).get("result")
    files: dict[str, Callable[[], str]] = {
        "results.json": lambda: json.dumps(results, indent=1),
        "table.txt": lambda: tables.report(results),
    }
    if profile:
        files["profile.txt"] = lambda: tables.kernels(profile)
    for name, text in files.items():
        partial = setting.out / f".{name}.tmp"
        try:
            partial.write_text(text())
        except Exception as error:  # what cannot be drawn as a table is in results.json
            partial.write_text(f"{name}: {error!r}\n")
        partial.replace(setting.out / name)


def about(setting: Setting) -> dict[str, str]:
    """The machine, the versions and the date."""
    query = ("--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
    device = f"{platform.processor() or platform.machine()}, no GPU"
    if shutil.which("nvidia-smi"):
        command = ("nvidia-smi", *query)
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
        said = "; ".join((answer.stdout.strip() or answer.stderr.strip()).splitlines())
        device = said if answer.returncode == 0 else f"no GPU that nvidia-smi sees ({said})"
    versions = [f"{name} {version}" for name in SHOWN if (version := installed(name))]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": f"{device}; {os.cpu_count()} CPU cores",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
        "images": Path(setting.source).name + (" (a rehearsal)" if setting.small else ""),
    }


if __name__ == "__main__":
    main()
