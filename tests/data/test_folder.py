"""Folders of image files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from jaxvae import config, data
from jaxvae.data import folder


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@settings(max_examples=30)  # each writes and reads files
@given(
    images=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)).flatmap(
        lambda s: hnp.arrays(np.uint8, s) | hnp.arrays(np.uint8, (*s, 3))
    )
)
def test_png_round_trip(tmp_path_factory, images):
    root = tmp_path_factory.mktemp("images")
    for i, image in enumerate(images):
        save(root / f"{i}.png", image)
    source = folder.find(root, config.Data()).read()
    expected = images if images.ndim == 4 else images[..., None]
    assert source.train.images.dtype == np.uint8
    np.testing.assert_array_equal(source.train.images, expected)
    assert (source.train.labels, source.classes, source.test) == (None, None, None)


def test_subfolders_are_classes_in_sorted_order(photos):
    (photos / "cat" / "notes.txt").write_text("not an image")
    (photos / ".thumbnails").mkdir()
    (photos / ".thumbnails" / "0.png").write_bytes(b"hidden")
    source = folder.find(photos, config.Data()).read()
    assert source.classes == ("cat", "dog")
    assert source.train.labels.dtype == np.int32
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.train.images.shape == (6, 4, 3, 1)
    assert source.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101, 102]


def test_train_and_test_subfolders_are_splits(tmp_path):
    for i, part in enumerate(("train/b", "train/a", "test/b")):
        save(tmp_path / "set" / part / "x.png", np.full((2, 2), i, np.uint8))
    dataset = data.load(config.Data(source=str(tmp_path / "set"), batch_size=1))
    assert (dataset.name, dataset.classes) == ("set", ("a", "b"))
    assert dataset.train.images[:, 0, 0, 0].tolist() == [1, 0]
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.test.images[:, 0, 0, 0].tolist() == [2]
    assert dataset.test.labels.tolist() == [1]


def test_one_colour_image_makes_all_rgb(tmp_path):
    save(tmp_path / "set" / "grey.png", np.full((2, 2), 7, np.uint8))
    save(tmp_path / "set" / "rgb.png", np.full((2, 2, 3), (10, 20, 30), np.uint8))
    found = folder.find(tmp_path / "set", config.Data())
    assert found.notes == ["1 of 2 are grey, and made RGB"]
    images = found.read().train.images
    assert images.shape == (2, 2, 2, 3)
    assert images[0, 0, 0].tolist() == [7, 7, 7]
    assert images[1, 0, 0].tolist() == [10, 20, 30]


def test_black_and_white_is_grey(tmp_path):
    save(tmp_path / "set" / "bits.png", np.array([[True, False]]))
    images = folder.find(tmp_path / "set", config.Data()).read().train.images
    assert images[..., 0].tolist() == [[[255, 0]]]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".gif", ".webp", ".tiff"])
def test_other_formats(tmp_path, suffix):
    save(tmp_path / "set" / f"a{suffix}", np.full((8, 8, 3), (200, 100, 50), np.uint8))
    image = folder.find(tmp_path / "set", config.Data()).read().train.images[0]
    # A uniform image: lossy formats miss only by the rounding of their colour transform.
    np.testing.assert_allclose(image, np.broadcast_to([200, 100, 50], (8, 8, 3)), atol=4)


def test_mixed_sizes_need_resize(photos):
    odd = photos / "dog" / "1.png"
    save(odd, np.full((6, 9), 50, np.uint8))
    with pytest.raises(ValueError, match=r"1\.png: 6x9 .*0\.png is 4x3.*--data\.resize HEIGHT"):
        folder.find(photos, config.Data()).read()
    images = folder.find(photos, config.Data(resize=(5, 7))).read().train.images
    assert images.shape == (6, 5, 7, 1)
    # Uniform images stay uniform however they are resized.
    expected = np.array([0, 1, 2, 100, 50, 102])[:, None, None, None]
    np.testing.assert_array_equal(images, np.broadcast_to(expected, images.shape))


def test_host_resize_is_bilinear(tmp_path):
    save(tmp_path / "set" / "0.png", np.array([[0, 100]], np.uint8))
    save(tmp_path / "set" / "1.png", np.zeros((1, 4), np.uint8))
    images = folder.find(tmp_path / "set", config.Data(resize=(1, 4))).read().train.images
    # Pixel centres fall at -1/4, 1/4, 3/4 and 5/4 between the two pixels.
    assert images[0, 0, :, 0].tolist() == [0, 25, 75, 100]


def test_equal_sizes_are_left_to_the_device(photos):
    assert folder.find(photos, config.Data(resize=(5, 7))).read().train.images.shape == (6, 4, 3, 1)


@pytest.mark.parametrize("damage", [lambda b: b"text", lambda b: b"", lambda b: b[: len(b) // 2]])
def test_a_damaged_image_is_named(photos, damage):
    rng = np.random.default_rng(0)
    path = photos / "dog" / "1.png"
    save(path, rng.integers(0, 256, (4, 3), np.uint8))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"dog/1\.png: not a readable image"):
        folder.find(photos, config.Data()).read()


def test_folders_without_images_are_refused(tmp_path, photos):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: no images \(\.png, "):
        folder.find(tmp_path / "empty", config.Data()).read()
    for part in ("train", "test"):
        (tmp_path / "set" / part).mkdir(parents=True)
    save(tmp_path / "set" / "train" / "0.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match="test: no images"):
        folder.find(tmp_path / "set", config.Data()).read()


def test_images_beside_class_folders_are_refused(photos):
    save(photos / "stray.png", np.zeros((4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"stray\.png and cat/0\.png"):
        folder.find(photos, config.Data()).read()
