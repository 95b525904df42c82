"""Damaged files give a result or one clear error, whatever they are."""

import gzip
import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxvae import Experiment, config, data, runs
from jaxvae.checks import UsageError
from jaxvae.data import arrays, cache, cifar, folder, idx, usual
from jaxvae.data.splits import Split
from jaxvae.info import Info
from jaxvae.runs import COLUMNS
from tests.data import archives, test_formats

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 6, 5), np.uint8)
EXAMPLES = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.sampled_from([0, 1, 127, 255, 2**15, 2**31 - 1, 2**32 - 1, 2**63])


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The file with some bytes changed, left out, put in, or all after some point lost."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        match draw(st.sampled_from(["bits", "number", "without", "with", "cut"])):
            case "bits":
                changed[at : at + 1] = bytes(b ^ (1 << at % 8) for b in changed[at : at + 1])
            case "number":
                number = draw(SIZES).to_bytes(8, draw(st.sampled_from(["little", "big"])))
                changed[at : at + 8] = number[: len(changed[at : at + 8])]
            case "without":
                del changed[at : at + draw(st.integers(1, 20))]
            case "with":
                changed[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "cut":
                del changed[at:]
    return bytes(changed)


def refusal(read: Callable[[], object], path: Path) -> str:
    """What is said of a file that is not read, empty for one that is: an error for users, short,
    that names the file. Any other exception fails the test."""
    try:
        read()
    except UsageError as error:
        assert str(path) in str(error)
        assert len(str(error)) < 1500
        return str(error)
    return ""


def of(make: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    make(stream)
    return stream.getvalue()


LABELS = np.arange(3)
NUMPY = {
    "a.npy": of(lambda s: np.save(s, IMAGES)),
    "b.npy": of(lambda s: np.save(s, np.asfortranarray(IMAGES / 255))),
    "a.npz": of(lambda s: np.savez(s, images=IMAGES, labels=LABELS)),
    "b.npz": of(lambda s: np.savez_compressed(s, x_train=IMAGES, y_train=LABELS, x_test=IMAGES)),
}


@pytest.mark.parametrize("name", NUMPY)
@EXAMPLES
@given(d=st.data())
def test_numpy_files(tmp_path, name, d):
    path = tmp_path / name
    path.write_bytes(NUMPY[name])
    assert not refusal(lambda: arrays.find(path).read(), path)
    path.write_bytes(d.draw(damaged(NUMPY[name])))
    refusal(lambda: arrays.find(path).read(), path)


DTYPES = ["|u1", "|b1", "<i8", ">u2", "<f2", ">f8", "<c8", "|S3", "<U0", "<M8[D]", "<m8[s]", "|V0"]
DTYPES += ["|O", "|V3", ",", "u1,i1", "(2,2)u1", "O2", "\0", "nonsense"]
LENGTHS = st.sampled_from([-1, 0, 1, 2, 3, 28, 2**31, 2**63, 10**30, True]) | st.integers(0, 9)


@EXAMPLES
@given(
    descr=st.sampled_from(DTYPES) | st.text(max_size=5) | st.integers() | st.none(),
    shape=st.lists(LENGTHS, max_size=6).map(tuple) | st.integers(),
    order=st.booleans() | st.none(),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0), (0, 9)]),
    content=st.binary(max_size=300),
)
def test_numpy_headers_that_announce_anything(tmp_path, descr, shape, order, version, content):
    header = {"descr": descr, "fortran_order": order, "shape": shape}
    text = f"{header}\n".encode("utf-8", "replace")
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY" + bytes(version) + length + text + content)
    refusal(lambda: arrays.find(tmp_path / "a.npy").read(), tmp_path / "a.npy")


FORMATS = {"png": {}, "jpeg": {}, "gif": {}, "bmp": {}, "webp": {}, "tiff": {}, "ppm": {}}
FORMATS["tiff"] = {"compression": "tiff_lzw"}


@pytest.mark.parametrize("kind", FORMATS)
@EXAMPLES
@given(d=st.data())
def test_image_files(tmp_path, monkeypatch, kind, d):
    monkeypatch.setenv("JAXVAE_CACHE", os.devnull)  # nothing is kept
    image = Image.fromarray(np.stack([IMAGES[0]] * 3, axis=-1))
    content = of(lambda s: image.save(s, kind, **FORMATS[kind]))
    path = tmp_path / "set" / f"0.{kind}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert not refusal(lambda: folder.find(path.parent, config.Data()).read(), path)
    path.write_bytes(d.draw(damaged(content)))
    # Any size is fine where nothing is kept of it but a resized image.
    refusal(lambda: folder.find(path.parent, config.Data(resize=(4, 4))).read(), path)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@EXAMPLES
