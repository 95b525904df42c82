"""The usual sets by name and from folders: small ones, from a server on this machine."""

import contextlib
import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core import shuffle

from jaxvae import config, data
from jaxvae.checks import UsageError
from jaxvae.data import download, published, tfds_source, usual
from tests.commands import call
from tests.data import archives
from tests.data.server import serving, well
from tests.data.test_tfds_source import png, with_tensorflow

TRAIN, TEST = usual.tfds_order(7, "train"), usual.tfds_order(4, "test")
MNIST = {f"{name}.gz": gzip.compress(content) for name, content in archives.four().items()}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing is prepared, and nothing is fetched from elsewhere."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    for name, real in published.SETS.items():
        files = tuple(file._replace(urls=()) for file in real.files)
        monkeypatch.setitem(published.SETS, name, real._replace(files=files))


@pytest.fixture
def publish(monkeypatch):
    """Publish a small set of these files under a usual name; gives the server."""
    with contextlib.ExitStack() as stack:

        def publish(name, files, counts, answer=None):
            server = stack.enter_context(serving(answer or well(files)))
            described = tuple(
                download.File(key, (f"{server.url}/{key}",), len(c), hashlib.sha256(c).hexdigest())
                for key, c in files.items()
            )
            changed = published.SETS[name]._replace(
                files=described, counts=dict(zip(("train", "test"), counts, strict=True))
            )
            monkeypatch.setitem(published.SETS, name, changed)
            return server

        yield publish


def load(source, **options):
    return data.load(config.Data(source=str(source), batch_size=2, **options))


def check_mnist(dataset, train=7, test=4):
    for part, n, seed, mod in ((dataset.train, train, 0, 10), (dataset.test, test, 1, 3)):
        order = usual.tfds_order(n, ("train", "test")[seed])
        np.testing.assert_array_equal(part.images[..., 0], archives.pixels(n, seed)[order])
        assert part.images.dtype == np.uint8 and part.images.shape[3] == 1
        assert part.labels.tolist() == [i % mod for i in order] and part.labels.dtype == np.int32


# ---- the order


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("n", [1, 10, 11, 1234])
def test_the_order_is_that_of_tfds(tmp_path, n, split):
    shuffler = shuffle.Shuffler(tmp_path, split)
    for key in range(n):
        shuffler.add(key, b"%d" % key)
    assert usual.tfds_order(n, split).tolist() == [int(value) for _, value in shuffler]


