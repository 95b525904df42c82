"""Being asked to stop: SIGTERM, as preemptible machines send it, and SIGINT (Ctrl-C)."""

import os
import signal
import threading
from types import FrameType
from typing import Any


class StopRequest:
    """True once SIGTERM or SIGINT has come. Use as a context manager, around training.

    A second signal ends the process at once. Outside the main thread, where Python takes no
    signals, it stays False.
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
