"""Which kind of source a name means, and the digits of scikit-learn."""

import json

import numpy as np
import pytest
from PIL import Image

from jaxvae import config, data


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    dataset = data.load(config.Data(source="digits"))
    assert dataset.train.images.shape == (1438, 28, 28, 1)  # 1797 - round(0.2 * 1797)
    assert dataset.validation.images.shape == (359, 28, 28, 1)
    np.testing.assert_array_equal(dataset.validation.images, dataset.test.images)
    assert dataset.classes == tuple("0123456789")
    assert "8x8" in dataset.description and "28x28" in dataset.description

    original = load_digits()
    counts = sum(np.bincount(part.labels, minlength=10) for part in dataset[1:3])
    np.testing.assert_array_equal(counts, np.bincount(original.target))
    # Interpolation keeps the mean brightness; rounding and the borders are below 0.5 of 255.
    images = np.concatenate([dataset.train.images, dataset.validation.images])
    assert abs(images.mean() - original.images.mean() * 255 / 16) < 0.5
    # Reduced to 8x8 again, each image is its own original's nearest neighbour or close to it.
    first = images[0, ..., 0]
    small = np.asarray(Image.fromarray(first).resize((8, 8), Image.Resampling.BOX), float)
    distances = np.abs(original.images * 255 / 16 - small).mean(axis=(1, 2))
    assert original.target[distances.argmin()] == dataset.train.labels[0]


@pytest.mark.parametrize("source", ["./none", "none/", "/none/at/all", "none.npz", "none.npy"])
def test_missing_paths(source):
    with pytest.raises(FileNotFoundError, match=f"'{source}': no such file or folder"):
        data.load(config.Data(source=source))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match=r"a\.txt': must be a folder, or a file that ends in "):
        data.load(config.Data(source=str(tmp_path / "a.txt")))


def test_paths_relative_to_here_and_to_home(tmp_path, monkeypatch, photos):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save("a.npy", np.zeros((10, 2, 2), np.uint8))
    for source in ("a.npy", "./a.npy", "~/a.npy"):
        assert data.load(config.Data(source=source, batch_size=8)).name == "a"
    for source in ("./photos", "photos/", "~/photos"):
        assert data.load(config.Data(source=source, batch_size=4)).name == "photos"


def test_available_is_json(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing"))
    entries = json.loads(json.dumps(data.available()))
    assert {"digits", "mnist", "fashion_mnist", "cifar10"} <= {e["name"] for e in entries}
    for entry in entries:
        assert set(entry) == {"name", "ready", "location", "images", "how"}
