"""Every format that docs/data.md names is read, and no other; tables and arrays by name."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from jaxvae import config, data
from jaxvae.checks import UsageError
from jaxvae.data import archive, containers, table

DOCUMENT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 5, 4), np.uint8)
LABELS = np.arange(12) % 2
ROWS = np.random.default_rng(1).normal(5, 2, (12, 3))


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


FILES = {f"set/{'ab'[i % 2]}/{i:02}.png": png(image) for i, image in enumerate(IMAGES)}
SORTED = [*range(0, 12, 2), *range(1, 12, 2)]  # by class, then by number


def make_folder(path: Path) -> None:
    for name, content in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def make_zip(path: Path, files=FILES) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)


def make_tar(path: Path, files=FILES) -> None:
    kind = {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    with tarfile.open(path, kind) as file:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))


def make_csv(path: Path) -> None:
    separator = "\t" if path.suffix == ".tsv" else ","
    lines = [["a", "b", "c", "label"], *([*row, f"class {i % 2}"] for i, row in enumerate(ROWS))]
    path.write_text("\n".join(separator.join(map(str, line)) for line in lines))


def make_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {name: ROWS[:, i] for i, name in enumerate("abc")}
    labels = [f"class {i}" for i in LABELS]
    parquet.write_table(pyarrow.table(columns | {"label": labels}), path)


def make_hdf5(path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["images"], file["labels"] = IMAGES, LABELS


MAKERS = {
    ".npy": lambda path: np.save(path, IMAGES),
    ".npz": lambda path: np.savez(path, images=IMAGES, labels=LABELS),
    ".csv": make_csv,
    ".tsv": make_csv,
    ".parquet": make_parquet,
    ".mat": lambda path: scipy.io.savemat(path, {"images": IMAGES, "labels": LABELS}),
    ".h5": make_hdf5,
    ".hdf5": make_hdf5,
    ".zip": make_zip,
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), make_tar),
}
TABLES = (".csv", ".tsv", ".parquet")


def test_the_document_names_what_is_read(tmp_path):
    named = re.findall(r"^\| `(\.[a-z0-9.]+)` \|", DOCUMENT, re.M)
    assert set(named) == set(MAKERS)
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(UsageError, match="must be a folder, or a file that ends in") as refused:
        data.load(config.Data(str(tmp_path / "a.xyz")))
    allowed = str(refused.value).partition("ends in ")[2]
    assert set(allowed.split(", ")) == set(MAKERS)


@pytest.mark.parametrize("ending", MAKERS)
def test_every_format(tmp_path, ending):
    path = tmp_path / f"my data{ending}"
    MAKERS[ending](path)
    split, classes = data.whole(config.Data(str(path)))
    if ending in TABLES:
        np.testing.assert_array_equal(split.images, ROWS.astype(np.float32))
        assert classes == ("class 0", "class 1")
        np.testing.assert_array_equal(split.labels, LABELS)
        return
    in_order = ending in (".npy", ".npz", ".mat", ".h5", ".hdf5")
    order = [*range(12)] if in_order else SORTED
    np.testing.assert_array_equal(split.images[..., 0], IMAGES[order])
    if ending != ".npy":
        np.testing.assert_array_equal(split.labels, LABELS[order])
    upper = path.with_name(path.name.upper())
    path.rename(upper)
    again, _ = data.whole(config.Data(str(upper)))
    np.testing.assert_array_equal(again.images, split.images)


@pytest.mark.parametrize("ending", MAKERS)
@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\0" * 99]
)
def test_damaged_files_are_named(tmp_path, ending, damage):
    path = tmp_path / f"a{ending}"
    MAKERS[ending](path)
    path.write_bytes(damage(path.read_bytes()))
    try:
        split, _ = data.whole(config.Data(str(path)))
    except UsageError as error:
        assert str(path) in str(error) and "\n" not in str(error)
    else:  # half of a table is a table
        assert ending in (".csv", ".tsv") and len(split.images) < 12


def test_a_reader_that_crashes_is_one_line(tmp_path, monkeypatch):
    """SciPy's does on some damaged .mat files."""
    MAKERS[".mat"](tmp_path / "a.mat")
    monkeypatch.setattr(containers, "CHILD", "import os; os.abort()")
    with pytest.raises(UsageError, match=r"a\.mat: not a readable MATLAB file \(its reader cr"):
        containers.find_mat(tmp_path / "a.mat")


def test_members_that_would_land_elsewhere(tmp_path):
    for name in ("../out.png", "/abs.png", "a/../../out.png", "..\\out.png", "C:/out.png"):
        for make, ending in ((make_zip, ".zip"), (make_tar, ".tar")):
            path = tmp_path / f"a{ending}"
            make(path, {"good.png": png(IMAGES[0]), name: png(IMAGES[1])})
            before = sorted(tmp_path.rglob("*.png"))
            with pytest.raises(UsageError, match="would land outside of its folder"):
                data.whole(config.Data(str(path)))
            assert sorted(tmp_path.rglob("*.png")) == before
            path.unlink()


