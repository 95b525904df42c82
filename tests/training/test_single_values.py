"""BatchNorm with one value per feature: refused before anything is trained or written."""

from dataclasses import replace

import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Parallel, Population, Train
from jaxvae.checks import UsageError
from jaxvae.training import train

# 6x6 images: three convolutions of stride 2 make maps of 3x3, 2x2 and 1x1.
DENSE = Model(hidden_dims=(8,), latent_dim=2, batch_norm=True)
TO_ONE_PIXEL = Model("CAE", hidden_dims=(2, 2, 2), batch_norm=True)
REFUSED = {
    "VAE": (DENSE, "encoder/Hidden_0/BatchNorm_0"),
    "AE": (replace(DENSE, family="AE"), "encoder/Hidden_0/BatchNorm_0"),
    "CAE": (TO_ONE_PIXEL, "encoder/Hidden_2/BatchNorm_0"),
    "dense behind": (
        Model("VAE", "conv", (2,), latent_dim=2, dense_dims=(4,), batch_norm=True),
        "encoder/Hidden_1/BatchNorm_0",
    ),
}


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (10, 6, 6), np.uint8))
    train = Train(epochs=1, figures_every=None)
    return Experiment("one", data=Data(str(path), batch_size=1), model=DENSE, train=train)


def refused(experiment, tmp_path, layer: str, **how) -> None:
    words = f"data.batch_size = 1: must be at least 2 .* fewer than 2 values per feature .*{layer}"
    with pytest.raises(UsageError, match=words):
        train(experiment, tmp_path / "run", quiet=True, **how)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", REFUSED)
def test_one_image_in_a_batch(experiment, tmp_path, kind):
    model, layer = REFUSED[kind]
    refused(replace(experiment, model=model), tmp_path, layer)


@pytest.mark.parametrize("runner", ["jit", "sharded", "shard_map", "pmap"])
def test_by_every_runner(experiment, tmp_path, runner):
    refused(experiment, tmp_path, "", parallel=Parallel(runner, devices=1))


def test_of_a_population(experiment, tmp_path):
    refused(experiment, tmp_path, "", population=Population(2))


def test_of_a_set_that_is_streamed(experiment, tmp_path):
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(10):
        Image.fromarray(np.full((6, 6), 20 * i, np.uint8)).save(folder / f"{i}.png")
    data = replace(experiment.data, source=str(folder), streaming=True)
    refused(replace(experiment, data=data), tmp_path, "")


@pytest.mark.parametrize(
    "batch_size, model",
    [
        (2, DENSE),
        (1, replace(TO_ONE_PIXEL, hidden_dims=(2,))),
        (1, replace(DENSE, batch_norm=False)),
    ],
    ids=["two images", "maps of 3x3", "no BatchNorm"],
)
def test_what_has_two_values_trains(experiment, tmp_path, batch_size, model):
    data = replace(experiment.data, batch_size=batch_size)
    run = replace(experiment, data=data, model=model)
    assert train(run, tmp_path / "run", quiet=True)["status"] == "finished"
