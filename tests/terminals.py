"""Commands as somebody at a terminal runs them."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[1]
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def at_terminal(*args: object, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Exit status, and all that a command wrote to its terminal of 24 lines, with its codes."""
    child, terminal = pty.fork()
    if child == 0:
        removed = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
        own = {name: value for name, value in os.environ.items() if name not in removed}
        own |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(0, termios.TIOCSWINSZ, size)
        command = [sys.executable, "-m", "jaxvae", *map(str, args)]
        os.execvpe(sys.executable, command, own)
    written = b""
    while True:
        try:
            chunk = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that nobody writes to it any more
            chunk = b""
        if not chunk:
            break
        written += chunk
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written.decode()


def lines_of(written: str) -> list[str]:
    """What stood in each line, and what had stood there before; without the codes."""
    return [line for line in re.split(r"[\r\n]+", ANSI.sub("", written)) if line.strip()]
