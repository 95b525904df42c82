"""Commands in processes of their own, which end in time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

GRACE = 8.0
"""Seconds before the limit at which a command is asked to stop; at the limit it is killed."""


class Command(NamedTuple):
    """What this Python runs, `python ARGUMENTS`; NAME.out and NAME.err take what it prints."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = {}


class Ended(NamedTuple):
    """How a command ended."""

    name: str
    status: int
    """Of its exit; minus the signal that ended it."""
    seconds: float
    in_time: bool
    """Whether it ended by itself."""
    last_words: str
    """The last line with a word in it that it wrote to stderr."""

    @property
    def failure(self) -> str | None:
        """Why it counts as failed."""
        if not self.in_time:
            return f"{self.name}: stopped at its limit, after {self.seconds:.0f} s"
        if self.status:
            return f"{self.name}: exit status {self.status}: {self.last_words}"
        return None


def run_together(
    commands: Sequence[Command], deadline: float, folder: Path, grace: float = GRACE
) -> list[Ended]:
    """Run the commands at once, and wait for all of them, until `deadline` at most.

    Whatever they have started ends with them, also when this function is left by an exception.

    Args:
        commands: what to run.
        deadline: of time.monotonic().
        folder: where NAME.out and NAME.err go.
        grace: seconds between the SIGINT and the SIGKILL of those that take too long.
    """
    processes: list[tuple[Command, subprocess.Popen]] = []
    began = time.monotonic()
    ended: dict[str, float] = {}  # seconds until then
    late: set[str] = set()
    try:
        for command in commands:
            processes.append((command, _start(command, folder)))
        while len(ended) < len(processes):
            now = time.monotonic()
            for command, process in processes:
                if process.poll() is not None:
                    ended.setdefault(command.name, now - began)
                elif command.name not in late and now >= deadline - grace:
                    late.add(command.name)
                    process.send_signal(signal.SIGINT)  # a training saves, a test run reports
                elif now >= deadline:
                    _kill_group(process)
            time.sleep(0.05)
    finally:
        for _, process in processes:
            _kill_group(process)
            process.wait()
    return [
        Ended(
            command.name,
            process.returncode,
            ended[command.name],
            command.name not in late,
            _last_line(folder / f"{command.name}.err"),
        )
        for command, process in processes
    ]


def _start(command: Command, folder: Path) -> subprocess.Popen:
    with (
        (folder / f"{command.name}.out").open("w") as out,
        (folder / f"{command.name}.err").open("w") as err,
    ):
        return subprocess.Popen(
            [sys.executable, *command.arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **command.environment},
            start_new_session=True,  # a process group of its own, which can be killed as a whole
            # In a shell's background SIGINT is ignored, and would be by what is started here.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )


def _kill_group(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):  # nothing is left of it
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    words = [line.strip() for line in lines if any(letter.isalnum() for letter in line)]
    return words[-1][:300] if words else "it said nothing"


def stop_at_signals() -> None:
    """Let SIGTERM end this program as Ctrl-C does, so that its commands end with it."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, stop)
