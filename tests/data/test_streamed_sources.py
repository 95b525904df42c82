"""Sources that stay in their files: the same splits and pixels as in memory, and what may fail."""

import dataclasses
import io
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import ExifTags, Image

from jaxvae import config, data
from jaxvae.checks import UsageError
from jaxvae.data import decode, folder, tfds_source
from jaxvae.data.headers import Rules
from jaxvae.data.lazy import LazyImages
from jaxvae.data.splits import Dataset
from jaxvae.data.streaming import stream

THREADS = 8
"""Reading threads in these tests, however few processors there are."""


@pytest.fixture(autouse=True)
def many_threads(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: THREADS)


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def save(path: Path, pixels: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def lying() -> Image.Exif:
    """The EXIF data of an image that is shown turned by 90 degrees."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


@pytest.fixture
def grey_folder(tmp_path):
    """Two classes of 9x7 grey noise, some of it 1 bit deep, and one image that lies on its side."""
    root = tmp_path / "grey"
    for i in range(12):
        save(root / "ab"[i % 2] / f"{i:02}.png", noise(i, 9, 7))
    save(root / "a" / "bits.png", noise(20, 9, 7) > 127)
    save(root / "b" / "lying.jpg", noise(21, 7, 9), exif=lying())
    return root


@pytest.fixture
def mixed_folder(tmp_path):
    """A training and a test split in sizes, formats and modes that differ."""
    root = tmp_path / "mixed"
    for i in range(10):
        save(root / "train" / f"{i}.png", noise(i, 8 + i % 3, 6, 3))
    save(root / "train" / "grey.jpg", noise(20, 20, 20))
    save(root / "test" / "photo.jpg", noise(21, 30, 20, 3), exif=lying())
    save(root / "test" / "alpha.webp", noise(22, 5, 5, 4))
    return root


class JaxvaeStreamGrey(tfds.core.GeneratorBasedBuilder):
    """Grey noise of 6x5 pixels, 40 training and 7 test images, with labels."""

    VERSION = tfds.core.Version("1.0.0")
    SHAPE, TEST = (6, 5, 1), "test"

    def _info(self):
        features = {"image": tfds.features.Image(shape=self.SHAPE)}
        features["label"] = tfds.features.ClassLabel(num_classes=3)
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(range(40)),
            self.TEST: self._generate_examples(range(100, 107)),
        }

    def _generate_examples(self, numbers):
        for i in numbers:
            yield i, {"image": self.encoded(i), "label": i % 3}

    def encoded(self, i: int) -> bytes:
        return png(noise(i, 6, 5))


class JaxvaeStreamPhotos(JaxvaeStreamGrey):
    """Colour noise of three heights, and a `validation` split in the place of `test`."""

    SHAPE, TEST = (None, None, 3), "validation"

    def encoded(self, i):
        return png(noise(i, 8 + i % 3, 6, 3))


class JaxvaeStreamOdd(JaxvaeStreamGrey):
    """Record 3 is of another size than the set declares, record 5 has 16 bits per pixel."""

    def encoded(self, i):
        if i == 5:
            return png(noise(i, 6, 5).astype(np.uint16) * 256)
        return png(noise(i, 5 if i == 3 else 6, 5))


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Prepare a set in four files per split, and return its folder."""
    home = tmp_path / "tfds"
    home.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(home))

    def prepare(builder_class):
        builder = builder_class(data_dir=home, file_format="array_record")
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
        return Path(builder.data_path)

    return prepare


def check_same(asked: config.Data, has_labels: bool) -> Dataset:
    """The streamed splits hold what the splits in memory hold."""
    whole, lazy = data.load(asked), data.load(dataclasses.replace(asked, streaming=True))
    assert (lazy.name, lazy.classes) == (whole.name, whole.classes)
    assert lazy.description == whole.description
    for name in ("train", "validation", "test"):
        expected, part = getattr(whole, name), getattr(lazy, name)
        assert isinstance(part.images, LazyImages)
        assert part.images.shape == expected.images.shape
        assert (part.images.dtype, part.images.ndim) == (np.uint8, 4)
        assert len(part.images) == len(expected.images)
        np.testing.assert_array_equal(part.images[:], expected.images)
        if has_labels and expected.labels is not None:
            np.testing.assert_array_equal(part.labels, expected.labels)
        else:
            assert part.labels is None
    return lazy


