"""Being asked to stop: SIGTERM, as preemptible machines send it, and SIGINT (Ctrl-C)."""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any


def is_interactive() -> bool:
    """Whether somebody types what this process runs: in a notebook, or at Python's prompt."""
    shell = sys.modules.get("IPython")
    return hasattr(sys, "ps1") or (shell is not None and shell.get_ipython() is not None)


class StopRequest:
    """True once SIGTERM or SIGINT has come. Use as a context manager, around training.

    A second signal ends the process at once; a second SIGINT in a notebook or an interactive
    interpreter, whose values would be lost with it, raises KeyboardInterrupt. Outside the main
    thread, where Python takes no signals, it stays False.
    """

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self._asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        name = signal.Signals(number).name
        said = f"{name}: finishing the chunk that runs, saving; a second one ends at once\n"
        os.write(2, said.encode())  # print may be what was interrupted
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)  # ends the process even while it waits for a device
        if is_interactive():
            signal.signal(signal.SIGINT, signal.default_int_handler)