def test_links_in_archives_are_not_followed(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for name, target in (("a.png", "/etc/passwd"), ("b", "/")):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            file.addfile(entry)
    with pytest.raises(UsageError, match="no images"):
        data.whole(config.Data(str(path)))


def test_an_archive_larger_than_the_disk(tmp_path, monkeypatch):
    make_zip(tmp_path / "a.zip")
    usage = archive.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UsageError, match=r"its images take .* has 10 left"):
        data.whole(config.Data(str(tmp_path / "a.zip")))
    monkeypatch.undo()


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path, cache_folder):
    path = tmp_path / "a.zip"
    make_zip(path)
    first = archive.unpacked(path)
    assert cache_folder in first.parents
    stamp = next(first.rglob("*.png")).stat().st_mtime_ns
    assert archive.unpacked(path) == first
    assert next(first.rglob("*.png")).stat().st_mtime_ns == stamp
    make_zip(path, dict([*FILES.items()][:3]))
    assert archive.unpacked(path) != first
    assert len([*archive.unpacked(path).rglob("*.png")]) == 3


def hub_table(numbers):
    """A column of encoded images, and names of classes in the metadata, as Hugging Face does it."""
    pyarrow = pytest.importorskip("pyarrow")
    images = [{"bytes": png(IMAGES[i]), "path": f"{i}.png"} for i in numbers]
    content = pyarrow.table(
        {"image": images, "label": LABELS[numbers], "note": ["x"] * len(numbers)}
    )
    features = '{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    return content.replace_schema_metadata({"huggingface": features})


def write_parquet(path: Path, numbers) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip("pyarrow.parquet").write_table(hub_table(numbers), path)


def write_arrow(folder: Path, *shards) -> None:
    """What `save_to_disk` writes of a split."""
    pyarrow = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    for i, numbers in enumerate(shards):
        content, file = hub_table(numbers), folder / f"data-{i:05}-of-{len(shards):05}.arrow"
        with pyarrow.ipc.new_stream(str(file), content.schema) as stream:
            stream.write_table(content)


def test_images_of_hugging_face(tmp_path):
    write_parquet(tmp_path / "a.parquet", [*range(12)])
    dataset = data.load(config.Data(str(tmp_path / "a.parquet"), batch_size=1))
    assert dataset.classes == ("cat", "dog")
    assert "12 images" in dataset.said[0] and "not read: note" in dataset.said[0]
    assert "2 classes (cat 6, dog 6)" in dataset.said[0]
    split, _ = data.whole(config.Data(str(tmp_path / "a.parquet")))
    np.testing.assert_array_equal(split.images[..., 0], IMAGES)


def write_dict(folder: Path) -> None:
    write_arrow(folder / "train", [0, 1, 2], [3, 4])
    write_arrow(folder / "test", [5, 6, 7])
    write_arrow(folder / "unsupervised", [8])
    splits = '{"splits": ["train", "test", "unsupervised"]}'
    (folder / "dataset_dict.json").write_text(splits)


def write_hub(folder: Path) -> None:
    write_parquet(folder / "train-00001-of-00002.parquet", [3, 4])
    write_parquet(folder / "train-00000-of-00002.parquet", [0, 1, 2])
    write_parquet(folder / "test-00000-of-00001.parquet", [5, 6, 7])
    write_parquet(folder / "unsupervised-00000-of-00001.parquet", [8])
    (folder / "README.md").write_text("A card.")
    (folder / ".gitattributes").write_text("")


def write_hub_in_data(folder: Path) -> None:
    write_hub(folder)
    (folder / "data").mkdir()
    for file in folder.glob("*.parquet"):
        file.rename(folder / "data" / file.name)


@pytest.mark.parametrize("write", [write_dict, write_hub, write_hub_in_data])
def test_folders_of_hugging_face(tmp_path, write):
    """Every part of a split, in the order of their numbers."""
    folder = tmp_path / "my set"
    folder.mkdir()
    write(folder)
    dataset = data.load(config.Data(str(folder), batch_size=1))
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES[:5])
    np.testing.assert_array_equal(dataset.test.images[..., 0], IMAGES[5:8])
    np.testing.assert_array_equal(dataset.train.labels, LABELS[:5])
    assert dataset.classes == ("cat", "dog")
    said = dataset.said[0]
    assert "5 to train on, 3 for test" in said and "its split unsupervised not read" in said


def test_a_single_split_of_hugging_face(tmp_path):
    write_arrow(tmp_path / "s", [4, 3, 2], [1, 0])
    split, _ = data.whole(config.Data(str(tmp_path / "s")))
    np.testing.assert_array_equal(split.images[..., 0], IMAGES[[4, 3, 2, 1, 0]])


