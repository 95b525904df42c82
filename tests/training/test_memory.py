"""Fifty epochs leave no memory behind."""

import resource
from pathlib import Path

import jax
import pytest

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.training import train
from jaxvae.training.reporting import Reporter

EPOCHS = 50


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@pytest.mark.slow
@pytest.mark.ci
def test_memory_does_not_grow(tmp_path, monkeypatch):
    arrays: list[int] = []
    megabytes: list[float] = []

    def measure(self: Reporter, row: dict[str, float], is_best: bool) -> None:
        arrays.append(len(jax.live_arrays()))
        megabytes.append(resident_megabytes())

    monkeypatch.setattr(Reporter, "end_epoch", measure)
    experiment = Experiment(
        "memory",
        data=Data("digits", batch_size=64, limit=256),
        model=Model(hidden_dims=(512,), latent_dim=4),
        optimizer=Optimizer(ema_decay=0.9),
        train=Train(epochs=EPOCHS, chunk_steps=3, figures_every=None),
    )
    train(experiment, tmp_path / "run", quiet=True)
    assert len(arrays) == EPOCHS
    # The copy that is being saved may be alive or not, so the counts alternate.
    assert max(arrays[-10:]) <= max(arrays[:10])
    # A state is 800 000 parameters, Adam's two moments and the average: 13 MB. One leaked per epoch
    # would be 500 MB in 40 epochs; what an allocator keeps for itself wanders far less.
    assert megabytes[-1] - megabytes[9] < 100
