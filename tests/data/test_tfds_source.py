"""Sets of TensorFlow Datasets: tiny ones, prepared here without TensorFlow."""

import importlib.util
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxvae import config, data
from jaxvae.data import tfds_source


def png(pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


class JaxvaeTinyGrey(tfds.core.GeneratorBasedBuilder):
    """Train and test; image i is uniform with value i (test: 200 + i), its label i % 2."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(5, 4, 1)),
            "label": tfds.features.ClassLabel(names=["even", "odd"]),
            "other": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 8), "test": self._generate_examples(200, 3)}

    def _generate_examples(self, start, n):
        for i in range(start, start + n):
            pixels = np.full((5, 4), i, np.uint8)
            yield i, {"image": png(pixels), "label": i % 2, "other": "text"}


class JaxvaeTinyPhotos(tfds.core.GeneratorBasedBuilder):
    """Colour images of two sizes, only a `train` and a `validation` split, no labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(None, None, 3))}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4), "validation": self._generate_examples(2)}

    def _generate_examples(self, n):
        for i in range(n):
            yield i, {"image": png(np.full((6 + i % 2, 5, 3), (i, 50, 200), np.uint8))}


class JaxvaeTinyText(tfds.core.GeneratorBasedBuilder):
    """No images at all."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"text": tfds.features.Text()}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "text"}


class JaxvaeTinyOffline(JaxvaeTinyText):
    """Cannot be downloaded."""

    def _split_generators(self, dl_manager):
        raise ConnectionError("no route to the server\nsecond line")


with tfds.core.registered.skip_registration():

    class JaxvaeTinyCodeless(JaxvaeTinyGrey):
        """What a folder without builder code is made with: its name is not known afterwards."""


@pytest.fixture(autouse=True)
def data_dir(tmp_path, monkeypatch):
    folder = tmp_path / "tfds"
    folder.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


def prepare(builder_class, data_dir):
    builder_class(data_dir=data_dir).download_and_prepare(file_format="array_record")


def with_tensorflow(monkeypatch, present: bool) -> None:
    """Pretend that TensorFlow is (not) installed."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (present or None) if name == "tensorflow" else real(name, *rest),
    )


def check_tiny_grey(dataset):
    for part, n, start in ((dataset.train, 8, 0), (dataset.test, 3, 200)):
        assert part.images.shape == (n, 5, 4, 1) and part.images.dtype == np.uint8
        values = part.images[:, 0, 0, 0]
        assert sorted(values) == list(range(start, start + n))  # TFDS shuffles once
        np.testing.assert_array_equal(
            part.images, np.broadcast_to(values[:, None, None, None], part.images.shape)
        )
        assert part.labels.dtype == np.int32
        np.testing.assert_array_equal(part.labels, values % 2)
    assert dataset.classes == ("even", "odd")


def test_images_labels_and_classes(data_dir):
    prepare(JaxvaeTinyGrey, data_dir)
    for name in ("jaxvae_tiny_grey", "jaxvae_tiny_grey:1.0.0"):
        dataset = data.load(config.Data(source=name, batch_size=4))
        check_tiny_grey(dataset)
        assert dataset.name == name
        assert dataset.description == "jaxvae_tiny_grey/1.0.0 of TensorFlow Datasets"


def test_a_folder_without_builder_code(data_dir):
    prepare(JaxvaeTinyCodeless, data_dir)
    check_tiny_grey(data.load(config.Data(source="jaxvae_tiny_codeless", batch_size=4)))


def test_chunks_join_without_loss(data_dir, monkeypatch):
    monkeypatch.setattr(tfds_source, "CHUNK", 3)
    prepare(JaxvaeTinyGrey, data_dir)
    check_tiny_grey(data.load(config.Data(source="jaxvae_tiny_grey", batch_size=4)))


def test_second_load_reads_no_records(data_dir, monkeypatch):
    prepare(JaxvaeTinyGrey, data_dir)
    first = tfds_source.find("jaxvae_tiny_grey", config.Data()).read()
    monkeypatch.setattr(tfds_source, "_read", lambda *_: pytest.fail("decoded twice"))
    second = tfds_source.find(
        "jaxvae_tiny_grey", config.Data(resize=(9, 9))
    ).read()  # one size: resized on the device
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.test.labels, second.test.labels)


def test_different_sizes_need_resize(data_dir):
    prepare(JaxvaeTinyPhotos, data_dir)
    with pytest.raises(ValueError, match=r"train image \d: .x5 .*--data\.resize HEIGHT WIDTH"):
        tfds_source.find("jaxvae_tiny_photos", config.Data()).read()
    source = tfds_source.find("jaxvae_tiny_photos", config.Data(resize=(3, 2))).read()
    assert source.train.images.shape == (4, 3, 2, 3)
    assert source.test.images.shape == (2, 3, 2, 3)  # from its validation split
    assert source.train.images[:, 1, 1, 1:].tolist() == [[50, 200]] * 4
    assert (source.train.labels, source.classes) == (None, None)


