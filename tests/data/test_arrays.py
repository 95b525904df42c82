"""Images in .npy and .npz files."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxvae import config, data
from jaxvae.data import arrays, checked

IMAGES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6))
    | st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)),
)


def with_channels(images):
    return images if images.ndim == 4 else images[..., None]


@given(images=IMAGES)
def test_uint8_round_trip(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "a.npy", images)
    np.savez(folder / "b.npz", some_name=images, labels_of_another_kind=np.zeros(7))
    for name in ("a.npy", "b.npz"):
        source = arrays.find(folder / name).read()
        assert source.train.images.dtype == np.uint8
        np.testing.assert_array_equal(source.train.images, with_channels(images))
        assert source.train.labels is None and source.test is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int16", "int64"])
def test_other_dtypes_give_the_same_uint8(dtype):
    every_value = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    # float16 has 11 significant bits: x/255 is off by at most 2^-12, hence 255 x by 0.07, and its
    # rounding to float16 by 0.07 again: together below 1/2.
    scaled = every_value / 255 if dtype.startswith("float") else every_value
    converted, notes = checked.to_images(scaled.astype(dtype), "images")
    assert not notes
    assert converted.dtype == np.uint8
    np.testing.assert_array_equal(converted, every_value)


def test_what_is_lost_is_said():
    """Floats between the 256 values are rounded; integers 0 and 1 are almost black."""
    every_value = np.arange(256).reshape(1, 16, 16)
    for dtype in (np.float16, np.float32, np.float64):
        assert not checked.to_images((every_value / 255).astype(dtype), "a")[1]
    assert not checked.to_images(every_value, "a")[1]
    assert not checked.to_images(every_value % 2 == 1, "a")[1]
    (small,) = checked.to_images(np.full((1, 2, 2), 0.001), "small")[1]
    (binary,) = checked.to_images(every_value % 2, "binary")[1]
    assert small == "small: floats are rounded to multiples of 1/255"
    assert binary.startswith("binary: the integers 0 and 1 are taken as they are")


def test_floats_are_rounded_to_the_nearest():
    converted, _ = checked.to_images(np.array([[[0.4, 0.6, 253.4, 254.6]]]) / 255, "images")
    assert converted.ravel().tolist() == [0, 1, 253, 255]


def test_booleans_are_black_and_white():
    converted, _ = checked.to_images(np.array([[[True, False]]]), "images")
    assert converted.dtype == np.uint8
    assert converted.ravel().tolist() == [255, 0]


@pytest.mark.parametrize(
    "keys",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
def test_train_and_test_by_name(tmp_path, keys):
    values = (
        np.arange(40, dtype=np.uint8).reshape(10, 2, 2),
        np.arange(10).reshape(10, 1),  # Keras stores CIFAR-10's labels as a column
        np.arange(12, dtype=np.uint8).reshape(3, 2, 2),
        np.arange(3),
    )
    np.savez(tmp_path / "set.npz", **dict(zip(keys, values, strict=True)))
    dataset = data.load(config.Data(source=str(tmp_path / "set.npz"), batch_size=10))
    assert dataset.name == "set"
    np.testing.assert_array_equal(dataset.train.images[..., 0], values[0])
    np.testing.assert_array_equal(dataset.test.images[..., 0], values[2])
    assert dataset.train.labels.dtype == np.int32 and dataset.train.labels.tolist() == [*range(10)]
    assert dataset.test.labels.tolist() == [0, 1, 2]


def test_images_with_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 2, 2), np.uint8), labels=np.array([2, 0, 1]))
    assert arrays.find(tmp_path / "a.npz").read().train.labels.tolist() == [2, 0, 1]


GREY = np.zeros((3, 2, 2), np.uint8)


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((0, 2, 2), np.uint8), r"shape \(0, 2, 2, 1\).*at least one image"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\).*must be \(n, height, width\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"shape \(2, 3, 8, 8\).*1 to 4 channels"),
        (np.array([[[0.0, 1.5]]]), r"from 0\.0 to 1\.5.*within \[0, 1\]"),
        (np.array([[[-0.5, 1.0]]]), r"from -0\.5 to 1\.0"),
        (np.array([[[0.0, np.nan]]]), "nan"),
        (np.array([[[0.0, np.inf]]]), "inf"),
        (np.array([[[0, 256]]]), r"int64 values from 0 to 256.*within \[0, 255\]"),
        (np.array([[[0, -1]]]), "from -1 to 0"),
        (np.array([[["a"]]]), "dtype <U1"),
        (np.array([[[1j]]]), "dtype complex128"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images, message):
    with pytest.raises(ValueError, match="a.npy: images has " + ".*" + message):
        checked.to_images(images, "a.npy: images")


@pytest.mark.parametrize(
    "content, message",
    [
        ({"images": GREY, "labels": np.zeros(2, int)}, r"labels has shape \(2,\): must be \(3,\)"),
        ({"images": GREY, "labels": np.full(3, 0.5)}, "labels has dtype float64: must be integers"),
        ({"a": GREY, "b": GREY}, r"exactly one of rank 3 or 4; it holds \['a', 'b'\]"),
        ({"labels": np.zeros(3, int)}, r"exactly one .* holds \['labels'\]"),
        (
            {"train_images": GREY, "test_images": np.zeros((3, 2, 3), np.uint8)},
            r"differ in shape, \(2, 2, 1\) and \(2, 3, 1\)",
        ),
    ],
)
def test_npz_contents_that_do_not_fit_are_refused(tmp_path, content, message):
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(ValueError, match="a.npz: .*" + message):
        arrays.find(tmp_path / "a.npz").read()


class Bomb:
    """Pickled, it would run code when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("pickled content was executed",))


def test_python_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Bomb()]), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=np.array([Bomb()]))
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(ValueError, match=f"{name}: not a readable NumPy file"):
            arrays.find(tmp_path / name).read()


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, name, keep):
    path = tmp_path / name
    (np.save if name == "a.npy" else np.savez)(path, np.zeros((50, 8, 8), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=f"{name}: not a readable NumPy file"):
        arrays.find(path).read()
