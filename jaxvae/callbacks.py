"""Callbacks: what a caller of `jaxvae.train` has done while a run trains."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxvae.evaluation import Trained


class Callbacks:
    """A `training.Listener` that tells callbacks."""

    def __init__(self, callbacks: Sequence[Any], run_at: Callable[[Trained], Any]):
        self._callbacks, self._run_at = callbacks, run_at

    def all(self, name: str, *args: Any) -> list[Any]:
        """What every callback returns that has such a method."""
        methods = (getattr(callback, name, None) for callback in self._callbacks)
        return [method(*args) for method in methods if method is not None]

    def begin(self, trained: Trained) -> None:
        self.all("on_train_begin", self._run_at(trained))

    def epoch(self, trained: Trained, row: Mapping[str, float]) -> dict[str, float]:
        run = self._run_at(trained)
        columns: dict[str, float] = {}
        functions = [each for each in self._callbacks if inspect.isroutine(each)]
        for found in [*(f(run, dict(row)) for f in functions), *self.all("on_epoch_end", run, row)]:
            columns |= found or {}
        return columns