SPLITS = [{}, {"limit": 3}, {"validation_fraction": 0.25}]
SPLITS.append({"validation_fraction": 0.4, "limit": 2, "seed": 7})


@pytest.mark.parametrize("how", SPLITS)
def test_folders_are_streamed_as_they_are_in_memory(grey_folder, mixed_folder, how):
    grey = config.Data(source=str(grey_folder), batch_size=2, **how)
    check_same(grey, True)
    check_same(dataclasses.replace(grey, resize=(20, 20)), True)  # left to the device
    check_same(dataclasses.replace(grey, resize=(4, 5)), True)
    check_same(config.Data(source=str(mixed_folder), batch_size=2, resize=(7, 9), **how), True)


@pytest.mark.parametrize("how", SPLITS)
def test_prepared_sets_are_streamed_as_they_are_in_memory(prepared, how):
    prepared(JaxvaeStreamGrey)
    prepared(JaxvaeStreamPhotos)
    grey = config.Data(source="jaxvae_stream_grey", batch_size=2, **how)
    check_same(grey, False)
    check_same(dataclasses.replace(grey, resize=(3, 3)), False)
    photos = config.Data(source="jaxvae_stream_photos", batch_size=2, resize=(7, 9), **how)
    check_same(photos, False)


def test_the_whole_of_a_source(prepared, mixed_folder):
    prepared(JaxvaeStreamGrey)
    for source, count in ((str(mixed_folder), 13), ("jaxvae_stream_grey", 47)):
        asked = config.Data(source=source, resize=(7, 9))
        whole, _ = data.whole(asked)
        lazy, _ = data.whole(dataclasses.replace(asked, streaming=True))
        assert isinstance(lazy.images, LazyImages) and len(lazy.images) == count
        np.testing.assert_array_equal(lazy.images[:], whole.images)


@pytest.mark.parametrize(
    "name",
    [
        "mnist",
        pytest.param("fashion_mnist", marks=pytest.mark.slow),
        pytest.param("cifar10_jpeg", marks=[pytest.mark.slow, pytest.mark.ci]),
    ],
)
def test_real_sets(name):
    if not (tfds_source.data_dir() / name).is_dir():
        pytest.skip(f"{name} is not in {tfds_source.data_dir()} (TFDS_DATA_DIR)")
    lazy = data.load(config.Data(source=name, streaming=True))
    builder = tfds.builder(name, data_dir=tfds_source.data_dir())
    whole = decode.decode({"test": tfds_source._read(builder, "test")}, Rules(None))["test"].images
    assert lazy.test.images.shape == whole.shape
    batches = np.random.default_rng(0).permutation(len(whole)).reshape(-1, 100)
    for i, chunk in enumerate(stream(lazy.test.images, batches, 10)):
        np.testing.assert_array_equal(chunk, whole[batches[10 * i : 10 * i + 10]])


def test_loading_decodes_and_caches_nothing(prepared, grey_folder, cache_folder, monkeypatch):
    prepared(JaxvaeStreamGrey)
    for module in (decode, tfds_source):
        monkeypatch.setattr(module, "decode_image", lambda *_: pytest.fail("decoded"))
    for source in (str(grey_folder), "jaxvae_stream_grey"):
        asked = config.Data(source=source, batch_size=2, limit=3, streaming=True)
        dataset = data.load(dataclasses.replace(asked, validation_fraction=0.5))
        assert len(dataset.train.images.take(np.array([2, 0]), axis=0)) == 2
        data.whole(asked)
    assert not cache_folder.exists()


def test_a_damaged_image_in_the_middle_is_named(tmp_path):
    root = tmp_path / "set"
    for i in range(40):
        save(root / f"{i:02}.png", noise(i, 32, 32))
    broken = root / "17.png"
    broken.write_bytes(broken.read_bytes()[:-500])  # its header is whole
    images = folder.find(root, config.Data(streaming=True)).read().train.images
    chunks = stream(images, np.arange(40).reshape(20, 2), 4)
    for _ in range(2):
        next(chunks)
    with pytest.raises(UsageError, match=r"set/17\.png: not a readable image") as caught:
        next(chunks)
    assert "\n" not in str(caught.value)


