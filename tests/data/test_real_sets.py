"""The real sets, where $TFDS_DATA_DIR has them, and their archives, where they lie beside it."""

import numpy as np
import pytest

from jaxvae import config, data
from jaxvae.data import tfds_source


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Load a set by name, decoded once for this module, or skip where it is not prepared."""
    folder = tmp_path_factory.mktemp("decoded")

    def load(name):
        if not (tfds_source.data_dir() / name).is_dir():
            pytest.skip(f"{name} is not in {tfds_source.data_dir()} (TFDS_DATA_DIR)")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JAXVAE_CACHE", str(folder))
            return data.load(config.Data(source=name))

    return load


SETS = {"mnist": (60_000, 28, 28, 1), "fashion_mnist": (60_000, 28, 28, 1)}
SETS["cifar10_jpeg"] = (50_000, 32, 32, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param("mnist", marks=pytest.mark.ci), "fashion_mnist", "cifar10_jpeg"]
)
def test_counts_shapes_and_labels(load, name):
    dataset = load(name)
    n, *shape = SETS[name]
    for part, count in ((dataset.train, n), (dataset.test, 10_000)):
        assert part.images.shape == (count, *shape) and part.images.dtype == np.uint8
        assert part.images.min() == 0 and part.images.max() == 255
        assert part.labels.shape == (count,) and part.labels.dtype == np.int32
    assert len(dataset.classes) == 10
    assert dataset.validation.images is dataset.test.images

    # Published numbers of images per class.
    train, test = np.bincount(dataset.train.labels), np.bincount(dataset.test.labels)
    if name == "mnist":
        assert train.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert test.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    else:
        assert train.tolist() == [n // 10] * 10 and test.tolist() == [1000] * 10


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("mnist", marks=pytest.mark.ci), "fashion_mnist"])
def test_archives_give_the_same_bits_in_the_same_order(load, name, tmp_path, monkeypatch):
    archives = tfds_source.data_dir().parent / "archives" / name
    if not archives.is_dir():
        pytest.skip(f"{archives} is not there (beside TFDS_DATA_DIR)")
    prepared = load(name)
    from_folder = data.load(config.Data(source=str(archives)))

    # As after a download, where nothing is prepared.
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path))
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / name).symlink_to(archives)
    from_archives = data.load(config.Data(source=name))
    for found in (from_folder, from_archives):
        for key in ("train", "validation", "test"):
            part, want = getattr(found, key), getattr(prepared, key)
            assert part.images.dtype == want.images.dtype and part.labels.dtype == np.int32
            np.testing.assert_array_equal(part.images, want.images)
            np.testing.assert_array_equal(part.labels, want.labels)
        assert data.fingerprint(found) == data.fingerprint(prepared)
    assert from_archives.classes == prepared.classes and from_archives.name == prepared.name
    assert from_folder.classes == tuple("0123456789")  # which set it is, the files do not say


@pytest.mark.slow
@pytest.mark.ci
def test_entropy_floor_of_mnist(load):
    """The smallest possible cross-entropy of grey MNIST test images: that of the pixels x/255."""
    x = load("mnist").test.images.astype(np.float64) / 255
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(np.nan_to_num(x * np.log(x)) + np.nan_to_num((1 - x) * np.log1p(-x)))
    # Known to 5 decimals, in nats per image.
    assert entropy.sum() / len(x) == pytest.approx(45.53449, abs=5e-6)


@pytest.mark.slow
@pytest.mark.ci
def test_real_sets_are_listed_as_ready(load):
    load("mnist")
    entries = {entry["name"]: entry for entry in data.available()}
    assert entries["mnist"]["ready"]
    assert entries["mnist"]["images"] == {"train": 60_000, "test": 10_000}