def test_folders_of_hugging_face_that_are_not_read(tmp_path):
    folder = tmp_path / "s"
    write_arrow(folder / "anything", [0, 1])
    (folder / "dataset_dict.json").write_text("{}")
    with pytest.raises(UsageError, match="no split `train`; its splits are anything"):
        data.load(config.Data(str(folder)))
    (folder / "anything").rename(folder / "train")
    (file,) = (folder / "train").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UsageError, match=r"data-00000-of-00001\.arrow: not a readable Arrow file"):
        data.load(config.Data(str(folder)))


def test_a_table_beside_images_is_not_their_set(tmp_path):
    make_folder(tmp_path)
    write_parquet(tmp_path / "set" / "train.parquet", [0])
    split, _ = data.whole(config.Data(str(tmp_path / "set")))
    np.testing.assert_array_equal(split.images[..., 0], IMAGES[SORTED])
    (tmp_path / "set").rename(tmp_path / "data")  # whose name the hub's folders have, too
    write_parquet(tmp_path / "labels.parquet", [0])
    split, _ = data.whole(config.Data(str(tmp_path)))
    np.testing.assert_array_equal(split.images[..., 0], IMAGES[SORTED])


# Tables.


def read_csv(tmp_path, text: str):
    (tmp_path / "t.csv").write_bytes(text.encode())
    return table.find_csv(tmp_path / "t.csv")


def test_a_header_gaps_and_labels(tmp_path):
    found = read_csv(
        tmp_path, '\ufeffx;"y z";name;Class\r\n1;2,5;ann;b\r\n;?;bob;a\r\n-3e2;NA;;b\r\n'
    )
    source = found.read()
    assert found.notes[0] == "labels are column 'Class'"
    assert source.columns == ("x",) and "not read, since it holds text: y z, name" in found.notes
    np.testing.assert_array_equal(source.train.images, np.float32([[1], [np.nan], [-300]]))
    assert source.classes == ("a", "b") and source.train.labels.tolist() == [1, 0, 1]
    assert any("33.3 % of the values are not a number: not observed" in n for n in found.notes)


def test_without_a_header(tmp_path):
    found = read_csv(tmp_path, "1,2\n3,4\n")
    assert found.read().columns == ("x0", "x1")
    assert "no header: columns are x0, x1, ..." in found.notes
    assert "the same in every row: b" in read_csv(tmp_path, "a,b\n1,2\n3,2\n").notes


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b\n1,2\n3\n", "row 3 has 1 values: must have 2"),
        ("a,a\n1,2\n", "two columns are named 'a'"),
        ("a,b\n", "no rows below its header"),
        ("", "no rows"),
        ("a,b\nx,y\n", "no column of numbers; its columns are a, b"),
        ("a,b\n1,inf\n", "infinite"),
        ("a,b\n,?\nNA,\n", "has no value: all 4 are missing"),
    ],
)
def test_tables_that_are_none(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_csv(tmp_path, text)


def test_tables_are_standardised_on_the_training_rows_and_come_back(tmp_path):
    rows = np.random.default_rng(0).normal(5, 2, (400, 5)) * [1, 10, 100, 1e-3, 1]
    rows[:, 4] = 7  # does not vary
    rows[3, 0] = np.nan
    np.save(tmp_path / "t.npy", rows)
    asked = config.Data(str(tmp_path / "t.npy"), batch_size=8)
    dataset = data.load(asked)
    info = data.info(dataset, asked)
    train = dataset.train.images.astype(np.float64)
    np.testing.assert_allclose(info.center, np.nanmean(train, axis=0), rtol=1e-12)
    np.testing.assert_allclose(info.scale[:4], np.nanstd(train, axis=0)[:4], rtol=1e-12)
    assert info.scale[4] == 1 and info.missing and info.maximum is None
    plain = config.Data(str(tmp_path / "t.npy"), batch_size=8, standardise=False)
    assert data.info(dataset, plain).center == ()


def test_signals_are_standardised_per_channel(tmp_path):
    signals = np.random.default_rng(0).normal([0, 50], [1, 9], (40, 16, 2))
    np.savez(tmp_path / "s.npz", values=signals)
    asked = config.Data(str(tmp_path / "s.npz"), batch_size=8)
    info = data.info(data.load(asked), asked)
    assert info.shape == (16, 2) and len(info.center) == 2
    # 512 values each: means within 5 / sqrt(512) of a standard deviation.
    np.testing.assert_allclose(info.center, [0, 50], atol=5 * 9 / 512**0.5)


def test_no_value_of_a_feature(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 3))
    rows[:, 1] = np.nan
    np.save(tmp_path / "t.npy", rows)
    asked = config.Data(str(tmp_path / "t.npy"), batch_size=8)
    with pytest.raises(UsageError, match="no training example has a value of feature 1"):
        data.info(data.load(asked), asked)
