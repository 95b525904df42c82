"""Every variant trains from images that stay in their files as it does from memory."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxvae import runs
from jaxvae.training import train
from tests.variants.small import NAMES, dataset, small


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder per class of PNG files."""
    folder = tmp_path_factory.mktemp("photos")
    split = dataset().train
    for i, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        (folder / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(folder / str(label) / f"{i:03d}.png")
    return folder


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.ci] if n == "vq_vae" else []) for n in NAMES]
)
def test_streams_train_what_memory_does(name, photos, tmp_path):
    """Two epochs, what begins with data (codebooks, pseudo-inputs) and labels included: the same
    rows, but for the order in which sums of an epoch are taken."""
    rows = []
    for streaming in (False, True):
        experiment = small(name)
        data = replace(experiment.data, source=str(photos), streaming=streaming)
        folder = tmp_path / str(streaming)
        train(replace(experiment, data=data), folder, quiet=True)
        rows.append(runs.read_metrics(folder / "metrics.csv"))
    for resident, streamed in zip(*rows, strict=True):
        assert resident.keys() == streamed.keys()
        names = [n for n in resident if n not in ("seconds", "images_per_second")]
        found = [np.array([row[n] for n in names]) for row in (streamed, resident)]
        np.testing.assert_allclose(*found, rtol=2e-5, atol=1e-6)