def test_headers_are_checked_when_a_folder_is_loaded(grey_folder):
    first = grey_folder / "a" / "00.png"
    first.write_bytes(b"text")
    with pytest.raises(UsageError, match=r"a/00\.png: not a readable image"):
        folder.find(grey_folder, config.Data(streaming=True)).read()
    save(first, noise(0, 3, 3))
    with pytest.raises(UsageError, match=r"9x7 .*00\.png is 3x3.*--data\.resize HEIGHT"):
        folder.find(grey_folder, config.Data(streaming=True)).read()


def test_a_file_that_changes_afterwards_is_noticed(grey_folder):
    images = folder.find(grey_folder, config.Data(streaming=True)).read().train.images
    save(grey_folder / "a" / "00.png", noise(0, 3, 3))
    with pytest.raises(UsageError, match=r"a/00\.png: 3x3 .* where the set has 9x7"):
        images[:1]
    (grey_folder / "a" / "00.png").unlink()
    with pytest.raises(UsageError, match=r"a/00\.png: .*No such file"):
        images[:1]


def test_exif_data_behind_the_pixels_of_a_png_count(tmp_path):
    file = tmp_path / "set" / "0.png"
    save(file, noise(0, 4, 6), exif=lying())
    content = file.read_bytes()
    first = content.index(b"eXIf") - 4
    exif = content[first : first + 12 + int.from_bytes(content[first : first + 4], "big")]
    end = content.index(b"IEND") - 4
    file.write_bytes(content[:first] + content[first + len(exif) : end] + exif + content[end:])
    expected = np.rot90(noise(0, 4, 6), -1)[None, ..., None]
    for streaming in (False, True):
        images = folder.find(tmp_path / "set", config.Data(streaming=streaming)).read().train.images
        assert images.shape == (1, 6, 4, 1)
        np.testing.assert_array_equal(images[:], expected)


def test_records_that_are_not_as_declared_are_named(prepared):
    prepared(JaxvaeStreamOdd)
    images = tfds_source.find("jaxvae_stream_odd", config.Data(streaming=True)).read().train.images
    messages = {}
    for i in range(40):
        try:
            images[i : i + 1]
        except UsageError as error:
            name, _, reason = str(error).partition(": ")
            assert name == f"jaxvae_stream_odd/1.0.0 train+test image {i}"
            messages[reason] = i
    depth, size = sorted(messages)
    assert size == "5x5 (height x width), where the set has 6x5"
    assert depth == "16 bits per channel, where the set has 8: convert it" and len(messages) == 2


def test_a_damaged_record_file_is_named(prepared):
    home = prepared(JaxvaeStreamGrey)
    for path in home.glob("*-train.array_record-*"):
        content = bytearray(path.read_bytes())
        content[[i for i, byte in enumerate(content) if byte][300]] ^= 255  # the rest is padding
        path.write_bytes(content)
    images = tfds_source.find("jaxvae_stream_grey", config.Data(streaming=True)).read().train.images
    with pytest.raises(UsageError, match=r"1\.0\.0: cannot read 'train\+test'"):
        list(stream(images, np.arange(40).reshape(10, 4), 4))


def test_open_sizes_need_resize(prepared):
    prepared(JaxvaeStreamPhotos)
    with pytest.raises(UsageError, match=r"photos/1\.0\.0, .*open; give --data\.resize HEIGHT"):
        tfds_source.find("jaxvae_stream_photos", config.Data(streaming=True)).read()


def test_parquet_is_not_streamed(prepared):
    info = prepared(JaxvaeStreamGrey) / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"parquet"'))
    with pytest.raises(UsageError, match=r"streaming = True: must be False .* as parquet"):
        tfds_source.find("jaxvae_stream_grey", config.Data(streaming=True)).read()


@pytest.mark.parametrize("source", ["digits", "a.npy", "a.npz"])
def test_other_sources_are_not_streamed(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", noise(0, 4, 2, 2))
    np.savez("a.npz", images=noise(0, 4, 2, 2))
    with pytest.raises(UsageError, match=rf"data\.streaming = True: .*'{source}'.* folders"):
        data.load(config.Data(source=source, batch_size=1, streaming=True))
