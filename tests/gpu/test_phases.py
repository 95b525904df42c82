"""`python3 -m gpu` with phases that do next to nothing: limits, failures, what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu import __main__ as gpu
from gpu import tables
from gpu.phases import PHASES, Phase, Setting, experiments_result, read_lines
from gpu.profiling import Kernel, summary
from gpu.running import Command, run_together

ROOT = Path(__file__).parents[2]
POPULATION = {
    "size": 1,
    "step_microseconds": [8.0],
    "compile_seconds": 1,
    "loss": 2,
    "peak_bytes": 3,
}


def python(name: str, code: str) -> Command:
    return Command(name, ("-c", code))


def phase(name: str, *codes: str, result=None, needs_torch: bool = False, seconds=1.0) -> Phase:
    """Runs these programs one after the other."""
    commands = [[python(f"{name}-{i}", code)] for i, code in enumerate(codes)]
    found = result or (lambda setting, logs: None)
    return Phase(name, name, seconds, lambda setting: commands, found, needs_torch)


@pytest.fixture
def setting(tmp_path) -> Setting:
    return Setting("digits", True, tmp_path / "out")


def results(setting: Setting) -> dict:
    return json.loads((setting.out / "results.json").read_text())["phases"]


def run(setting: Setting, *phases: Phase, seconds: float = 30) -> bool:
    return gpu.run(phases, setting, time.monotonic() + seconds)


def test_a_phase_that_fails_is_noted_and_the_others_go_on(setting, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert run(
        setting,
        phase("doctor", "import sys; print('a line', file=sys.stderr); sys.exit('no card\\n---')"),
        phase("parity", "pass", needs_torch=True),
        phase("populations", f"print({json.dumps(POPULATION)!r})", result=populations),
        phase("profile", "pass", result=lambda setting, logs: [][0]),
    )
    found = results(setting)
    assert found["doctor"]["status"] == "failed"
    assert found["doctor"]["reasons"] == ["doctor-0: exit status 1: no card"]
    assert found["parity"]["status"] == "left out"
    assert found["parity"]["reasons"] == ["PyTorch is not installed"]
    assert found["populations"]["status"] == "passed"
    assert found["populations"]["result"] == [POPULATION]
    assert found["profile"]["status"] == "failed" and "IndexError" in found["profile"]["reasons"][0]
    table = (setting.out / "table.txt").read_text()
    assert "no card" in table and "PyTorch is not installed" in table and "us per member" in table


def populations(setting: Setting, logs: Path) -> list:
    return read_lines(logs / "populations-0.out")


def test_what_is_left_out_is_no_failure(setting, monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    assert not run(setting, phase("doctor", "pass"), phase("parity", "1 / 0", needs_torch=True))


def test_results_are_written_after_every_phase(setting):
    """The second phase reads what the first one left."""
    path = str(setting.out / "results.json")
    code = f"import json; print(json.load(open({path!r}))['phases']['profile']['status'])"

    def told(setting: Setting, logs: Path) -> dict[str, str]:
        return {"then": (logs / "doctor-0.out").read_text().strip()}

    assert not run(setting, phase("profile", "pass"), phase("doctor", code, result=told))
    assert results(setting)["doctor"]["result"] == {"then": "passed"}
    assert "then: passed" in (setting.out / "table.txt").read_text()


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
POLITE = """
import time
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("saved")
"""


def is_alive(pid: int) -> bool:
    """A process that has ended may wait for whoever adopted it to notice."""
    status = Path(f"/proc/{pid}/stat")
    return status.is_file() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
def test_a_phase_ends_at_its_limit_with_all_that_it_started(setting):
    """Asked first, then killed; what comes after still has its share of the time."""
    began = time.monotonic()
    assert run(
        setting,
        phase("doctor", STUBBORN, "raise SystemExit('never runs')"),
        phase("profile", "pass"),
        seconds=24,
    )
    assert time.monotonic() - began < 20  # the two have 12 s each, and the second ends at once
    found = results(setting)
    stopped, left = found["doctor"]["reasons"]
    assert (
        "doctor-0: stopped at its limit" in stopped and left == "doctor-1: no time was left for it"
    )
    assert found["doctor"]["seconds"] < 14 and found["profile"]["status"] == "passed"
    assert found["profile"]["limit"] > 10
    child = int((setting.out / "logs" / "doctor" / "doctor-0.out").read_text())
    assert not is_alive(child)


@pytest.mark.slow
@pytest.mark.ci
def test_commands_run_at_once_and_are_asked_before_they_are_killed(tmp_path):
    """Also where the parent ignores SIGINT, as a job in a shell's background does."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        deadline = time.monotonic() + 12  # time enough to start on a busy machine
        polite, quick = run_together(
            [python("polite", POLITE), python("quick", "pass")], deadline, tmp_path, grace=2
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "polite.out").read_text() == "saved\n"
    assert not polite.in_time and (polite.failure or "").startswith("polite: stopped at its limit")
    assert quick.failure is None and quick.seconds < 10 <= polite.seconds


