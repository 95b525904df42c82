"""Bad data through the command line: one message that names what is wrong, and nothing written."""

import io
import logging
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, cli, data
from jaxvae.data import digits

DIGITS = Path(__file__).parents[1] / "experiments" / "digits_vae.py"
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 28, 28), np.uint8)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Each test has its own working directory and cache, so that it sees all that is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def files(folder: Path) -> dict[str, bytes | None]:
    """All that lies below a folder: contents of files, None for the rest."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(capsys, *args: object, status: int = 2) -> str:
    """The one line that a command says when it fails, having written nothing."""
    before = files(Path.cwd())
    with pytest.raises(SystemExit) as error:
        cli.main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert (error.value.code, out) == (status, ""), err
    assert err.startswith("jaxvae: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert "JAXVAE_TRACEBACK" not in err  # it was foreseen
    assert files(Path.cwd()) == before
    return err


def train(capsys, source: object, *options: object, status: int = 2) -> str:
    given = ["--data.source", source, "--data.batch-size", 4, "--train.epochs", 1]
    return refused(capsys, "train", DIGITS, "--out", "run", *given, *options, status=status)


def npz(**arrays) -> str:
    np.savez("set.npz", **arrays)
    return "./set.npz"


def with_value(value: float, dtype: str = "float32") -> np.ndarray:
    """Images of which the eighth has a pixel of this value."""
    images = (IMAGES / 255 if dtype.startswith("float") else IMAGES).astype(dtype)
    images[7, 3, 5] = value
    return images


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def photos(**changed: bytes) -> str:
    """A folder of 6 images, some of them with another content."""
    folder = Path("photos")
    folder.mkdir()
    for i in range(6):
        (folder / f"{i}.png").write_bytes(changed.get(f"n{i}", png(IMAGES[i])))
    return "./photos"


@pytest.mark.parametrize(
    "images, words",
    [
        (with_value(np.nan), "float32 values from nan to nan"),
        (with_value(np.inf), "to inf: must be within [0, 1]"),
        (with_value(1.5), "to 1.5: must be within [0, 1]"),
        (with_value(-0.25), "from -0.25 to"),
        (with_value(256, "int64"), "to 256: must be within [0, 255]"),
        (with_value(-1, "int16"), "from -1 to"),
    ],
    ids=["NaN", "infinite", "above", "below", "integer above", "integer below"],
)
def test_values_that_no_likelihood_takes(capsys, images, words):
    for source in (npz(images=images), npz(x_train=IMAGES, x_test=images)):
        err = train(capsys, source)
        assert words in err and "the first image with others is number 7," in err, err
        assert "set.npz: x_test has" in err or "set.npz: images has" in err


def test_a_range_that_the_likelihood_does_not_take(capsys):
    err = train(capsys, npz(images=IMAGES), "--data.range", -1, 1)
    assert "data.range = (-1.0, 1.0): must be within [0, 1] for objective.likelihood" in err


def test_an_image_of_another_size_in_the_middle(capsys):
    err = train(capsys, photos(n3=png(IMAGES[3][:20])))
    assert "3.png: 20x28" in err and "0.png is 28x28" in err and "--data.resize" in err
    ragged = np.empty(3, object)
    ragged[:] = [IMAGES[0], IMAGES[1][:20], IMAGES[2]]
    assert "set.npz: not a readable NumPy file (Object arrays" in train(capsys, npz(images=ragged))


def chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def bomb(side: int) -> bytes:
    """A PNG that announces side x side pixels and has none."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def flipped(content: bytes) -> bytes:
    at = len(content) // 2  # within the compressed pixels
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "3.png: not a readable image"),
        (b"text", "3.png: not a readable image"),
        (png(IMAGES[3])[:300], "3.png: not a readable image"),
        (flipped(png(IMAGES[3])), "3.png: not a readable image"),
        (bomb(30_000), "3.png: not a readable image (Image size (900000000 pixels) exceeds"),
        (bomb(10_000), "3.png: not a readable image (Image size (100000000 pixels) exceeds"),
        (png(np.full((28, 28), 40_000, np.uint16)), "3.png: 16 bits per channel, but"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\n", "3.png: not a"),
    ],
    ids=["empty", "text", "cut", "flipped", "bomb", "small bomb", "16 bit", "PostScript"],
)
def test_a_bad_image_among_good_ones(capsys, monkeypatch, content, words):
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("a program was run"))
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program was run"))
    assert words in train(capsys, photos(n3=content))


