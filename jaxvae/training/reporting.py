"""What a run says while it trains: a bar on a terminal, a line per epoch elsewhere, on stderr."""

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxvae.training.monitor import Standing


class Reporter:
    """A progress bar per epoch on a terminal; plain lines elsewhere. Use as a context manager."""

    def __init__(self, epochs: int, quiet: bool = False):
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._epochs = epochs
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),  # all of the line fits in 80 columns
            TextColumn("eta"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> "Reporter":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """One line."""
        self._console.print(line, markup=False)

    def start_epoch(self, epoch: int, done: int, steps: int) -> None:
        """A new bar, `done` of whose `steps` were taken before an interruption."""
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
        description = f"epoch {epoch:{len(str(self._epochs))}d}/{self._epochs}"
        self._bar.add_task(description, total=steps, completed=done, numbers="")

    def advance(self, done: int, means: dict[str, float], images_per_second: float) -> None:
        """`done` steps of the epoch are taken; `means` are those of the epoch so far."""
        numbers = " ".join(f"{name} {means[name]:.1f}" for name in ("loss", "recon", "kl"))
        for task in self._bar.task_ids:
            self._bar.update(
                task, completed=done, numbers=f"{numbers} {images_per_second:,.0f} images/s"
            )

    def end_epoch(self, rows: Sequence[dict[str, float]], standings: Sequence[Standing]) -> None:
        """The epoch's line, from its rows of metrics.csv, one of each member."""
        self.say(
            _line_of_run(rows[0], standings[0], self._epochs)
            if len(rows) == 1
            else _line_of_members(rows, standings, self._epochs)
        )


def _line_of_run(row: dict[str, float], standing: Standing, epochs: int) -> str:
    """What an epoch says of a run alone."""
    epoch = int(row["epoch"])
    return (
        f"epoch {epoch:{len(str(epochs))}d}/{epochs}"
        f"  train loss {row['train_loss']:.5g} recon {row['train_recon']:.5g}"
        f" kl {row['train_kl']:.5g}"
        f"  val loss {row['val_loss']:.5g} recon {row['val_recon']:.5g}"
        f" kl {row['val_kl']:.5g}{' *' if standing.improved(epoch) else '  '}"
        f" lr {row['learning_rate']:.3g}  {row['seconds']:.2f} s"
        f"  {row['images_per_second']:,.0f} images/s"
    )


def _line_of_members(
    of_epoch: Sequence[dict[str, float]], standings: Sequence[Standing], epochs: int
) -> str:
    """What an epoch says of all members."""
    epoch, seconds = int(of_epoch[0]["epoch"]), of_epoch[0]["seconds"]
    finite = [r for r, s in zip(of_epoch, standings, strict=True) if s.failed_epoch is None]
    losses = [row["val_loss"] for row in finite]
    improved = sum(standing.improved(epoch) for standing in standings)
    lost = f", {len(standings) - len(finite)} not finite" if len(finite) < len(standings) else ""
    return (
        f"epoch {epoch:{len(str(epochs))}d}/{epochs}  val loss {min(losses):.5g} to "
        f"{max(losses):.5g}, mean {statistics.fmean(losses):.5g} ({improved} of "
        f"{len(standings)} improved{lost})  {seconds:.2f} s"
    )