def test_a_run_that_was_stopped_has_what_its_metrics_say(tmp_path):
    """SIGINT makes a training save, and write a summary without numbers."""
    folder = tmp_path / "runs" / "mnist_conv_vae"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text('{"experiment": "a", "status": "interrupted at step 9"}')
    (folder / "metrics.csv").write_text("epoch,val_loss,seconds\n1,3.0,1.5\n2,2.0,1.5\n3,2.5,1.5\n")
    found = experiments_result(Setting("digits", True, tmp_path), tmp_path)["mnist_conv_vae"]
    assert found["status"] == "cut off" and found["epochs"] == 3 and found["seconds"] == 4.5
    assert found["best"]["epoch"] == 2 and found["last"]["val_loss"] == 2.5
    assert "cut off" in tables.experiments({"mnist_conv_vae": found})


def test_what_cannot_be_read_or_drawn_leaves_the_others_alone(setting, monkeypatch):
    def broken(setting, logs):
        raise SyntaxError("not well-formed")  # as of XML that was cut off

    def undrawn(found):
        raise AttributeError("no such field")

    monkeypatch.setitem(tables.TABLES, "profile", undrawn)
    assert run(
        setting,
        phase("doctor", "pass", result=broken),
        phase("profile", "pass", result=lambda setting, logs: {"a": 1}),
    )
    found = results(setting)
    assert "not well-formed" in found["doctor"]["reasons"][0]
    assert found["profile"]["result"] == {"a": 1}
    assert "no such field" in (setting.out / "table.txt").read_text()


@pytest.mark.parametrize("status, words", [(0, "H100, 580"), (9, "no GPU that nvidia-smi sees")])
def test_what_nvidia_smi_says(setting, tmp_path, monkeypatch, status, words):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'H100, 580'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert words in gpu.about(setting)["device"]


def test_time_that_is_left_goes_to_the_next_phases(setting):
    run(setting, phase("doctor", "pass"), phase("profile", "pass", seconds=3), seconds=40)
    found = results(setting)
    assert 9 < found["doctor"]["limit"] <= 10
    assert 30 < found["profile"]["limit"] < 40  # its own 30 and what the first one left


CUT_OFF = """
import sys, time
from pathlib import Path
from gpu.__main__ import run
from gpu.phases import Phase, Setting
from gpu.running import Command, stop_at_signals
stop_at_signals()
code = "import os, time; print(os.getpid(), flush=True); time.sleep(20)"
phases = [
    Phase("doctor", "", 1, lambda _: [[Command("a", ("-c", "pass"))]], lambda *_: {"all": "well"}),
    Phase("profile", "", 1, lambda _: [[Command("b", ("-c", code))]], lambda *_: None),
]
run(phases, Setting("digits", True, Path(sys.argv[1])), time.monotonic() + 60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_cut_off_leaves_what_it_had(setting, number):
    process = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(setting.out)], cwd=ROOT)
    printed, deadline = setting.out / "logs" / "profile" / "b.out", time.monotonic() + 20
    while not (printed.is_file() and printed.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.wait(timeout=20)
    found = results(setting)
    assert found["doctor"]["result"] == {"all": "well"}
    assert "all: well" in (setting.out / "table.txt").read_text()
    pid = int(printed.read_text())
    if number == signal.SIGTERM:
        assert found["profile"]["reasons"] == ["interrupted"] and not is_alive(pid)
    else:
        assert found["profile"]["status"] == "running"
        os.kill(pid, signal.SIGKILL)


def test_shares_of_the_phases_are_nine_minutes():
    assert sum(phase.seconds for phase in PHASES) == 540


@pytest.mark.parametrize("options", [["--phases", "dinner"], ["--minutes", "0"]])
def test_wrong_use_is_refused(options, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", *options])
    with pytest.raises(SystemExit) as exit_:
        gpu.main()
    assert exit_.value.code == 2 and options[0] in capsys.readouterr().err


def test_it_starts_where_nothing_is_installed():
    """With the standard library alone."""
    code = "import gpu.__main__"
    subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, check=True)


def test_kernels_at_once_are_counted_once():
    """In nanoseconds 0-1000 and 500-1500 on two streams, a gap, 2000-3000; in two steps."""
    kernels = [Kernel("a", 0, 1000), Kernel("b", 500, 1500), Kernel("a", 2000, 3000)]
    found = summary(kernels, steps=2)
    assert found["span_microseconds"] == 1.5 and found["busy_microseconds"] == 1.25
    assert found["kernels_per_step"] == 1.5
    assert found["top"][0] == {"kernel": "a", "per_step": 1.0, "microseconds": 1.0}
