"""A training in a Jupyter notebook: one output that is replaced, with a bar and the latest rows."""

import html
import time
from collections import deque
from typing import Any

ROWS = 10  # the latest so many; metrics.csv has all of them
WIDTH = 90  # columns of the table: more would be scrolled sideways beside a sidebar
EVERY = 0.2  # seconds between two replacements: a browser need not follow each chunk


class Notebook:
    """One output of a notebook's cell. Needs no ipywidgets; IPython is there where a kernel is."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._lines: list[str] = []
        self._header = ""
        self._rows: deque[tuple[str, bool]] = deque(maxlen=ROWS)
        self._done, self._total, self._said = 0.0, 1.0, ""
        self._shown = float("-inf")

    def say(self, line: str) -> None:
        """A line above the table."""
        self._lines.append(line)
        self.show()

    def row(self, header: str, row: str, best: bool) -> None:
        """A row of the table, under the header; it is shown with what comes next."""
        self._header = header
        self._rows.append((row, best))

    def progress(self, done: float, total: float, said: str) -> None:
        """Where the run stands; shown if the last time was long enough ago."""
        self._done, self._total, self._said = done, total, said
        if time.monotonic() - self._shown >= EVERY:
            self.show()

    def show(self) -> None:
        """Replace the output."""
        from IPython.display import display

        bundle = {"text/plain": self.as_text(), "text/html": self.as_html()}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
        self._shown = time.monotonic()

    def as_text(self) -> str:
        """For kernels that are not shown in a browser."""
        table = [self._header, *(row for row, _ in self._rows)] if self._rows else []
        return "\n".join([*self._lines, *table, *([self._said] if self._said else [])])

    def as_html(self) -> str:
        """The lines, the bar, and the latest rows with the best ones in bold."""
        lines = "".join(f"<div>{html.escape(line)}</div>" for line in self._lines)
        bar = (
            f'<progress value="{self._done:.0f}" max="{self._total:.0f}"></progress> '
            f"{html.escape(self._said)}"
        )
        rows = (
            f"<b>{html.escape(row)}</b>" if best else html.escape(row) for row, best in self._rows
        )
        table = "\n".join([html.escape(self._header), *rows])
        return f"{lines}<div>{bar if self._said else ''}</div><pre>{table}</pre>"
