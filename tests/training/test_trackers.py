"""Trackers against their own backends: what was told is there, with the numbers of metrics.csv."""

import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Optimizer, Train, runs
from jaxvae.training import trackers, train

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
SMALL = Experiment(
    "tracked",
    data=Data(IMAGES, batch_size=12),
    model=Model(hidden_dims=(8,), latent_dim=2),
    optimizer=Optimizer("sgd", 1e-3),
    train=Train(epochs=2, figures_every=2),
)


def tracked(kind: str) -> Experiment:
    return replace(SMALL, train=replace(SMALL.train, track=(kind,)))


def rows_of(folder):
    return runs.read_metrics(folder / "metrics.csv")


def events_of(file):
    """What an event file of TensorBoard holds."""
    from tensorboardX.proto.event_pb2 import Event

    content = file.read_bytes()
    while content:  # length (8 bytes), its checksum (4), the event, its checksum (4)
        length = int.from_bytes(content[:8], "little")
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def test_tensorboard(tmp_path):
    """Every column at every epoch, every figure, the settings."""
    train(tracked("tensorboard"), tmp_path / "run", quiet=True)
    (file,) = (tmp_path / "run" / "tensorboard").glob("events*")
    values = [(event.step, value) for event in events_of(file) for value in event.summary.value]
    scalars = {(step, v.tag): v.simple_value for step, v in values if v.HasField("simple_value")}
    for row in rows_of(tmp_path / "run"):
        for name, value in row.items():
            tag = name.replace("_", "/", 1) if name.startswith(("train_", "val_")) else name
            assert scalars[int(row["epoch"]), tag] == pytest.approx(value, rel=1e-6)
    pictures = {(step, v.tag) for step, v in values if v.HasField("image")}
    assert {(2, "reconstructions"), (2, "samples"), (2, "latents"), (2, "curves")} <= pictures
    (text,) = [v for _, v in values if v.tag.startswith("config")]
    assert '"learning_rate": 0.001' in text.tensor.string_val[0].decode()


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    """A client of a store in a folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(tmp_path / "mlruns"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow import MlflowClient

    return MlflowClient()


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of its stores and of Pydantic
def test_mlflow(tmp_path, mlflow):
    """And a resumed run goes on in the same run of MLflow."""
    folder = tmp_path / "run"
    train(tracked("mlflow"), folder, quiet=True)
    (found,) = mlflow.search_runs([mlflow.get_experiment_by_name("tracked").experiment_id])
    assert (found.info.status, found.info.run_name) == ("FINISHED", "run")
    assert found.data.params["optimizer.learning_rate"] == "0.001"
    longer = tracked("mlflow")
    longer = replace(longer, train=replace(longer.train, epochs=3))
    train(longer, folder, resume=True, quiet=True)
    history = mlflow.get_metric_history(found.info.run_id, "val/loss")
    assert [m.value for m in history] == [row["val_loss"] for row in rows_of(folder)]
    assert [m.step for m in history] == [1, 2, 3]
    names = {item.path for item in mlflow.list_artifacts(found.info.run_id, "figures/epoch-0002")}
    assert "figures/epoch-0002/latents.png" in names
    assert len(mlflow.search_runs([found.info.experiment_id])) == 1


def in_log(content: bytes, first: int) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, of blocks of 32 KiB, the first one shorter.

    https://github.com/google/leveldb/blob/main/doc/log_format.md
    """
    record, at, left = b"", 0, 2**15 - first
    while at < len(content):
        if left < 7:  # too short for a header: zeros
            at, left = at + left, 2**15
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        if at + 7 + length > len(content):  # not yet written
            return
        record += content[at + 7 : at + 7 + length]
        at, left = at + 7 + length, left - 7 - length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_and_biases(tmp_path, monkeypatch):
    """Offline: its file is what would be sent."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from wandb.proto import wandb_internal_pb2

    folder = tmp_path / "run"
    train(tracked("wandb"), folder, quiet=True)
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")

    def whole() -> list:
        found = []
        for content in in_log(path.read_bytes()[7:], first=7):
            found.append(wandb_internal_pb2.Record())
            found[-1].ParseFromString(content)
        return found

    # A process of its own writes the file, and may still do so when the run has ended.
    give_up = time.monotonic() + 60
    while not any(r.HasField("exit") for r in whole()) and time.monotonic() < give_up:
        time.sleep(0.1)
    records = whole()
    assert any(r.HasField("exit") for r in records)
    logged = [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in entry}
        for entry in (r.history.item for r in records if r.HasField("history"))
    ]
    losses = [entry["val/loss"] for entry in logged if "val/loss" in entry]
    assert losses == [row["val_loss"] for row in rows_of(folder)]
    assert any("figures/latents" in key for entry in logged for key in entry)
    settings = [u for r in records if r.HasField("config") for u in r.config.update]
    names = {u.key or "/".join(u.nested_key) for u in settings}
    assert "experiment" in names


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_epoch_that_is_repeated_is_one_point(tmp_path, mlflow):
    """After a kill between what trackers are told and the checkpoint, the epoch comes again.

    TensorBoard hides what an earlier file has of these steps; a point of MLflow stays as it is.
    """
    folder, both = tmp_path / "run", replace(SMALL, train=replace(SMALL.train, epochs=3))
    both = replace(both, train=replace(both.train, track=("tensorboard", "mlflow")))
    train(both, folder, quiet=True)
    for third in folder.glob("checkpoints/12"):
        shutil.move(third, tmp_path)  # of the third epoch: as if it had been killed before
    time.sleep(1.1)  # the name of an event file has the second
    train(both, folder, resume=True, quiet=True)
    (found,) = mlflow.search_runs([mlflow.get_experiment_by_name("tracked").experiment_id])
    for name in ("val/loss", "train/loss", "seconds"):
        points = mlflow.get_metric_history(found.info.run_id, name)
        assert [point.step for point in points] == [1, 2, 3]
    first, second = sorted(folder.glob("tensorboard/events*"))
    assert not any(event.HasField("session_log") for event in events_of(first))
    (start,) = [event for event in events_of(second) if event.HasField("session_log")]
    assert start.step == 3


class Broken:
    def __init__(self, folder, name, epoch):
        pass

    def config(self, settings):
        pass

    def row(self, row):
        raise ConnectionError("the server\nis gone")


def test_a_tracker_that_fails_does_not_end_the_training(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(trackers, "TensorBoard", Broken)
    with caplog.at_level(logging.WARNING, "jaxvae"):
        summary = train(tracked("tensorboard"), tmp_path / "run", quiet=True)
    assert summary["status"] == "finished" and summary["epochs"] == 2
    said = [record.message for record in caplog.records if "not tracked" in record.message]
    assert said == ["tensorboard: not tracked any longer (ConnectionError: the server)"]