def test_sets_that_do_not_fit_are_refused(data_dir):
    prepare(JaxvaeTinyText, data_dir)
    with pytest.raises(ValueError, match=r"no feature `image`.*\['text'\]"):
        tfds_source.find("jaxvae_tiny_text", config.Data()).read()


def test_unprepared_without_tensorflow(data_dir, monkeypatch):
    with_tensorflow(monkeypatch, False)
    with pytest.raises(FileNotFoundError) as caught:
        data.load(config.Data(source="jaxvae_tiny_grey"))
    message = str(caught.value)
    for part in (
        f"not in {data_dir}",
        "pip install 'jaxvae[tfds]'",
        "TFDS_DATA_DIR",
        "--data.source digits",
    ):
        assert part in message
    assert "\n" not in message
    assert list(data_dir.iterdir()) == []


def test_unprepared_with_tensorflow_is_prepared_on_first_use(monkeypatch):
    with_tensorflow(monkeypatch, True)
    check_tiny_grey(data.load(config.Data(source="jaxvae_tiny_grey", batch_size=4)))


def test_a_failed_download_says_why(data_dir, monkeypatch):
    with_tensorflow(monkeypatch, True)
    with pytest.raises(FileNotFoundError, match="ConnectionError: no route to the server") as e:
        data.load(config.Data(source="jaxvae_tiny_offline"))
    assert "second line" not in str(e.value) and "TFDS_DATA_DIR" in str(e.value)
    assert "--data.source digits" in str(e.value)


@pytest.mark.parametrize(
    "name, message",
    [
        ("mnisst", r"has such a set; did you mean mnist.*written \./NAME"),
        ("digit", r"did you mean digits"),
        ("no_such_thing_at_all", r"has such a set; a folder of images is written \./NAME"),
        ("mnist:9.9.9", r"9\.9\.9.*only: 3\.0\.1"),
        ("my photos", r"'my photos': .*written \./NAME"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        data.load(config.Data(source=name))
    assert "\n" not in str(caught.value)


def test_a_bare_folder_name_is_recognised(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"the folder is written \./photos"):
        data.load(config.Data(source="photos"))


def test_near_matches_include_folders_without_code(data_dir):
    prepare(JaxvaeTinyCodeless, data_dir)
    with pytest.raises(ValueError, match="did you mean jaxvae_tiny_codeless"):
        data.load(config.Data(source="jaxvae_tiny_codless"))


def test_a_configuration_is_no_path(monkeypatch):
    with_tensorflow(monkeypatch, False)
    # A set of TFDS with configurations, as long as no file of that name lies here.
    with pytest.raises(FileNotFoundError, match="preparing it needs TensorFlow"):
        data.load(config.Data(source="cifar10_corrupted/fog_1"))
    with pytest.raises(FileNotFoundError, match="'photos/cats': no such file or folder"):
        data.load(config.Data(source="photos/cats"))


def test_damaged_records_are_reported(data_dir):
    prepare(JaxvaeTinyGrey, data_dir)
    (path,) = data_dir.rglob("*-train.array_record-*")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"1\.0\.0: cannot read 'train'"):
        tfds_source.find("jaxvae_tiny_grey", config.Data()).read()


def test_records_in_a_format_of_tensorflow_are_refused(data_dir):
    prepare(JaxvaeTinyGrey, data_dir)
    (info,) = data_dir.rglob("dataset_info.json")
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    with pytest.raises(ValueError, match=r"as tfrecord, which only TensorFlow reads.*array_record"):
        tfds_source.find("jaxvae_tiny_grey", config.Data()).read()


def test_available_lists_what_is_there_and_what_is_missing(data_dir):
    prepare(JaxvaeTinyCodeless, data_dir)
    prepare(JaxvaeTinyText, data_dir)
    (data_dir / "broken" / "1.0.0").mkdir(parents=True)
    (data_dir / "broken" / "1.0.0" / "features.json").write_text("{")
    entries = {entry["name"]: entry for entry in data.available()}

    tiny = entries["jaxvae_tiny_codeless"]
    assert tiny["ready"] and tiny["images"] == {"train": 8, "test": 3}
    assert tiny["location"] == str(data_dir / "jaxvae_tiny_codeless" / "1.0.0")
    assert not entries["jaxvae_tiny_text"]["ready"]
    assert "no feature `image`" in entries["jaxvae_tiny_text"]["how"]
    assert not entries["broken"]["ready"]
    assert not entries["mnist"]["ready"] and "fetches 12 MB" in entries["mnist"]["how"]
    assert not entries["NAME"]["ready"] and entries["NAME"]["location"] == str(data_dir)
    assert "pip install 'jaxvae[tfds]'" in entries["NAME"]["how"]
    assert entries["digits"]["ready"]
