"""Callbacks: what a caller of `jaxvae.train` has done while a run trains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxvae.checks import UsageError
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained
from jaxvae.training.listener import Heard, StopTraining, check_columns

METHODS = ("on_train_begin", "on_epoch_end", "on_train_end")


class Callbacks:
    """A `training.Listener` that tells callbacks.

    Args:
        callbacks: functions `f(run, row)`, called at an epoch's end, and objects that have some of
            `METHODS`.
        run_at: from the model as it stands to what callbacks are given.

    Raises:
        UsageError: one is neither.
    """

    def __init__(self, callbacks: Sequence[Any], run_at: Callable[[Trained, Dataset], Any]):
        self._run_at = run_at
        self._methods: dict[str, list[Callable[..., Any]]] = {name: [] for name in METHODS}
        for callback in callbacks:
            own = {name: getattr(callback, name) for name in METHODS if hasattr(callback, name)}
            if not own and callable(callback) and not isinstance(callback, type):
                own = {"on_epoch_end": callback}
            if not own or isinstance(callback, type):
                raise UsageError(
                    f"callbacks: {callback!r}: must be a function, or an object that has one of"
                    f" {', '.join(METHODS)}"
                )
            for name, method in own.items():
                self._methods[name].append(method)

    def begin(self, trained: Trained, dataset: Dataset) -> None:
        self._dataset = dataset
        for method in self._methods["on_train_begin"]:
            method(self._run_at(trained, dataset))

    def epoch(self, trained: Trained, row: Mapping[str, float]) -> Heard:
        run, reason = self._run_at(trained, self._dataset), None
        columns: dict[str, float] = {}
        for method in self._methods["on_epoch_end"]:
            try:
                found = method(run, dict(row)) or {}
            except StopTraining as stop:
                reason = str(stop) or "no reason given"
            else:
                columns |= check_columns(found, {**row, **columns})
        return Heard(columns, reason)

    def end(self, run: Any) -> None:
        """The training has ended; at a prompt or in a notebook, also where it was interrupted."""
        for method in self._methods["on_train_end"]:
            method(run)