@given(d=st.data())
def test_idx_files(tmp_path, packed, name, d):
    pack = (lambda content: gzip.compress(content, 1)) if packed else bytes
    files = {name: pack(content) for name, content in archives.four(3, 2).items()}
    for each, content in files.items():
        (tmp_path / each).write_bytes(content)
    assert not refusal(lambda: usual.load_path(tmp_path), tmp_path)
    (tmp_path / name).write_bytes(d.draw(damaged(files[name])))
    refusal(lambda: usual.load_path(tmp_path), tmp_path)


@EXAMPLES
@given(magic=st.sampled_from([2049, 2051, 0, 2**32 - 1]), d=st.data(), content=st.binary())
def test_idx_headers_that_announce_anything(tmp_path, magic, d, content):
    sizes = d.draw(st.lists(SIZES.map(lambda n: n % 2**32) | st.integers(0, 9), max_size=4))
    path = tmp_path / "a"
    whole = struct.pack(f">I{len(sizes)}I", magic, *sizes) + content
    for written in (whole, gzip.compress(whole, 1)):
        path.write_bytes(written)
        for rank in (1, 3):
            with path.open("rb") as file:
                refusal(
                    lambda file=file, rank=rank: idx.read(idx.Named(file, str(path)), rank), path
                )


CIFAR = archives.cifar_files(1)


@pytest.mark.parametrize("kind", ["bin", "tar", "gz"])
@EXAMPLES
@given(d=st.data())
def test_cifar_files(tmp_path, kind, d):
    """A file of records; an archive's headers, under a right checksum of gzip; its bytes."""
    whole = archives.tar_gz(CIFAR)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(whole)
    assert not refusal(lambda: cifar.read_archive(path), path)
    match kind:
        case "bin":
            content = d.draw(damaged(CIFAR["data_batch_1.bin"]))
            path.write_bytes(archives.tar_gz(CIFAR | {"data_batch_1.bin": content}))
        case "tar":
            path.write_bytes(gzip.compress(d.draw(damaged(gzip.decompress(whole))), 1))
        case "gz":
            path.write_bytes(d.draw(damaged(whole)))
    refusal(lambda: cifar.read_archive(path), path)


# SciPy reads .mat in a process of its own, which takes its time (tests/data/test_formats.py).
OTHERS = [ending for ending in test_formats.MAKERS if ending not in (".npy", ".npz", ".mat")]


@pytest.mark.parametrize("ending", OTHERS)
@EXAMPLES
@given(d=st.data())
def test_files_of_other_programs(tmp_path, monkeypatch, ending, d):
    """Tables, archives, and what h5py and pyarrow read."""
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "cache"))
    whole, path = tmp_path / f"whole{ending}", tmp_path / f"a{ending}"
    if not whole.exists():
        test_formats.MAKERS[ending](whole)
    path.write_bytes(d.draw(damaged(whole.read_bytes())))
    asked = config.Data(str(path), resize=(4, 4) if ending.startswith((".zip", ".t")) else None)
    try:
        data.whole(asked)
    except UsageError as error:  # of an image in an archive, that image is named
        assert str(path) in str(error) or str(tmp_path / "cache") in str(error)
        assert len(str(error)) < 1500


SPLITS = {
    "train": Split(IMAGES[..., None], LABELS.astype(np.int32)),
    "test": Split(IMAGES[..., None], None),
}


@EXAMPLES
@given(d=st.data())
def test_cached_images(tmp_path, monkeypatch, d):
    """Whatever the file holds: the images are right, decoded again if need be."""
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "cache"))
    whole = tmp_path / "whole"
    if not whole.exists():
        cache.cached("a", 6, ["x"], lambda: SPLITS)
        whole.write_bytes(next((tmp_path / "cache").iterdir()).read_bytes())
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(d.draw(damaged(whole.read_bytes())))
    found = cache.cached("a", 6, ["x"], lambda: SPLITS)
    assert found.keys() == SPLITS.keys()
    for key, (images, labels, *_) in SPLITS.items():
        np.testing.assert_array_equal(found[key].images, images)
        np.testing.assert_array_equal(found[key].labels, labels)


