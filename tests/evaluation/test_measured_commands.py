"""Groups probes, clusters, anomaly, samples and reconstruction as a user asks for them."""

import json

import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Train, load
from jaxvae.checks import UsageError
from jaxvae.cli import closing
from jaxvae.evaluation import classifier
from jaxvae.training import train
from tests.commands import call
from tests.evaluation.subjects import SIDE, images

GROUPS = ("probes", "clusters", "anomaly", "samples", "reconstruction")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    own, held = images(60), images(30, seed=1)
    arrays = {"images": own.images, "labels": own.labels}
    arrays |= {"test_images": held.images, "test_labels": held.labels}
    np.savez(folder / "stripes.npz", **arrays)
    experiment = Experiment(
        "vae",
        data=Data(str(folder / "stripes.npz"), batch_size=8),
        model=Model(hidden_dims=(8,), latent_dim=2),
        train=Train(epochs=1, figures_every=None),
    )
    train(experiment, folder / "run", quiet=True)
    return folder / "run"


@pytest.mark.slow
@pytest.mark.ci
def test_from_the_command_line_and_from_python(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)
    out = tmp_path / "rows.npz"
    status, found, err = call(
        *(capsys, "evaluate", run, "--metrics", *GROUPS, "--normal", 0, 1),
        *("--generated", 20, "--per-image", out),
    )
    assert status == 0, err
    assert {*found["metrics"]} == {*GROUPS} and found["images"] == 30
    json.dumps(found, allow_nan=False)
    again = load(run).evaluate(*GROUPS, normal=[0, 1], generated=20)
    for name in GROUPS:
        assert again[name] == pytest.approx(found["metrics"][name], rel=1e-4), name
    with np.load(out) as rows:
        assert {"mse", "ssim", "psnr", "anomalous", "score_recon"} <= {*rows}
        ssim = found["metrics"]["reconstruction"]["ssim"]
        assert rows["ssim"].mean() == pytest.approx(ssim)
        np.testing.assert_array_equal(rows["anomalous"], rows["label"] == 2)
    said = closing.text("evaluate", found)
    assert "knn_5_pca" in said and " ± " in said and "_se" not in said


@pytest.mark.slow
def test_another_source_is_anomalous(run, capsys, tmp_path):
    """Its test images, where it has some: 4 of 9."""
    white = np.full((9, SIDE, SIDE, 1), 255, np.uint8)
    np.savez(tmp_path / "white.npz", images=white[:5], test_images=white[5:])
    path = tmp_path / "white.npz"
    status, found, _ = call(capsys, "evaluate", run, "--metrics", "anomaly", "--anomalies", path)
    assert status == 0 and found["metrics"]["anomaly"]["anomalous"] == pytest.approx(4 / 34)
    assert f"anomalous: 4 test images of {path}" in found["notes"]["anomaly"][0]
    np.savez(path, images=white)
    found = load(run).evaluate("anomaly", anomalies=str(path))
    assert found["anomaly"]["anomalous"] == pytest.approx(9 / 39)


def test_one_line_where_it_does_not_apply(run, capsys):
    status, _, err = call(capsys, "evaluate", run, "--metrics", "anomaly")
    line = "must know what is anomalous: give --normal CLASS... or --anomalies SOURCE"
    assert status == 2 and f"--metrics anomaly: {line}" in " ".join(err.split())
    with pytest.raises(UsageError, match=r"give normal CLASS... or anomalies SOURCE"):
        load(run).evaluate("anomaly")
    with pytest.raises(UsageError, match=r"normal = 9: must be labels of the images: 0, 1, 2"):
        load(run).evaluate("anomaly", normal=9)
