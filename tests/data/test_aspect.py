"""Images of another aspect than `resize`: cropped or padded, against Pillow's ImageOps."""

import json
import logging
from dataclasses import asdict, replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from jaxvae import Data, Experiment, data
from jaxvae.batch import Examples
from jaxvae.checks import UsageError
from jaxvae.data import aspect, decode
from jaxvae.data.preprocess import preprocess
from jaxvae.data.splits import seen_shape
from jaxvae.from_json import from_json
from jaxvae.info import Info
from tests.commands import call

# Wider and higher than the aspect asked for, larger and smaller, of that aspect, and thin.
SIZES = [(40, 30), (30, 40), (9, 7), (7, 9), (100, 20), (32, 24), (16, 12), (1, 50), (50, 1)]
ASKED = [(16, 12), (12, 16), (8, 8), (33, 5)]
CASES = [(image, size) for image in SIZES for size in ASKED]


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def of_pillow(image: Image.Image, size: tuple[int, int], how: str, background: float):
    bilinear = Image.Resampling.BILINEAR
    if how == "crop":
        return ImageOps.fit(image, size[::-1], bilinear)
    colour = background if image.mode != "RGB" else (background,) * 3
    return ImageOps.pad(image, size[::-1], bilinear, colour)


def has_room(image: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether Pillow can: it raises where an image gets thinner than half a pixel."""
    return all(round(n * min(s / m for s, m in zip(size, image, strict=True))) for n in image)


@pytest.mark.parametrize("how", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("background", [255, 0])
def test_on_the_host(how, shape, background):
    """To the bit: the same filter over the same box."""
    for seed, (image, size) in enumerate(CASES):
        if not has_room(image, size):
            continue
        given = Image.fromarray(noise(seed, *image, *shape))
        ours = decode.fitted(given, size, how, background)
        theirs = of_pillow(given, size, how, background)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{image} to {size}")


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize(
    "how, background, maximum",
    [("crop", "white", 1000), ("pad", "white", 1000), ("pad", "black", 255)],
)
def test_on_the_device(how, background, maximum):
    """Pillow's filter in floating point, from whole to whole images, of any aspect."""
    for seed, (image, size) in enumerate(CASES[::5]):  # each is compiled
        if not has_room(image, size):
            continue
        images = noise(seed, 2, *image, 3)
        if maximum > 255:
            images = images.astype(np.uint16)
        settings = Data(resize=size, aspect=how, background=background, range=(0, maximum))
        index = np.arange(2)
        examples = Examples(images, index, index)
        ours = preprocess(settings, examples, None, Info((*size, 3), maximum=maximum)).target
        assert ours.shape[1:] == seen_shape(settings, (*image, 3))
        around = maximum if background == "white" else 0
        for i, c in np.ndindex(2, 3):
            channel = Image.fromarray(images[i, ..., c].astype(np.float32))
            theirs = of_pillow(channel, size, how, around)
            # Weighted means of up to 255 by weights in float32, whose places are off by 1e-6 of
            # the 50 pixels that they span.
            np.testing.assert_allclose(ours[i, ..., c], theirs, atol=2e-2, err_msg=f"{image}")


@given(*[st.tuples(st.integers(1, 300), st.integers(1, 300))] * 2)
def test_geometry(image, size):
    """A crop lies inside, touches two sides, has the aspect and the image's middle; what is within
    touches two sides too."""
    top, left, height, width = aspect.cropped(image, size)
    near = 1e-9 * max(*image, *size)
    assert height * size[1] == pytest.approx(width * size[0])
    assert top >= 0 and left >= 0 and min(top, left) < near
    assert 2 * top + height == pytest.approx(image[0])
    assert 2 * left + width == pytest.approx(image[1])
    inner = aspect.within(image, size)
    assert all(1 <= n <= most for n, most in zip(inner, size, strict=True))
    assert any(n == most for n, most in zip(inner, size, strict=True))
    place = aspect.corner(inner, size)
    assert all(
        2 * p + n - most in (-1, 0, 1) for p, n, most in zip(place, inner, size, strict=True)
    )


@pytest.mark.parametrize("how", ["stretch", "crop", "pad"])
def test_an_image_thinner_than_a_pixel(how):
    """A line of 1000 pixels in a square: one row of it at least."""
    line = Image.fromarray(np.full((1, 1000), 200, np.uint8))
    found = np.asarray(decode.fitted(line, (8, 8), how, 0))
    assert (found == 200).sum() == (8 if how == "pad" else 64)


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_arrays_by_pillows_rule_are_those_of_files(how, tmp_path):
    """Whole numbers, also where the images of a folder differ in size."""
    images = noise(0, 6, 20, 30, 3)
    settings = Data(images, batch_size=2, resize=(8, 8), aspect=how, resize_rule="pillow")
    arrays = data.load(settings)
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    files = data.load(replace(settings, source=str(tmp_path)))
    np.testing.assert_array_equal(arrays.train.images, files.train.images)
    size = next(iter({part.images.shape[1:] for part in arrays[1:4]}))
    assert size == (8, 8, 3)
    for image, ours in zip(images, data.whole(settings)[0].images, strict=True):
        theirs = of_pillow(Image.fromarray(image), (8, 8), how, 255)
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def mixed(tmp_path):
    """Twelve photos of twelve sizes, one of them turned by EXIF data."""
    for i in range(12):
        image, exif = Image.fromarray(noise(i, 10 + i, 30 - i, 3)), Image.Exif()
        if i == 3:
            exif[0x0112] = 6  # shown turned by 90 degrees
        image.save(tmp_path / f"{i:02}.png", exif=exif)
    return tmp_path


SAID = {
    "stretch": "all are resized to 8x6, and stretched (data.aspect)",
    "crop": "resized to 8x6, of another aspect the middle (data.aspect)",
    "pad": "resized to within 8x6, of another aspect on black (data.aspect)",
}


@pytest.mark.parametrize("how", SAID)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_folder_of_mixed_sizes(how, streaming, mixed, caplog):
    settings = Data(str(mixed), batch_size=2, resize=(8, 6), aspect=how, background="black")
    with caplog.at_level(logging.INFO, "jaxvae"):
        dataset = data.load(replace(settings, streaming=streaming))
        images = data.whole(replace(settings, streaming=streaming))[0].images[:]
    assert dataset.said[0].endswith(f"; {SAID[how]}")
    assert caplog.text.count(SAID[how]) == 2
    assert images.shape == (12, 8, 6, 3)
    for i, ours in enumerate(images):
        shown = ImageOps.exif_transpose(Image.open(mixed / f"{i:02}.png"))
        if how == "stretch":
            theirs = shown.resize((6, 8), Image.Resampling.BILINEAR)
        else:
            theirs = of_pillow(shown, (8, 6), how, 0)
        np.testing.assert_array_equal(ours, theirs)


def test_it_is_said_of_arrays_too():
    said = data.load(Data(noise(0, 9, 5, 7), batch_size=2, resize=4, aspect="pad")).said[0]
    assert said.endswith("; resized to within 4x4, of another aspect on white (data.aspect)")
    assert "aspect" not in data.load(Data(noise(0, 9, 5, 7), batch_size=2, resize=4)).said[0]


def test_sizes_that_differ_in_scale_alone_are_not_stretched(tmp_path):
    for i, size in enumerate([(8, 6), (16, 12), (4, 3)] * 2):
        Image.fromarray(noise(i, *size)).save(tmp_path / f"{i}.png")
    said = data.load(Data(str(tmp_path), batch_size=1, resize=(8, 6))).said[0]
    assert said.endswith("; all are resized to 8x6")


def test_the_cache_knows(mixed):
    first = data.whole(Data(str(mixed), resize=8, aspect="crop"))[0].images
    assert (data.whole(Data(str(mixed), resize=8, aspect="pad"))[0].images != first).any()
    np.testing.assert_array_equal(
        data.whole(Data(str(mixed), resize=8, aspect="crop"))[0].images, first
    )


def test_sixteen_bits(tmp_path):
    """What is around files would be the brightest pixel of the set, if it were white."""
    for i, size in enumerate([(8, 4), (4, 8), (8, 8)]):
        pixels = np.full(size, 1000 + i, np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    settings = Data(str(tmp_path), batch_size=1, resize=8, aspect="pad")
    words = r"data\.background = 'white': must be 'black' for data\.aspect = 'pad' and files of 16"
    with pytest.raises(UsageError, match=words):
        data.load(settings)
    images = data.whole(replace(settings, background="black"))[0].images
    assert images.dtype == np.uint16 and images.max() == 1002
    assert [(image == 0).sum() for image in images] == [32, 32, 0]
    images = data.whole(replace(settings, aspect="crop"))[0].images
    assert [np.unique(image).tolist() for image in images] == [[1000], [1001], [1002]]


# One number for a square


def test_one_number_is_a_square():
    assert Data(resize=64) == Data(resize=(64, 64)) == Data(resize=[64]) != Data(resize=(64, 48))
    assert Data(resize=64).resize == (64, 64)
    saved = json.loads(json.dumps(asdict(Experiment("x", data=Data(resize=64)))))
    assert saved["data"]["resize"] == [64, 64]
    assert from_json(Experiment("x"), saved).data == Data(resize=64)


@pytest.mark.parametrize("size", [0, -1, (), (1, 2, 3), (0,), 1.5, "64", (4, None)])
def test_other_sizes_are_refused(size):
    words = r"data\.resize = .*: must be None, a height and a width .* or one number for both"
    with pytest.raises(UsageError, match=words):
        Data(resize=size)


def test_an_aspect_without_a_size():
    with pytest.raises(
        UsageError, match=r"data\.aspect = 'crop': must be 'stretch' where data\.re"
    ):
        Data(aspect="crop")


@pytest.mark.slow
@pytest.mark.parametrize("size, shape", [(["8"], (8, 8, 1)), (["8", "6"], (8, 6, 1))])
def test_on_the_command_line(size, shape, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "from jaxvae import *\n"
        "experiment = Experiment('mine', data=Data('digits', limit=20, batch_size=10),"
        " model=Model(hidden_dims=(4,)), train=Train(epochs=1, figures_every=None))\n"
    )
    run = ["train", file, "--out", tmp_path / "run", "--data.resize", *size]
    status, _, err = call(capsys, *run, "--data.aspect", "pad")
    assert status == 0, err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["experiment"]["data"]["resize"] == [*shape[:2]]
    assert config["info"]["shape"] == [*shape]
    status, _, err = call(capsys, "train", file, "--data.resize", 1, 2, 3)
    assert status == 2 and "data.resize = (1, 2, 3): must be None, a height" in " ".join(
        err.split()
    )


def test_nothing_changes_where_sizes_agree():
    images = noise(0, 2, 8, 6, 1)
    examples = Examples(jnp.asarray(images), jnp.arange(2), jnp.arange(2))
    for how in SAID:
        settings = Data(resize=(8, 6), aspect=how, range=(0, 255))
        seen = preprocess(settings, examples, None, Info((8, 6, 1), maximum=255)).target
        np.testing.assert_array_equal(seen, images)