def test_a_suspiciously_large_image_outside_of_tests():
    """Where Python's warnings, one of which Pillow gives here, are not errors by themselves."""
    command = [sys.executable, "-m", "jaxvae", "train", str(DIGITS), "--out", "run"]
    command += ["--data.source", photos(n3=bomb(10_000)), "--data.batch-size", "4"]
    done = subprocess.run(command, capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "3.png: not a readable image (Image size (1000000" in last
    assert "Warning" not in done.stderr and not Path("run").exists()


def test_what_only_looks_like_an_image(capsys):
    folder = Path(photos())
    for name, make in {"link.png": lambda p: p.symlink_to("gone"), "pipe.png": os.mkfifo}.items():
        make(folder / name)
        assert f"{name}: not a file" in train(capsys, "./photos")
        (folder / name).unlink()
    (folder / "folder.png").mkdir()
    (folder / "again").symlink_to(".", target_is_directory=True)
    assert len(data.load(Data(source="./photos", batch_size=1)).train.images) == 5


def test_a_folder_that_cannot_be_listed(capsys, monkeypatch):
    """Its images must not just be missing."""
    folder = Path(photos())
    (folder / "class").mkdir()
    scandir = os.scandir

    def refuse(path="."):
        if Path(path).name == "class":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert "Permission denied: '" in train(capsys, "./photos", status=1)


NAMES = ["line\nbreak", "[bold]", "x" * 240, "\udcff", "naïve 猫", "-", "\x1b[2J"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_strange_names(capfd, monkeypatch, name):
    # What pytest captures of the log cannot be sent between its processes as it is.
    monkeypatch.setattr(logging.getLogger("jaxvae"), "disabled", True)
    folder = Path(f"./{name}")
    folder.mkdir()
    for i in range(6):
        (folder / f"{i} {name}.png").write_bytes(png(IMAGES[i]))
    dataset = data.load(Data(source=f"./{name}", batch_size=1))
    assert (dataset.name, len(dataset.train.images)) == (name, 5)
    assert len(list(Path("cache").glob("*.npz"))) == 1  # however long the name
    (folder / f"3 {name}.png").write_bytes(b"")
    err = train(capfd, f"./{name}")
    assert "not a readable image" in err and "/3 " in err and "\x1b" not in err


def test_sets_that_are_empty_or_nearly(capsys):
    Path("none").mkdir()
    assert "none: no images (" in train(capsys, "./none")
    assert "shape (0, 28, 28, 1): must be" in train(capsys, npz(images=IMAGES[:0]))
    assert "needs an array named `images`" in train(capsys, npz(labels=np.arange(3)))
    one = train(capsys, npz(images=IMAGES[:1]))
    assert "data.validation_fraction = 0.2: leaves a split of 'set.npz' empty (1 images" in one
    err = train(capsys, npz(images=IMAGES), "--data.batch-size", 17)
    assert "data.batch_size = 17: must be at most the number of training images, 16" in err


@pytest.mark.parametrize(
    "labels, words",
    [
        (np.arange(20) + 2**31, "values from 2147483648 to 2147483667"),
        (np.arange(20) - 2**40, "values from -1099511627776 to"),
        (np.full(20, 2**64 - 1, np.uint64), "values from 18446744073709551615"),
        (np.arange(20) / 2, "dtype float64: must be integers"),
        (np.arange(20).astype("m8[s]"), "dtype timedelta64[s]: must be integers"),
        (np.arange(19), "shape (19,): must be (20,)"),
    ],
    ids=["above", "below", "unsigned", "fractions", "times", "too few"],
)
def test_labels_that_are_no_class_numbers(capsys, labels, words):
    err = train(capsys, npz(images=IMAGES, labels=labels))
    assert f"set.npz: labels has {words}" in err


def test_labels_beyond_the_class_names(capsys, monkeypatch):
    source = digits.load()
    labels = source.train.labels.copy()
    labels[42] = 10
    bad = source._replace(train=source.train._replace(labels=labels))
    monkeypatch.setattr(digits, "load", lambda: bad)
    err = train(capsys, "digits")
    assert "data.source = 'digits': label 10 of image 42" in err and "10 classes" in err


def test_sources_that_are_no_files(capsys):
    os.mkfifo("pipe.npy")
    assert "pipe.npy: not a file" in train(capsys, "./pipe.npy")
    assert "no such file or folder" in train(capsys, "./none", status=1)
    assert "data.source" in train(capsys, "~nobody-of-this-name/images.npy")
    for name in ("huggingface:evil", "kaggle:evil", "mnist/data_dir=x", "a b", "\x1b[2J"):
        err = train(capsys, name)
        assert f"data.source = {name!r}: " in err and "\x1b" not in err


@pytest.mark.parametrize(
    "options, words",
    [
        (["--model.hidden-dims", 10**6, 10**6], "the model with its optimizer needs "),
        (
            ["--model.family", "CAE", "--data.pad", 20_000],
            "a program over data.batch_size images needs ",
        ),
        (["--model.latent-dim", 10**18], "model.latent_dim = 1000000000000000000: must be at most"),
    ],
)
def test_more_than_the_memory_holds(capsys, options, words):
    """XLA would wait for ever for memory that is not there."""
    assert words in train(capsys, npz(images=IMAGES), *options)


@pytest.mark.parametrize(
    "part, words",
    [
        ("data=Data('digits', batch_size=1.5)", "data.batch_size = 1.5: must be of the type int"),
        ("model=Model(dropout=False)", "model.dropout = False: must be of the type float"),
        ("model=Model(activation='swish')", "model.activation = 'swish': must be of the type Lit"),
        ("seed='1'", "TypeError"),
    ],
)
def test_fields_of_the_wrong_kind_in_an_experiment_file(capsys, part, words):
    Path("mine.py").write_text(
        f"from jaxvae import *\nexperiment = Experiment(name='mine', {part})\n"
    )
    err = refused(capsys, "train", "mine.py", "--out", "run")
    assert "experiment file 'mine.py'" in err and words in err


def test_nothing_is_left_without_out(capsys):
    """Not even the folder `runs`."""
    refused(capsys, "train", DIGITS, "--data.source", npz(images=IMAGES[:1]))
