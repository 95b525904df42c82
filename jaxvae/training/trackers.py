"""Where a run is followed besides its folder: TensorBoard, MLflow, Weights & Biases."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from jaxvae import runs

log = logging.getLogger("jaxvae")

FILE = "trackers.json"
"""In the run folder: which run of a tracker is this one, so that a resumed run goes on there."""


class Tracker(Protocol):
    """Who is told of a run, in this order."""

    def config(self, settings: Mapping[str, Any]) -> None:
        """What config.json holds."""

    def row(self, row: Mapping[str, float]) -> None:
        """A row of metrics.csv."""

    def figure(self, name: str, path: Path, epoch: int) -> None:
        """A figure, which is a PNG file."""

    def close(self, status: str) -> None:
        """The run has ended: it is `finished`, `interrupted` or `failed`."""


class Trackers:
    """All of them as one. A tracker that fails is named and left out: the training goes on.

    Use as a context manager.
    """

    def __init__(
        self, kinds: Iterable[str], folder: Path, settings: Mapping[str, Any], epoch: int = 1
    ):
        """Of a run in `folder` whose next epoch is `epoch`; `settings` as config.json has them."""
        made: dict[str, Callable[[Path, str, int], Tracker]] = {
            "tensorboard": TensorBoard,
            "mlflow": MLflow,
            "wandb": WeightsAndBiases,
        }
        self._open: dict[str, Tracker] = {}
        name = str(settings["experiment"]["name"])
        for kind in kinds:
            with self._failing(kind):
                self._open[kind] = made[kind](folder, name, epoch)
        self._each(lambda tracker: tracker.config(settings))

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        status = "finished" if kind is None else "failed"
        if kind is not None and issubclass(kind, runs.Interrupted):
            status = "interrupted"
        self._each(lambda tracker: tracker.close(status))

    def row(self, row: Mapping[str, float]) -> None:
        """A row of metrics.csv."""
        self._each(lambda tracker: tracker.row(row))

    def figures(self, folder: Path, epoch: int) -> None:
        """Every figure in a folder."""
        for path in sorted(folder.glob("*.png")):
            self._each(lambda tracker: tracker.figure(path.stem, path, epoch))  # noqa: B023

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for kind, tracker in [*self._open.items()]:
            with self._failing(kind):
                call(tracker)

    @contextlib.contextmanager
    def _failing(self, kind: str) -> Any:
        try:
            yield
        except Exception as error:  # a server that is gone, a full quota: each raises its own
            self._open.pop(kind, None)
            said = (str(error).strip().splitlines() or [""])[0][:200]
            log.warning("%s: not tracked any longer (%s: %s)", kind, type(error).__name__, said)


class TensorBoard:
    """Event files in FOLDER/tensorboard: scalars, figures, settings."""

    def __init__(self, folder: Path, name: str, epoch: int):
        from tensorboardX import SummaryWriter

        # What was written of these epochs before a kill is hidden by what comes now.
        again = epoch if (folder / "tensorboard").exists() else None
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=again)

    def config(self, settings: Mapping[str, Any]) -> None:
        # Four spaces make it code, in Markdown.
        text = json.dumps(settings, indent=2).replace("\n", "\n    ")
        self._writer.add_text("config", f"    {text}")

    def row(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            self._writer.add_scalar(_grouped(name), value, row["epoch"])

    def figure(self, name: str, path: Path, epoch: int) -> None:
        import numpy as np
        from PIL import Image

        image = np.asarray(Image.open(path).convert("RGB"))
        self._writer.add_image(name, image, epoch, dataformats="HWC")

    def close(self, status: str) -> None:
        self._writer.close()


class MLflow:
    """A run of the experiment of that name, where `MLFLOW_TRACKING_URI` says."""

    def __init__(self, folder: Path, name: str, epoch: int):
        from mlflow import MlflowClient

        self._client = MlflowClient()
        before = _kept(folder, "mlflow")
        self._is_new = before is None
        if before is None:
            found = self._client.get_experiment_by_name(name)
            of = self._client.create_experiment(name) if found is None else found.experiment_id
            before = self._client.create_run(of, run_name=folder.name).info.run_id
            _keep(folder, "mlflow", before)
        else:
            self._client.update_run(before, status="RUNNING")
        self._run = before
        # A point of its histories cannot be replaced, so one that is there is not made again.
        points = [] if self._is_new else self._client.get_metric_history(before, "val/loss")
        self._there = {(point.step, point.value) for point in points}

    def config(self, settings: Mapping[str, Any]) -> None:
        # A parameter of MLflow never changes, and a resumed run may have other epochs.
        for name, value in _flat(settings["experiment"]).items() if self._is_new else ():
            self._client.log_param(self._run, name, value)

    def row(self, row: Mapping[str, float]) -> None:
        again = (int(row["epoch"]), row["val_loss"]) in self._there
        for name, value in row.items() if not again else ():
            self._client.log_metric(self._run, _grouped(name), value, step=int(row["epoch"]))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        self._client.log_artifact(self._run, str(path), f"figures/epoch-{epoch:04d}")

    def close(self, status: str) -> None:
        of = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self._run, of[status])


class WeightsAndBiases:
    """A run of the project `jaxvae`; `WANDB_MODE`, `WANDB_PROJECT` and its like are heeded."""

    def __init__(self, folder: Path, name: str, epoch: int):
        import os

        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "jaxvae"),
            group=name,
            name=folder.name,
            dir=str(folder),
            id=_kept(folder, "wandb"),
            resume="allow",
        )
        _keep(folder, "wandb", self._run.id)

    def config(self, settings: Mapping[str, Any]) -> None:
        self._run.config.update(dict(settings), allow_val_change=True)

    def row(self, row: Mapping[str, float]) -> None:
        named = {_grouped(name): value for name, value in row.items()}
        self._run.log(named, step=int(row["epoch"]))

    def figure(self, name: str, path: Path, epoch: int) -> None:
        self._run.log({f"figures/{name}": self._wandb.Image(str(path))}, step=epoch)

    def close(self, status: str) -> None:
        self._run.finish(exit_code=int(status == "failed"))


def _grouped(name: str) -> str:
    """train_loss and val_loss become train/loss and val/loss."""
    return name.replace("_", "/", 1) if name.startswith(("train_", "val_")) else name


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields by dotted name."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        inner = f"{prefix}{name}"
        found |= _flat(value, f"{inner}.") if isinstance(value, dict) else {inner: value}
    return found


def _kept(folder: Path, kind: str) -> str | None:
    """The run of a tracker that this one was before."""
    path = folder / FILE
    found = runs.read_json(path) if path.exists() else {}
    return found.get(kind) if isinstance(found, dict) else None


def _keep(folder: Path, kind: str, run: str) -> None:
    path = folder / FILE
    before = runs.read_json(path) if path.exists() else {}
    runs.write_json(path, before | {kind: run})
