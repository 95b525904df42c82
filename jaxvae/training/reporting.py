"""What a run says while it trains, on stderr: a row per epoch, and a bar where there can be one."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from jaxvae.training import notebook, table
from jaxvae.training.monitor import Standing

BEST = "bold green"


class Reporter:
    """A table of epochs and, on a terminal or in a notebook, a bar of the whole run.

    Elsewhere, as in a pipe, there are plain rows only. Use as a context manager.

    Args:
        epochs: of the whole run, also where it is resumed.
        quiet: say nothing.
        members: how many are trained at once.
        max_steps: the run ends there, if it comes first.
    """

    def __init__(
        self, epochs: int, quiet: bool = False, members: int = 1, max_steps: int | None = None
    ):
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._notebook = notebook.Notebook() if self._console.is_jupyter and not quiet else None
        self._epochs, self._max_steps = epochs, max_steps
        self._loss = "loss" if members == 1 else "mean loss"
        self._table: table.Table | None = None
        self._width = self._rows = 0  # of the console when the header was shown, and since then
        self._first = 0  # step of the epoch that runs
        self._bar = Progress(
            *_bar_columns(self._console.width),
            console=self._console,
            transient=True,
            expand=True,
            disable=quiet or not self._console.is_terminal or self._notebook is not None,
        )

    def __enter__(self) -> "Reporter":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._notebook is not None:
            self._notebook.show()

    def say(self, line: str) -> None:
        """One line."""
        if self._notebook is not None:
            self._notebook.say(line)
        else:
            # Broken between words on a terminal; what reads a pipe wants a line to be one.
            self._console.print(Text(line), soft_wrap=not self._console.is_terminal)

    def start_epoch(self, epoch: int, done: int, steps: int) -> None:
        """An epoch begins, `done` of whose `steps` were taken before an interruption."""
        self._first, total = (epoch - 1) * steps, self._epochs * steps
        total = total if self._max_steps is None else min(total, self._max_steps)
        where = f"epoch {epoch:{len(str(self._epochs))}d}/{self._epochs}"
        taken = self._first + done
        if not self._bar.tasks:  # what was taken before a resumption says nothing of the speed
            fields: dict[str, Any] = {"step": done, "steps": steps, "loss": "", "speed": ""}
            self._bar.add_task(where, total=total, completed=taken, **fields)
        (task,) = self._bar.task_ids
        self._bar.update(task, description=where, completed=taken, step=done)
        self._show()

    def advance(self, done: int, means: dict[str, float], images_per_second: float) -> None:
        """`done` steps of the epoch are taken; `means` are those of the epoch so far."""
        loss, speed = f"{self._loss} {means['loss']:.1f}", f"{images_per_second:,.0f} images/s"
        for task in self._bar.task_ids:
            self._bar.update(task, completed=self._first + done, step=done, loss=loss, speed=speed)
        self._show()

    def end_epoch(self, rows: Sequence[dict[str, float]], standings: Sequence[Standing]) -> None:
        """The epoch's row of the table, from its rows of metrics.csv, one of each member."""
        alone = len(rows) == 1
        cells = (
            table.of_run(rows[0], standings[0], self._epochs)
            if alone
            else table.of_members(rows, standings, self._epochs)
        )
        width = self._console.width if self._notebook is None else notebook.WIDTH
        if self._table is None or width != self._width:
            self._table, self._width, self._rows = table.fit(cells, width - 1), width, 0
            if self._table.left_out:
                missing = ", ".join(self._table.left_out)
                self.say(f"no room for {missing}: metrics.csv has what the table has not")
        line = self._table.row(cells)
        best = alone and standings[0].improved(int(rows[0]["epoch"]))
        if self._notebook is not None:
            self._notebook.row(self._table.header, line, best)
            return
        # Once more when it scrolls out of sight: some lines are taken by the bar and others.
        if self._rows == 0 or (
            self._console.is_terminal and self._rows >= self._console.height - 4
        ):
            self._console.print(Text(self._table.header, "bold"), soft_wrap=True)
            self._rows = 0
        text = Text(line)
        if best:
            text.stylize(BEST, *self._table.span("val loss"))
            text.stylize(BEST, *self._table.span("*"))
        self._console.print(text, soft_wrap=True)
        self._rows += 1

    def _show(self) -> None:
        """In a notebook, where the run stands."""
        if self._notebook is None:
            return
        (task,) = self._bar.tasks
        left = f", {_clock(task.time_remaining)} to go" if task.time_remaining else ""
        within = f"step {task.fields['step']}/{task.fields['steps']}"
        said = f"{task.description}, {within}, {_clock(task.elapsed or 0)}{left}"
        said = f"{said}  {task.fields['loss']}  {task.fields['speed']}"
        self._notebook.progress(task.completed, task.total or 1, said)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _bar_columns(width: int) -> list[ProgressColumn]:
    """One line of at most `width`: the bar takes what the others leave."""
    columns = [
        TextColumn("{task.description} step {task.fields[step]}/{task.fields[steps]}"),
        BarColumn(bar_width=None),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
    ]
    return columns if width >= 100 else columns[:-1] if width >= 70 else columns[:-2]
