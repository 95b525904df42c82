"""From stored bytes to the model's input: exact values, fixed and fresh noise, clean targets."""

import functools
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, noise
from jaxvae.batch import Examples
from jaxvae.data.preprocess import (
    PARTS,
    _parts,
    _rounded,
    preprocess,
    to_unit,
)
from jaxvae.data.splits import seen_shape
from jaxvae.info import Info
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric

EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
KEY = noise.root(0)


@functools.cache
def compiled(data: Data, info: Info):
    """Compiled, as in a training step."""

    def run(x, key, step, index):
        examples = Examples(x, jnp.full(len(x), -1), index)
        return preprocess(data, examples, Noise(key, step, index), info)

    return jax.jit(run)


def run(data: Data, x, key=KEY, step: int = 0, index=None, missing: bool = False):
    index = jnp.arange(len(x)) if index is None else index
    info = Info(seen_shape(data, x.shape[1:]), missing=missing)
    return compiled(data, info)(jnp.asarray(x), key, jnp.int32(step), index)


def test_bytes_become_their_255th_part():
    batch = run(Data(), EVERY_BYTE)
    assert batch.target.dtype == jnp.float32
    np.testing.assert_array_equal(batch.input, batch.target)
    exact = EVERY_BYTE.astype(np.float32) / np.float32(255)
    # A compiler may multiply by the rounded 1/255: then half of the values are one unit in the last
    # place away from the nearest float32. The ends are exact, and no value is outside them.
    np.testing.assert_array_max_ulp(np.asarray(batch.target), exact, maxulp=1)
    assert batch.target.min() == 0 and batch.target.max() == 1


def test_quantising_by_27_gives_the_integers_0_to_9():
    batch = run(Data(quantize=27, range=(0, 9)), EVERY_BYTE)
    np.testing.assert_array_equal(batch.target, np.round(EVERY_BYTE / 27))
    assert set(np.unique(batch.target)) == set(range(10))
    # On the default range the same ten levels are ninths, to one rounding.
    ninths = run(Data(quantize=27), EVERY_BYTE).target
    np.testing.assert_allclose(ninths, np.round(EVERY_BYTE / 27) / 9, rtol=1.2e-7)


@pytest.mark.parametrize("q", [1, 2, 30, 102, 255])
def test_quantised_values_are_the_nearest_integers(q):
    levels = round(255 / q)
    target = np.asarray(run(Data(quantize=q, range=(0, levels)), EVERY_BYTE).target, np.float64)
    np.testing.assert_allclose(target, np.round(target), atol=levels * 1.2e-7)
    assert np.abs(np.round(target) - EVERY_BYTE / q).max() <= 0.5
    assert target.max() == levels


def test_threshold_is_above_one_half():
    batch = run(Data(binarize="threshold"), EVERY_BYTE)
    np.testing.assert_array_equal(batch.target, EVERY_BYTE >= 128)


# Binarization by a draw


SAME = np.broadcast_to(EVERY_BYTE, (500, 16, 16, 1))


def assert_mean_is_the_pixel(binary):
    binary = np.asarray(binary, np.float64)
    assert set(np.unique(binary)) == {0.0, 1.0}
    p = EVERY_BYTE[0] / 255
    # Binomial deviation; the largest of 256 pixels stays within five of them (p = 0, 1: exact).
    np.testing.assert_array_less(
        np.abs(binary.mean(axis=0) - p), 5 * np.sqrt(p * (1 - p) / len(binary)) + 1e-12
    )


def test_static_binarization_is_one_fixed_draw():
    data = Data(binarize="static")
    first = run(data, SAME)
    assert_mean_is_the_pixel(first.target)
    again = run(data, SAME, key=noise.root(99), step=7)  # another run, another step
    np.testing.assert_array_equal(again.target, first.target)
    moved = run(data, SAME, index=jnp.arange(500)[::-1])  # another layout of the batch
    np.testing.assert_array_equal(moved.target, first.target[::-1])
    other = run(Data(binarize="static", seed=1), SAME).target
    assert_mean_is_the_pixel(other)
    # Two independent draws of a pixel differ with probability 2 p (1 - p), 1/3 on average.
    differ = np.mean(np.asarray(other) != np.asarray(first.target))
    p = EVERY_BYTE / 255
    assert abs(differ - np.mean(2 * p * (1 - p))) < 5 * np.sqrt(0.25 / first.target.size)