class JaxvaeTinyOrdered(tfds.core.GeneratorBasedBuilder):
    """Image i has value i and label i % 10; its key is i, as in the builders of the usual sets."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(2, 3, 1)),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(200), "test": self._generate_examples(30)}

    def _generate_examples(self, n):
        for i in range(n):
            yield i, {"image": png(np.full((2, 3), i, np.uint8)), "label": i % 10}


@pytest.mark.parametrize("shards", [1, 3])
def test_the_order_is_that_of_a_prepared_set(shards):
    builder = JaxvaeTinyOrdered(data_dir=tfds_source.data_dir(), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    source = tfds_source.find("jaxvae_tiny_ordered", config.Data()).read()
    for split, part in (("train", source.train), ("test", source.test)):
        want = usual.tfds_order(len(part.images), split)
        assert part.images[:, 0, 0, 0].tolist() == want.tolist()


# ---- by name


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_four_files_are_fetched_on_the_first_use(publish, cache_folder, name):
    server = publish(name, MNIST, (7, 4))
    for _ in range(2):
        dataset = load(name)
        check_mnist(dataset)
    assert [path for path, _ in server.asked] == [f"/{file}" for file in MNIST]
    assert dataset.name == name and "from its archives" in dataset.description
    assert dataset.classes == published.SETS[name].classes
    assert sorted(path.name for path in (cache_folder / "archives" / name).iterdir()) == sorted(
        MNIST
    )


def test_decoded_images_need_no_archives_and_archives_no_network(publish, cache_folder):
    server = publish("mnist", MNIST, (7, 4))
    load("mnist")
    for path in (cache_folder / "archives" / "mnist").iterdir():
        path.rename(cache_folder / path.name)
    check_mnist(load("mnist"))
    for path in cache_folder.glob("*.gz"):
        path.rename(cache_folder / "archives" / "mnist" / path.name)
    for path in cache_folder.glob("*.npz"):
        path.unlink()
    check_mnist(load("mnist"))
    assert len(server.asked) == 4
    # A damaged one is noticed when it is read, and fetched again.
    next(cache_folder.glob("*.npz")).unlink()
    (cache_folder / "archives" / "mnist" / "t10k-labels-idx1-ubyte.gz").write_bytes(b"damaged")
    check_mnist(load("mnist"))
    assert [path for path, _ in server.asked[4:]] == ["/t10k-labels-idx1-ubyte.gz"]


def test_emnist_is_transposed_as_it_is_and_letters_are_cut_as_tfds_does(publish):
    """The archive of all six is kept once."""
    server = publish("emnist/letters", {"gzip.zip": archives.emnist_zip("letters", 9, 5)}, (7, 4))
    dataset = load("emnist/letters")
    # The first 7 of 9 images, then shuffled: not the first 7 of the shuffled ones.
    np.testing.assert_array_equal(dataset.train.images[..., 0], archives.pixels(9)[:7][TRAIN])
    np.testing.assert_array_equal(dataset.test.images[..., 0], archives.pixels(5, 1)[:4][TEST])
    assert dataset.train.labels.tolist() == TRAIN.tolist()
    assert len(dataset.classes) == 37 and len(server.asked) == 1
    with pytest.raises(UsageError, match="emnist/letter'"):  # of TensorFlow Datasets, or nobody
        load("emnist/letter")


def test_cifar10(publish):
    publish("cifar10", {"cifar-10-binary.tar.gz": archives.tar_gz(archives.cifar_files())}, (10, 2))
    dataset = load("cifar10")
    order = usual.tfds_order(10, "train")
    want = np.concatenate([archives.pixels(2, k, (3, 32, 32)) for k in range(5)])
    np.testing.assert_array_equal(dataset.train.images, want.transpose(0, 2, 3, 1)[order])
    assert dataset.test.images.shape == (2, 32, 32, 3) and dataset.classes[9] == "truck"


def test_the_real_sets_are_those_of_tfds():
    """Names, classes, counts, sizes and digests are those that TFDS has registered."""
    folder = Path(tfds.__file__).parent / "url_checksums"
    for name, found in published.SETS.items():
        builder = tfds.builder(name)
        assert len(found.classes) == builder.info.features["label"].num_classes
        if name != "cifar10":  # whose names TFDS reads when it prepares the set
            assert list(found.classes) == builder.info.features["label"].names
        own = getattr(builder, "builder_config", None)
        if own is not None:
            assert found.counts == {"train": own.train_examples, "test": own.test_examples}
        text = (folder / f"{name.partition('/')[0]}.txt").read_text()
        registered = {tuple(line.split("\t")[1:3]) for line in text.splitlines()}
        assert {(str(file.size), file.sha256) for file in found.files} <= registered


# ---- what goes before, and what is left to TFDS


def test_a_prepared_set_goes_before_its_archives_if_it_can_be_read(publish):
    server = publish("mnist", MNIST, (7, 4))

    class Mnist(JaxvaeTinyOrdered, skip_registration=True):
        VERSION = tfds.core.Version("3.0.1")

    Mnist(data_dir=tfds_source.data_dir(), file_format="array_record").download_and_prepare()
    assert len(load("mnist").train.images) == 200 and server.asked == []
    # As TensorFlow's own programs prepare it:
    (info,) = tfds_source.data_dir().rglob("dataset_info.json")
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    check_mnist(load("mnist"))


def test_other_names_stay_those_of_tfds(publish, monkeypatch):
    with_tensorflow(monkeypatch, False)  # with it they would be fetched
    server = publish("mnist", MNIST, (7, 4))
    for name in ("mnist:3.0.1", "emnist", "cifar100", "binarized_mnist"):
        with pytest.raises(FileNotFoundError, match="TensorFlow"):
            load(name)
    assert server.asked == []


def test_without_tfds(publish, monkeypatch):
    publish("mnist", MNIST, (7, 4))
    monkeypatch.delitem(sys.modules, "jaxvae.data.tfds_source")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delattr(data, "tfds_source")
    check_mnist(load("mnist"))
    assert load("digits").train.images.shape == (1438, 28, 28, 1)
    for name, words in (("minst", "did you mean mnist"), ("cifar10_corrupted/fog_1", "(a file")):
        with pytest.raises(UsageError) as caught:
            load(name)
        message = str(caught.value)
        assert words in message and message.endswith(f"pip install {data.TFDS}")
        assert "\n" not in message
    with pytest.raises(FileNotFoundError, match=r"'\./photos': no such file or folder"):
        load("./photos")
    listed = {item["name"]: item for item in data.available()}
    assert {"digits", "mnist", "NAME", "PATH"} <= listed.keys()
    assert "pip install 'jaxvae[tfds]'" in listed["NAME"]["how"]


def test_sets_in_memory_are_not_streamed(publish):
    publish("mnist", MNIST, (7, 4))
    with pytest.raises(UsageError, match=r"data\.streaming = True: must be False for .*'mnist'"):
        load("mnist", streaming=True)


# ---- what goes wrong


def test_no_network_says_which_files_to_put_where(publish, cache_folder):
    publish("mnist", MNIST, (7, 4), answer=lambda handler: handler.send(b"", 503))
    with pytest.raises(FileNotFoundError) as caught:
        load("mnist")
    message = str(caught.value)
    assert message.startswith(
        "data.source = 'mnist': cannot fetch train-images-idx3-ubyte.gz (http"
    )
    assert f"Put {', '.join(MNIST)} into {cache_folder / 'archives' / 'mnist'}" in message
    assert "503" in message and "\n" not in message and "--data.source digits" in message
    # Done as it says:
    for name, content in MNIST.items():
        (cache_folder / "archives" / "mnist" / name).write_bytes(content)
    check_mnist(load("mnist"))


def test_a_cache_that_cannot_be_written_gives_one_line(publish, monkeypatch, tmp_path, capsys):
    publish("mnist", MNIST, (7, 4))
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot keep its 0 MB in .*; set JAXVAE_CACHE") as caught:
        load("mnist")
    assert str(caught.value).startswith("data.source = 'mnist': ") and "\n" not in str(caught.value)


# ---- folders


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_of_idx_files(tmp_path, packed):
    folder = archives.write_four(tmp_path / "mine", packed)
    (folder / "README").touch()
    dataset = load(folder)
    check_mnist(dataset)
    assert (dataset.name, dataset.description) == ("mine", "images of mine")
    assert dataset.classes == tuple("0123456789")
    whole, _ = data.whole(config.Data(source=str(folder)))
    assert whole.images.shape == (11, 28, 28, 1)


def test_names_as_other_programs_write_them(tmp_path):
    folder = archives.write_four(tmp_path, packed=False)
    for path in [*folder.glob("*-ubyte")]:
        path.rename(folder / path.name.replace("-idx", ".idx"))
    check_mnist(load(folder))
    # Packed and unpacked side by side, as torchvision leaves them: the one with a checksum is read.
    archives.write_four(folder)
    (folder / "train-images.idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte").write_bytes(b"not read")
    check_mnist(load(folder))


def test_a_folder_of_a_configuration_of_emnist(tmp_path):
    for name, content in archives.four(12, 4, classes=37).items():
        new = name.replace("t10k", "test")
        (tmp_path / f"emnist-letters-{new}.gz").write_bytes(gzip.compress(content))
    dataset = load(tmp_path)
    order = usual.tfds_order(12, "train")
    assert dataset.train.labels.tolist() == order.tolist()  # all images, labels from 10 on too
    assert len(dataset.classes) == 37
    archives.write_four(tmp_path)
    with pytest.raises(UsageError, match=r"several sets \(train-images-\.\.\., emnist-letters\)"):
        load(tmp_path)


@pytest.mark.parametrize("name", archives.four())
def test_a_file_is_missing(tmp_path, name):
    folder = archives.write_four(tmp_path)
    (folder / f"{name}.gz").unlink()
    with pytest.raises(UsageError, match=rf"needs {name} or {name}\.gz beside its other files"):
        load(folder)


def test_labels_outside_of_the_classes(tmp_path):
    folder = archives.write_four(tmp_path, packed=False)
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(archives.idx(np.array([0, 1, 2, 3, 10, 5, 6])))
    with pytest.raises(UsageError, match=rf"{labels}: label 10 of image 4: must be in 0\.\.9"):
        load(folder)


def test_cifar_files_and_archives(tmp_path, monkeypatch):
    folder, packed = tmp_path / "bins", tmp_path / "packed"
    folder.mkdir()
    packed.mkdir()
    for name, content in archives.cifar_files().items():
        (folder / name).write_bytes(content)
    (packed / "cifar-10-binary.tar.gz").write_bytes(archives.tar_gz(archives.cifar_files()))
    monkeypatch.chdir(packed)
    want = load(folder)
    assert want.train.images.shape == (10, 32, 32, 3) and want.classes[0] == "airplane"
    for source in (packed, packed / "cifar-10-binary.tar.gz", "cifar-10-binary.tar.gz"):
        assert data.fingerprint(load(source)) == data.fingerprint(want)
    with pytest.raises(UsageError, match=r"data\.streaming"):
        load(folder, streaming=True)
    with pytest.raises(FileNotFoundError, match=r"no-such\.tar\.gz'"):
        load("no-such.tar.gz")


# ---- the list


def test_the_list_says_what_to_type(publish, capsys, cache_folder):
    publish("mnist", MNIST, (7, 4))
    publish("kmnist", MNIST, (7, 4))
    load("kmnist")
    status, result, err = call(capsys, "datasets")
    entries = {entry["name"]: entry for entry in result["datasets"]}
    assert status == 0 and published.SETS.keys() <= entries.keys()
    assert entries["kmnist"]["ready"] and entries["kmnist"]["how"] == "--data.source kmnist"
    assert entries["kmnist"]["location"] == str(cache_folder)
    assert not entries["cifar10"]["ready"] and "fetches 170 MB first" in entries["cifar10"]["how"]
    assert entries["cifar10"]["location"] == str(cache_folder / "archives" / "cifar10")
    assert entries["emnist/letters"]["images"] == {"train": 88_800, "test": 14_800}
    expected = "--data.source emnist/digits (fetches 562 MB first)"
    assert entries["emnist/digits"]["how"] == expected and err == ""


def test_on_a_terminal_the_list_is_all(monkeypatch, capsys):
    from jaxvae.cli import main

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    main(["datasets"])
    out, err = capsys.readouterr()
    assert err == ""
    assert any(line.startswith("cifar10 ") for line in out.splitlines())
    with pytest.raises(json.JSONDecodeError):
        json.loads(out)