@EXAMPLES
@given(
    images=st.sampled_from(["u1", "i8", "f4", "m8[s]", "S3"]),
    labels=st.sampled_from(["i4", "i8", "f8", "u1"]),
    rank=st.integers(0, 5),
    count=st.integers(0, 3),
)
def test_cached_arrays_of_other_kinds(tmp_path, monkeypatch, images, labels, rank, count):
    """A well-formed file that holds something else is not taken for images."""
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "cache"))
    cache.cached("a", 6, ["x"], lambda: SPLITS)
    (path,) = (tmp_path / "cache").iterdir()
    both = {"images": np.zeros((2,) * rank, images), "labels": np.zeros(count, labels)}
    np.savez(path, **{f"{split}_{kind}": both[kind] for split in SPLITS for kind in both})
    train = cache.cached("a", 6, ["x"], lambda: SPLITS)["train"]
    assert train.images.dtype == np.uint8 and train.images.ndim == 4
    assert train.labels is None or train.labels.dtype == np.int32
    assert train.labels is None or train.labels.shape == train.images.shape[:1]


def test_a_cached_file_that_could_grow_is_not_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "old.tmp").symlink_to("gone")  # nor does this keep it from being written
    cache.cached("a", 6, ["x"], lambda: SPLITS)
    (path,) = (tmp_path / "cache").glob("*.npz")
    with np.load(path) as content:
        np.savez_compressed(path, **content)
    cache.cached("a", 6, ["x"], lambda: SPLITS)
    assert "compressed" in caplog.text and "cannot keep" not in caplog.text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**64, 10**400, -1, 0, "64", "../x", "\0", "nan"])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda values: (
        st.lists(values, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "data", "options", "more"]), values, max_size=3)
    ),
    max_leaves=5,
)
CONFIG = json.loads(json.dumps(runs.describe(Experiment("fuzz"), (28, 28, 1), Info((28, 28, 1)))))


def places(value: dict, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The way to each value of a nested dict."""
    found = [(*path, name) for name in value]
    for name, inner in value.items():
        found += places(inner, (*path, name)) if isinstance(inner, dict) else []
    return found


@settings(EXAMPLES, max_examples=300)
@given(
    place=st.sampled_from(places(CONFIG)), value=JSON, kind=st.sampled_from(["set", "add", "cut"])
)
def test_configurations_with_any_value_anywhere(tmp_path, place, value, kind):
    config = json.loads(json.dumps(CONFIG))
    *above, name = place
    inner = config
    for key in above:
        inner = inner[key]
    if kind == "cut":
        del inner[name]
    else:
        inner["more" if kind == "add" else name] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    said = refusal(lambda: runs.read_config(tmp_path), path)
    if said:
        names = {place[-1] for place in places(CONFIG)} | {"more"}
        assert any(name in said.removeprefix(str(path)) for name in names), said
        return
    found = runs.read_config(tmp_path)
    again = json.loads(json.dumps(runs.describe(*found)))
    assert places(again) == places(CONFIG) or place[-1] == "options"
    runs.write_json(path, again)
    assert runs.read_config(tmp_path) == found


METRICS = ",".join([*COLUMNS, "seconds"]) + "\n" + "1,10,3.5,3,0.5,3.25,3,0.25,0.001,2\n" * 3
FILES: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "config.json": (json.dumps(CONFIG).encode(), lambda path: runs.read_config(path.parent)),
    "summary.json": (json.dumps({"best": [1.5]}).encode(), runs.read_json),
    "metrics.csv": (METRICS.encode(), runs.read_metrics),
}


@pytest.mark.parametrize("name", FILES)
@EXAMPLES
@given(d=st.data())
def test_files_of_a_run(tmp_path, name, d):
    content, read = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert not refusal(lambda: read(path), path)
    path.write_bytes(d.draw(damaged(content) | st.binary(max_size=50)))
    refusal(lambda: read(path), path)


@pytest.mark.parametrize("suffix", [".pth", ".old.pth", ".safetensors"])
@EXAMPLES
@given(d=st.data())
def test_weights(tmp_path, suffix, d):
    torch = pytest.importorskip("torch")
    from jaxvae.interop import files

    path = tmp_path / f"a{suffix}"
    if not path.exists():
        files.write(path, {"a.weight": IMAGES[0] / 255, "a.bias": np.zeros(3, np.float32)})
        if suffix == ".old.pth":
            torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
        path.with_suffix(".whole").write_bytes(path.read_bytes())
    whole = path.with_suffix(".whole").read_bytes()
    path.write_bytes(d.draw(damaged(whole)))
    refusal(lambda: files.read(path), path)