def test_dynamic_binarization_is_redrawn_at_every_step_and_in_every_run():
    data = Data(binarize="dynamic")
    draws = [run(data, SAME, step=step).target for step in (0, 1)]
    draws.append(run(data, SAME, key=noise.root(1)).target)
    p = EVERY_BYTE / 255
    for draw in draws:
        assert_mean_is_the_pixel(draw)
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        differ = np.mean(np.asarray(draws[a]) != np.asarray(draws[b]))
        assert abs(differ - np.mean(2 * p * (1 - p))) < 5 * np.sqrt(0.25 / draws[0].size)
    np.testing.assert_array_equal(run(data, SAME).target, draws[0])


# Geometry


@pytest.mark.parametrize("size", [(8, 8), (11, 7), (40, 32)])
def test_resizing_is_antialiased_bilinear(size):
    """Against Pillow's triangle filter in floating point, an independent implementation."""
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 16, 1), np.uint8)
    data = Data(resize=size, range=(0, 255))
    resized = run(data, images).target
    assert resized.shape[1:] == seen_shape(data, (20, 16, 1)) == (*size, 1)
    for image, ours in zip(images, resized, strict=True):
        pillow = Image.fromarray(image[:, :, 0].astype(np.float32)).resize(
            size[::-1], Image.Resampling.BILINEAR
        )
        # Weighted means of values up to 255 in float32: 1e-5 relative of the range.
        np.testing.assert_allclose(ours[:, :, 0], np.asarray(pillow), atol=3e-3)


def test_padding_adds_the_darkest_value_on_every_side():
    images = np.full((2, 3, 5, 3), 255, np.uint8)
    data = Data(pad=2, range=(-1, 1))
    padded = np.asarray(run(data, images).target)
    assert padded.shape[1:] == seen_shape(data, (3, 5, 3)) == (7, 9, 3)
    np.testing.assert_allclose(padded[:, 2:5, 2:7], 1, rtol=2e-7)  # two roundings
    assert (padded == -1).sum() == padded.size - images.size


def test_resize_comes_before_padding():
    data = Data(resize=(4, 6), pad=1, range=(0, 255))
    out = run(data, np.full((1, 8, 8, 1), 200, np.uint8)).target
    assert out.shape[1:] == seen_shape(data, (8, 8, 1)) == (6, 8, 1)
    # The weights of the resize sum to 1 up to a few roundings.
    np.testing.assert_allclose(out[0, 1:5, 1:7], np.full((4, 6, 1), 200.0), rtol=1e-6)


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 1.0), (0.0, 9.0), (2.0, 2.5)])
def test_range_is_linear_and_to_unit_undoes_it(low, high):
    data = Data(range=(low, high))
    target = np.asarray(run(data, EVERY_BYTE).target)
    # A few roundings at the size of the ends of the range.
    tolerance = 4e-7 * max(abs(low), abs(high))
    np.testing.assert_allclose(target, low + (high - low) * EVERY_BYTE / 255.0, atol=tolerance)
    assert target.min() == low
    np.testing.assert_allclose(
        to_unit(data, target), EVERY_BYTE / 255.0, atol=2 * tolerance / (high - low)
    )


# Corruption


GREY = np.full((100, 20, 20, 1), 51, np.uint8)  # 0.2
N = GREY.size


@pytest.mark.parametrize("corruption", ["gaussian", "masking", "salt_pepper"])
def test_corruption_has_its_level_and_leaves_the_target_clean(corruption):
    low, high = -1.0, 3.0  # so that a level in units of the range and one in pixel values differ
    level = 0.02 if corruption == "gaussian" else 0.3
    data = Data(corruption=corruption, corruption_level=level, range=(low, high))
    batch = run(data, GREY)
    np.testing.assert_array_equal(batch.target, run(Data(range=(low, high)), GREY).target)

    unit = np.asarray(to_unit(data, batch.input), np.float64)
    hit = np.abs(unit - 0.2) > 1e-6
    if corruption == "gaussian":  # in units of the range; 0.2 is ten deviations from its ends
        assert abs(unit.mean() - 0.2) < 5 * level / np.sqrt(N)
        assert abs(unit.std() / level - 1) < 5 * np.sqrt(0.5 / N)
        return
    # Binomial deviations, five of them.
    assert abs(hit.mean() - level) < 5 * np.sqrt(level * (1 - level) / N)
    if corruption == "masking":
        assert (unit[hit] == 0).all()
    else:
        half = level / 2
        for end in (0, 1):
            assert abs((unit == end).mean() - half) < 5 * np.sqrt(half * (1 - half) / N)


