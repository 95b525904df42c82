"""What people bring is read as they mean it, and what is guessed or left out is said."""

import logging
import os
import time

import numpy as np
import pytest
from PIL import Image

from jaxvae import config, data
from jaxvae.checks import UsageError
from jaxvae.data import checked, folder


def blobs(n: int, height: int = 28, width: int = 28, seed: int = 0) -> np.ndarray:
    """n grey images of one Gaussian blob each at a random place, floats in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(0.2, 0.8, (2, n, 1, 1)) * np.array([height, width])[:, None, None, None]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (height / 8) ** 2))


def u8(n: int, *size: int) -> np.ndarray:
    return (255 * blobs(n, *size)).astype(np.uint8)


def save(root, images, suffix=".png", mode=None):
    """One file per image, and its number as the name."""
    root.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image, mode).save(root / f"{i:03}{suffix}")


def read(source, **settings):
    return data.load(config.Data(str(source), batch_size=1, **settings))


# Splits.


@pytest.mark.parametrize("validation", ["val", "valid", "Validation", "dev"])
def test_validation_folders(tmp_path, validation):
    images = u8(120)
    for i, name in enumerate("ab"):
        save(tmp_path / "tv" / "train" / name, images[40 * i : 40 * (i + 1)])
        save(tmp_path / "tv" / validation / name, images[80 + 20 * i : 100 + 20 * i])
    dataset = read(tmp_path / "tv")
    np.testing.assert_array_equal(dataset.train.images[..., 0], images[:80])
    np.testing.assert_array_equal(dataset.validation.images[..., 0], images[80:])
    assert dataset.test is dataset.validation
    assert dataset.train.labels.tolist() == [0] * 40 + [1] * 40
    said = dataset.said[0]
    assert said.startswith("tv/: 120 images of 28x28x1 (height x width x channels; PNG of 8 bits")
    assert "2 classes (a 60, b 60)" in said
    assert f"80 of train/ to train on, 40 of {validation}/ for validation" in said
    assert "which are for test too" in said


def test_three_splits_and_what_lies_beside_them(tmp_path):
    images = u8(12)
    for part, own in (("train", images[:6]), ("val", images[6:9]), ("test", images[9:])):
        save(tmp_path / "set" / part, own)
    save(tmp_path / "set" / "extra", images[:2])
    (tmp_path / "set" / "train" / "notes.txt").write_text("no image")
    (tmp_path / "set" / ".DS_Store").write_text("")
    dataset = read(tmp_path / "set")
    for part, own in (("train", images[:6]), ("validation", images[6:9]), ("test", images[9:])):
        np.testing.assert_array_equal(getattr(dataset, part).images[..., 0], own)
    said = dataset.said[0]
    assert ".txt (1)" in said and "hidden files (1)" in said
    assert "not read: 2 images outside of the splits (extra/)" in said
    with pytest.raises(UsageError, match=r"validation_fraction = 0\.5: must be None: 'set' has 3"):
        read(tmp_path / "set", validation_fraction=0.5)


def test_splits_below_classes(tmp_path):
    images = u8(8)
    for i, name in enumerate("ab"):
        save(tmp_path / "set" / name / "train", images[4 * i : 4 * i + 3])
        save(tmp_path / "set" / name / "val", images[4 * i + 3 : 4 * i + 4])
    dataset = read(tmp_path / "set")
    assert dataset.classes == ("a", "b")
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(dataset.validation.images[..., 0], images[[3, 7]])
    assert dataset.train.names[0] == "a/train/000.png"


def test_two_folders_for_one_split_are_refused(tmp_path):
    for part in ("train", "val", "valid"):
        save(tmp_path / "set" / part, u8(2))
    with pytest.raises(UsageError, match="val/ and valid/ are both taken for validation"):
        read(tmp_path / "set")


def test_a_test_folder_without_train_is_a_class_and_that_is_said(tmp_path):
    for part in ("cats", "test"):
        save(tmp_path / "set" / part, u8(5))
    dataset = read(tmp_path / "set")
    assert dataset.classes == ("cats", "test")
    assert "'test' is taken as a class, since there is no folder train" in dataset.said[0]


@pytest.mark.parametrize("names", [("x_val", "y_val"), ("validation_images", "validation_labels")])
def test_validation_arrays(tmp_path, names):
    images, labels = u8(9), np.arange(9)
    of_validation = dict(zip(names, (images[6:], labels[6:]), strict=True))
    np.savez(tmp_path / "a.npz", x_train=images[:6], y_train=labels[:6], other=1, **of_validation)
    dataset = read(tmp_path / "a.npz")
    assert len(dataset.train.images) == 6
    np.testing.assert_array_equal(dataset.validation.images[..., 0], images[6:])
    assert dataset.validation.labels.tolist() == [6, 7, 8]
    assert "not read: other" in dataset.said[0]


# Transparency.


@pytest.mark.parametrize("background", ["white", "black"])
def test_transparent_images_are_drawn_on_a_background(tmp_path, background):
    alpha = u8(60)
    rgba = np.zeros((*alpha.shape, 4), np.uint8)
    rgba[..., 3] = alpha
    save(tmp_path / "set", rgba)
    dataset = read(tmp_path / "set", background=background, validation_fraction=0.5)
    everything = folder.find(tmp_path / "set", config.Data(background=background)).read()
    expected = 255 - alpha.astype(int) if background == "white" else np.zeros_like(alpha, int)
    assert np.abs(everything.train.images - expected[..., None]).max() <= 1
    assert f"60 of 60 have transparency: drawn on {background}" in dataset.said[0]


def test_other_ways_to_be_transparent(tmp_path):
    """Grey with alpha, a palette with a transparent colour, a grey level that stands for none."""
    (tmp_path / "set").mkdir()
    Image.new("LA", (2, 1), (9, 0)).save(tmp_path / "set" / "la.png")
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "set" / "p.png", transparency=1)
    palette.save(tmp_path / "set" / "p.gif", transparency=1)
    Image.new("L", (2, 1), 7).save(tmp_path / "set" / "trns.png", transparency=7)
    images = folder.find(tmp_path / "set", config.Data()).read().train.images
    assert (images == 255).all()
    half = Image.new("LA", (2, 1), (100, 128))
    half.save(tmp_path / "set" / "half.webp", lossless=True)
    images = folder.find(tmp_path / "set", config.Data()).read().train.images
    # 100 x 128/255 + 255 x 127/255 = 177.2
    assert np.abs(images[0].astype(int) - 177).max() <= 1


# Pages, and other depths.


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".webp", ".png"])
def test_files_of_several_pages_are_refused(tmp_path, suffix):
    save(tmp_path / "set", u8(3), suffix)
    first, *rest = [Image.fromarray(image) for image in u8(25)]
    first.save(tmp_path / "set" / f"stack{suffix}", save_all=True, append_images=rest)
    with pytest.raises(UsageError, match=rf"stack\{suffix}: 25 pages .*np\.save"):
        folder.find(tmp_path / "set", config.Data())


def test_sixteen_bits_are_kept(tmp_path):
    deep = (5000 * blobs(60)).astype(np.uint16)
    save(tmp_path / "set", deep)
    dataset = read(tmp_path / "set")
    everything = folder.find(tmp_path / "set", config.Data()).read().train.images
    assert everything.dtype == np.uint16
    np.testing.assert_array_equal(everything[..., 0], deep)
    assert data.info(dataset, config.Data()).maximum == deep.max()
    assert "PNG of 16 bits per channel" in dataset.said[0]
    assert any(f"brightest pixel, {deep.max()}, is seen as 1" in line for line in dataset.said)
    np.save(tmp_path / "a.npy", deep)
    assert read(tmp_path / "a.npy").train.images.dtype == np.uint16
    mixed = tmp_path / "set" / "8.png"
    Image.fromarray(u8(1)[0]).save(mixed)
    with pytest.raises(UsageError, match=r"8\.png: 8 bits per channel, but .*000\.png has 16"):
        folder.find(tmp_path / "set", config.Data()).read()


@pytest.mark.parametrize("suffix", [".tif", ".pgm"])
def test_other_files_of_sixteen_bits(tmp_path, suffix):
    deep = (40_000 * blobs(3)).astype(np.uint16)
    save(tmp_path / "set", deep, suffix)
    images = folder.find(tmp_path / "set", config.Data()).read().train.images
    np.testing.assert_array_equal(images[..., 0], deep)
    smaller = folder.find(
        tmp_path / "set", config.Data(resize=(14, 14), resize_rule="pillow")
    ).read()
    means = deep.reshape(3, 14, 2, 14, 2).mean(axis=(2, 4))
    # Pillow's triangle filter of twice the size is no mean over 2x2, but near it for smooth images.
    assert np.abs(smaller.train.images[..., 0] - means).max() < 0.05 * deep.max()


def test_colours_of_sixteen_bits_are_refused(tmp_path):
    """Pillow would read 8 of them without a word."""
    (tmp_path / "set").mkdir()
    ppm = b"P6 2 1 65535 " + bytes(range(12))
    (tmp_path / "set" / "a.ppm").write_bytes(ppm)
    with pytest.raises(UsageError, match=r"a\.ppm: 16 bits per channel in RGB"):
        folder.find(tmp_path / "set", config.Data())
    (tmp_path / "set" / "a.ppm").unlink()
    (tmp_path / "set" / "a.png").write_bytes(png_of_sixteen_bits())
    with pytest.raises(UsageError, match=r"a\.png: 16 bits per channel in RGB"):
        folder.find(tmp_path / "set", config.Data())
    (tmp_path / "set" / "a.png").unlink()
    Image.fromarray(blobs(1)[0].astype(np.float32)).save(tmp_path / "set" / "a.tif")
    with pytest.raises(UsageError, match=r"a\.tif: floating-point pixels"):
        folder.find(tmp_path / "set", config.Data())


def png_of_sixteen_bits() -> bytes:
    """One RGB pixel, written by hand: Pillow cannot."""
    import struct
    import zlib

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes(6))
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# The order of axes, and what the pixels look like.


@pytest.mark.parametrize(
    "images, axis",
    [
        (np.moveaxis(blobs(120), 0, -1), 2),
        (np.moveaxis(blobs(120), 0, 1), 1),
        (np.moveaxis(u8(90, 20, 28), 0, -1), 2),
        (np.moveaxis(np.repeat(u8(120)[..., None], 3, -1), 0, 2), 2),
    ],
)
def test_another_order_of_axes_is_suspected(tmp_path, images, axis, caplog):
    np.save(tmp_path / "a.npy", images)
    dataset = read(tmp_path / "a.npy")
    n, height, width = images.shape[:3]
    (warning,) = dataset.said[1:]
    assert warning.startswith(f"read as {n} images of {height}x{width}, but")
    assert f"give np.moveaxis(images, {axis}, 0)" in warning
    assert warning in caplog.text
    mended = np.moveaxis(images, axis, 0)
    np.save(tmp_path / "b.npy", mended)
    assert len(read(tmp_path / "b.npy").said) == 1


def test_usual_images_raise_no_suspicion(tmp_path):
    film = np.cumsum(np.random.default_rng(0).normal(0, 0.01, (300, 16, 16)), axis=0)
    usual = (
        data.load(config.Data("digits")).train.images,
        u8(120, 14, 56),
        np.random.default_rng(0).integers(0, 256, (60, 8, 9), np.uint8),
        (128 + 20 * film).astype(np.uint8),
    )
    for images in usual:
        np.save(tmp_path / "a.npy", images)
        assert read(tmp_path / "a.npy").said[1:] == ()


def test_what_is_odd_is_said_once_of_a_run(tmp_path, caplog):
    """When it trains, and not again by each command on the run."""
    np.save(tmp_path / "a.npy", np.tile(u8(4), (5, 1, 1)))
    settings = config.Data(str(tmp_path / "a.npy"), batch_size=4)
    for known, count in ((False, 1), (True, 0)):
        caplog.clear()
        dataset = data.load(settings, known)
        assert caplog.text.count("are copies") == count
        assert len(dataset.said) == 1 + count


def test_what_every_pixel_says(tmp_path):
    np.save(tmp_path / "a.npy", np.full((20, 4, 4), 7, np.uint8))
    assert read(tmp_path / "a.npy").said[1] == ("all examples are equal: every value is 7")
    np.save(tmp_path / "a.npy", np.tile(u8(4), (5, 1, 1)))
    (copies,) = read(tmp_path / "a.npy").said[1:]
    assert copies == "16 of 20 examples that were looked at are copies"
    faint = u8(20) // 100 + 90
    np.save(tmp_path / "a.npy", faint)
    (hardly,) = read(tmp_path / "a.npy").said[1:]
    assert hardly.startswith("examples hardly differ: no pixel by more than 2")
    np.savez(tmp_path / "a.npz", images=u8(10), labels=np.array([0] * 9 + [1]))
    assert read(tmp_path / "a.npz").said[1:] == ("only one example is of class 1",)


# Hints, and labels that are plainly classes.


@pytest.mark.parametrize(
    "images, mended",
    [
        (u8(5).reshape(5, 784), "images.reshape(-1, 28, 28)"),
        (np.zeros((5, 3072), np.uint8), "images.reshape(-1, 32, 32, 3)"),
        (np.zeros((5, 3, 8, 9), np.uint8), "np.moveaxis(images, 1, -1)"),
        (np.zeros((8, 9, 3, 50), np.uint8), "np.moveaxis(images, -1, 0)"),
        (2 * blobs(5) - 1, "(images + 1) / 2"),
        (255 * blobs(5), "images.round().astype(np.uint8)"),
        ((1000 * blobs(5)).astype(np.int32), "images.astype(np.uint16)"),
    ],
)
def test_refusals_name_the_call_that_mends_it(images, mended):
    with pytest.raises(UsageError) as refused:
        checked.to_images(images, "a")
    assert mended in str(refused.value)
    checked.to_images(eval(mended, {"images": images, "np": np}), "a")  # and it does


def test_flattened_images_in_a_file_are_no_table(tmp_path):
    np.save(tmp_path / "a.npy", u8(5).reshape(5, 784))
    with pytest.raises(UsageError, match=r"images\.reshape\(-1, 28, 28\)"):
        read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", blobs(5).reshape(5, 784))
    assert (
        "flattened images are given as images.reshape(-1, 28, 28)"
        in read(tmp_path / "a.npy").said[0]
    )


@pytest.mark.parametrize(
    "labels, expected, classes",
    [
        (np.array(["dog", "cat", "dog", "ant"]), [2, 1, 2, 0], ("ant", "cat", "dog")),
        (np.array([b"b", b"a", b"b", b"a"]), [1, 0, 1, 0], ("a", "b")),
        (np.eye(3)[[2, 0, 1, 1]], [2, 0, 1, 1], None),
        (np.eye(3, dtype=bool)[[2, 0, 1, 1]], [2, 0, 1, 1], None),
        (np.array([2.0, 0.0, 1.0, -1.0]), [2, 0, 1, -1], None),
        (np.array([True, False, True, True]), [1, 0, 1, 1], None),
        (np.array([[3], [1], [2], [0]]), [3, 1, 2, 0], None),
    ],
)
def test_labels_that_are_plainly_classes(tmp_path, labels, expected, classes):
    np.savez(tmp_path / "a.npz", images=u8(4), labels=labels)
    split, names = data.whole(config.Data(str(tmp_path / "a.npz")))
    assert split.labels.tolist() == expected
    assert split.labels.dtype == np.int32
    assert names == classes


@pytest.mark.parametrize(
    "labels", [np.array([0.5, 1, 2, 3]), np.ones((4, 3)), np.eye(4)[:3], np.full(4, 2**40)]
)
def test_labels_that_are_none_are_refused(labels):
    with pytest.raises(UsageError, match=r"^a has "):
        checked.to_labels(labels, 4, "a", None)


# Odd files and folders.


def test_odd_files(tmp_path):
    """Rotated and CMYK images, others than the ending says, and names with anything in them."""
    root = tmp_path / "se t\n✨"
    root.mkdir()
    tall = np.zeros((6, 4, 3), np.uint8)
    tall[0] = 255
    exif = Image.Exif()
    exif[274] = 6  # shown turned by 90 degrees to the right
    turned = Image.fromarray(np.rot90(tall))
    turned.save(root / "1 turned.jpg", exif=exif, quality=100)
    Image.fromarray(tall).save(root / "2\nname.png")
    Image.fromarray(tall).convert("CMYK").save(root / "3 ✨.tif")
    Image.fromarray(tall).save(root / "4.jp2", irreversible=False)
    Image.fromarray(tall).save(root / "5.webp", lossless=True)
    Image.fromarray(tall).save(root / "png.png")
    os.rename(root / "png.png", root / "6.jpg")
    images = folder.find(root, config.Data()).read().train.images
    assert images.shape == (6, 6, 4, 3)
    # JPEG at full quality is off by a few levels at an edge.
    assert np.abs(images.astype(int) - tall).max(axis=(1, 2, 3)).tolist()[1:] == [0] * 5
    assert np.abs(images[0].astype(int) - tall).max() < 30


def test_folders_that_contain_themselves_and_links_out(tmp_path):
    save(tmp_path / "set" / "a", u8(4))
    save(tmp_path / "elsewhere", u8(3))
    (tmp_path / "set" / "a" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "up").symlink_to(tmp_path)
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "elsewhere")
    source = folder.find(tmp_path / "set", config.Data()).read()
    assert source.classes == ("a", "b")
    assert source.train.labels.tolist() == [0] * 4 + [1] * 3


def test_the_first_line_comes_before_the_pixels(tmp_path, monkeypatch, caplog):
    """Of many files, a thousand headers are enough to say it."""
    caplog.set_level(logging.INFO, "jaxvae")
    save(tmp_path / "set", u8(2, 4, 4))
    for i in range(3000):
        os.link(tmp_path / "set" / "000.png", tmp_path / "set" / f"a{i:06}.png")
    began = time.process_time()
    found = folder.find(tmp_path / "set", config.Data())
    found.line(config.Data())
    # 200,000 files may take 10 s: these, 66 times fewer, take a second of the processor at most.
    assert time.process_time() - began < 1
    assert found.line(config.Data()).startswith("set/: 3,002 images of 4x4x1")
    assert caplog.text == ""


def test_pillow_resizes_in_whole_numbers(tmp_path):
    images = u8(4, 20, 22)
    np.save(tmp_path / "a.npy", images)
    save(tmp_path / "set", images)
    asked = {"resize": (9, 8), "resize_rule": "pillow"}
    from_array, _ = data.whole(config.Data(str(tmp_path / "a.npy"), **asked))
    from_files, _ = data.whole(config.Data(str(tmp_path / "set"), **asked))
    expected = [
        np.asarray(Image.fromarray(image).resize((8, 9), Image.Resampling.BILINEAR))
        for image in images
    ]
    np.testing.assert_array_equal(from_array.images[..., 0], expected)
    np.testing.assert_array_equal(from_files.images, from_array.images)
    lazy = folder.find(tmp_path / "set", config.Data(streaming=True, **asked)).read()
    np.testing.assert_array_equal(lazy.train.images[:], from_array.images)
    with pytest.raises(UsageError, match=r"data\.resize_rule = 'pillow': must be 'jax'"):
        config.Data(resize_rule="pillow")


@pytest.mark.parametrize(
    "images, stored",
    [
        (u8(9), f"uint8, 0 to {u8(9).max()}"),
        (u8(9).astype(bool), "bool, 0 to 1"),
        (u8(9) / 255, f"float64, {u8(9).min() / 255:.5g} to {u8(9).max() / 255:.5g}"),
    ],
)
def test_the_first_line_tells_type_and_range_as_given(tmp_path, images, stored):
    np.save(tmp_path / "a.npy", images)
    line = read(tmp_path / "a.npy").said[0]
    assert line.startswith(f"a.npy: 9 images of 28x28x1 (height x width x channels; {stored})")
