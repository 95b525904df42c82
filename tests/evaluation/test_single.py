"""Samples as files of their own, and codes beside the names of their files."""

import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, Experiment, Model, data
from jaxvae.checks import UsageError
from jaxvae.evaluation import Trained, single
from jaxvae.info import Info
from tests.commands import call


def trained(shape: tuple[int, ...], maximum: int | None = 255) -> Trained:
    return Trained(Experiment("x"), None, None, shape, Info(shape, maximum=maximum))


CASES = [((4, 6, 1), 255, "L"), ((4, 6, 3), 255, "RGB"), ((4, 6, 1), 1000, "I;16")]


@pytest.mark.parametrize("shape, maximum, mode", CASES)
def test_files_hold_the_numbers_of_the_data(shape, maximum, mode, tmp_path):
    """Every level comes back, and what lies between two goes to the nearer one."""
    levels = np.random.default_rng(0).integers(0, maximum + 1, (12, *shape))
    off = np.random.default_rng(1).uniform(-0.4, 0.4, levels.shape)
    images = np.clip((levels + off) / maximum, 0, 1)
    images[0], levels[0] = 1, maximum
    written = single.write(trained(shape, maximum), images, tmp_path / "new" / "each", "sample")
    assert [path.name for path in written] == [f"sample-{i:04d}.png" for i in range(12)]
    assert sorted(written) == sorted((tmp_path / "new" / "each").iterdir())
    assert [*(tmp_path / "new").iterdir()] == [tmp_path / "new" / "each"]
    for path, level in zip(written, levels, strict=True):
        image = Image.open(path)
        assert (image.format, image.mode) == ("PNG", mode)
        np.testing.assert_array_equal(np.asarray(image).reshape(shape), level)
    # They are a folder of images again.
    again = data.whole(Data(str(tmp_path / "new" / "each"), batch_size=1))[0].images
    np.testing.assert_array_equal(again, levels)


def test_numbers_sort(tmp_path):
    images = np.zeros((10_001, 1, 1, 1))
    names = [path.name for path in single.write(trained((1, 1, 1)), images, tmp_path / "a", "x")]
    assert (names[0], names[-1]) == ("x-00000.png", "x-10000.png") and names == sorted(names)


@pytest.mark.parametrize(
    "shape, maximum, words",
    [
        ((7,), None, "--each: the examples of this run are no images"),
        ((4, 4, 2), 255, "--each: images of 2 channels of 8 bits: must be grey, or of 3"),
        ((4, 4, 4), 255, "images of 4 channels"),
        ((4, 4, 3), 1000, "images of 3 channels of 16 bits"),
    ],
)
def test_what_no_png_file_holds(shape, maximum, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        single.write(trained(shape, maximum), np.zeros((2, *shape)), tmp_path / "each", "sample")
    assert not (tmp_path / "each").exists()


def test_all_or_none(tmp_path, monkeypatch):
    """A disk that is full at the second file."""
    save = Image.Image.save

    def full(self, path):
        if path.name.endswith("1.png"):
            raise OSError("no space left")
        save(self, path)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="no space left"):
        single.write(trained((2, 2, 1)), np.zeros((3, 2, 2, 1)), tmp_path / "each", "sample")
    assert [*tmp_path.iterdir()] == []


# The commands


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a folder of two classes, whose images are told apart by their brightness."""
    from jaxvae import Train
    from jaxvae.training import train

    folder = tmp_path_factory.mktemp("single")
    for i in range(12):
        path = folder / "photos" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 20 * i, np.uint8)).save(path)
    experiment = Experiment(
        "names",
        data=Data(str(folder / "photos"), batch_size=4),
        model=Model(hidden_dims=(4,), latent_dim=2),
        train=Train(epochs=1, figures_every=None),
    )
    train(experiment, folder / "run", quiet=True)
    return folder


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("split", ["train", "validation", "all"])
def test_codes_are_beside_the_names_of_their_files(split, run, tmp_path, capsys):
    """The code of each file is the one it has alone."""
    arguments = ["embed", run / "run", "--split", split, "--out", tmp_path / "codes"]
    status, _, err = call(capsys, *arguments)
    assert status == 0, err
    found = np.load(tmp_path / "codes.npz")
    names = found["names"].tolist()
    if split == "all":
        assert names == sorted(f"{'ab'[i % 2]}/{i:02}.png" for i in range(12))
    assert [found["classes"][label] for label in found["labels"]] == [name[0] for name in names]
    alone = tmp_path / "alone"
    alone.mkdir()
    for i, name in enumerate(names[:3]):
        (alone / "x.png").write_bytes((run / "photos" / name).read_bytes())
        arguments = ["embed", run / "run", "--source", alone, "--out", tmp_path / "one"]
        assert call(capsys, *arguments)[0] == 0
        one = np.load(tmp_path / "one.npz")
        assert one["names"].tolist() == ["x.png"]
        # Products of another batch size are summed in another order.
        np.testing.assert_allclose(one["codes"][0], found["codes"][i], rtol=1e-5, atol=1e-6)
    np.savez(tmp_path / "array.npz", images=np.zeros((3, 4, 4), np.uint8))
    arguments = ["embed", run / "run", "--source", tmp_path / "array.npz", "--out", tmp_path / "no"]
    assert call(capsys, *arguments)[0] == 0
    assert "names" not in np.load(tmp_path / "no.npz")


@pytest.mark.slow
def test_every_sample_in_a_file(run, tmp_path, capsys):
    each = tmp_path / "each"
    each.mkdir()  # an empty one is as good as none
    arguments = ["sample", run / "run", "--n", 5, "--out", tmp_path / "grid", "--each", each]
    status, result, err = call(capsys, *arguments)
    assert status == 0 and result["each"] == str(each), err
    images = np.load(tmp_path / "grid.npz")["images"]
    for i, image in enumerate(images):
        file = np.asarray(Image.open(each / f"sample-{i:04d}.png"))
        np.testing.assert_array_equal(file, np.rint(image[..., 0] * 255))
    before = (tmp_path / "grid.npz").stat().st_mtime_ns
    status, _, err = call(capsys, *arguments)
    assert status == 2 and "each: exists and is not empty; give another --each" in err
    assert (tmp_path / "grid.npz").stat().st_mtime_ns == before and len([*each.iterdir()]) == 5