def test_gaussian_corruption_stays_within_the_range():
    data = Data(corruption="gaussian", corruption_level=2.0, range=(-1, 1))
    corrupted = run(data, GREY).input
    assert corrupted.min() == -1 and corrupted.max() == 1


@pytest.mark.parametrize("corruption", ["masking", "salt_pepper"])
def test_corruption_does_not_know_what_was_binarized(corruption):
    """Their draws are independent: of the white pixels as many are hit as of the black ones."""
    data = Data(binarize="dynamic", corruption=corruption, corruption_level=0.5)
    batch = run(data, np.full((100, 20, 20, 1), 127, np.uint8))
    target, given = np.asarray(batch.target), np.asarray(batch.input)
    # What is hit becomes black, or either with the same chance; 20 000 pixels of each kind.
    hit = 0.5 if corruption == "masking" else 0.25
    for color in (1, 0) if corruption == "salt_pepper" else (1,):
        changed = given[target == color] != color
        assert abs(changed.mean() - hit) < 5 * np.sqrt(hit * (1 - hit) / changed.size)


def test_corruption_belongs_to_the_example_and_the_step():
    data = Data(corruption="masking", corruption_level=0.5)
    whole = run(data, GREY).input
    np.testing.assert_array_equal(run(data, GREY, index=jnp.arange(100)[::-1]).input, whole[::-1])
    later = run(data, GREY, step=1).input
    # Independent masks of one half: half of the pixels differ.
    assert abs(np.mean(np.asarray(later) != np.asarray(whole)) - 0.5) < 5 * np.sqrt(0.25 / N)


def test_quantisation_rounds_halves_to_even_whatever_divides():
    """Every byte by every divisor, in whole numbers: x / q is a half where 2 x is an odd q."""
    bytes_ = np.arange(256)
    for q in range(1, 256):
        rounded = [round(Fraction(int(x), q)) for x in bytes_]  # Python's: halves to even
        np.testing.assert_array_equal(np.asarray(_rounded(jnp.arange(256.0), q)), rounded)


@pytest.mark.parametrize("ulps", [-3, 0, 3])
def test_a_level_is_itself_but_for_its_last_bits(ulps):
    """As resizing leaves it: 255 / 170 and 127.5 are where rounding and thresholds jump."""
    levels = np.arange(256, dtype=np.float32)
    nearly = jnp.asarray(levels + ulps * np.spacing(levels))
    for q in (2, 34, 170):
        np.testing.assert_array_equal(_rounded(nearly, q), _rounded(jnp.asarray(levels), q))
    halves = nearly + 0.5
    np.testing.assert_array_equal(_parts(halves) > PARTS * 255 // 2, levels + 0.5 > 127.5)


def test_binarization_compares_products():
    """Black is never white and white always, whatever the draw: uniforms are below 1."""
    batch = run(Data(binarize="dynamic"), EVERY_BYTE)
    white = np.asarray(batch.target) > 0.5
    assert not white[EVERY_BYTE == 0].any() and white[EVERY_BYTE == 255].all()


# Values that are no pixels


@pytest.mark.parametrize("shape", [(7,), (10, 2), (4, 4, 1)])
def test_values_that_are_no_pixels_are_taken_as_they_are(shape):
    """Rows of a table, signals, and images that are not uint8: of any size and sign."""
    x = 1000 * np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)
    batch = run(Data(), x)
    assert batch.info.shape == shape
    assert batch.observed is None
    np.testing.assert_array_equal(batch.target, x)
    np.testing.assert_array_equal(batch.input, x)
    np.testing.assert_array_equal(batch.label, np.full(5, -1))


def test_values_that_are_not_a_number_were_not_observed():
    """They are 0 in input and target, and the batch says which they are."""
    x = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    missing = np.random.default_rng(1).random(x.shape) < 0.4
    batch = run(Data(), np.where(missing, np.float32("nan"), x), missing=True)
    np.testing.assert_array_equal(batch.observed, ~missing)
    np.testing.assert_array_equal(batch.target, np.where(missing, 0, x))
    np.testing.assert_array_equal(batch.input, batch.target)
    whole = run(Data(), x, missing=True)
    assert np.asarray(whole.observed).all()  # of a set that lacks others
    np.testing.assert_array_equal(whole.target, x)
