"""Sprites: rendered from their factors, the same pixels everywhere; factors as a part of data."""

import jax
import numpy as np
import pytest

from jaxvae import config, data
from jaxvae.data import sprites


def _of(**changes):
    middle = {"shape": 0, "scale": 5, "orientation": 0, "x": 16, "y": 16} | changes
    return [middle[name] for name in sprites.FACTORS]


def test_small_upright_squares_are_those_of_dsprites():
    """A pixel p is on where |p - (15.5 + 32 k/31)| < 4.81 in both axes: every k, both axes."""
    positions = np.arange(32)
    drawn = sprites.images_of([_of(scale=0, x=k, y=31 - k) for k in positions])[..., 0]
    centre = 15.5 + 32 * positions / 31
    on = np.abs(np.arange(64) - centre[:, None]) < 4.81
    expected = on[::-1, :, None] & on[:, None, :]  # rows are y, columns x
    np.testing.assert_array_equal(drawn, np.where(expected, 255, 0))
    assert {int(n) for n in on.sum(axis=1)} == {9, 10}


@pytest.mark.parametrize("scale", range(6))
def test_a_square_keeps_its_side_at_every_scale(scale):
    side = 2 * 9.62 * (0.5 + 0.1 * scale)
    image = sprites.images_of([_of(scale=scale)])[0, ..., 0] > 0
    assert abs(image.any(axis=0).sum() - side) <= 1
    assert image.sum() == image.any(axis=0).sum() * image.any(axis=1).sum()


@pytest.mark.parametrize("orientation", [0, 5, 13, 31])
def test_areas_are_those_of_the_formulas(orientation):
    """A square of half side r: 4 r^2. Ellipse: pi r^2. Heart: 2 r^2, and two half discs."""
    areas = [4, np.pi, 2 + np.pi / 2]
    drawn = sprites.images_of([_of(shape=s, orientation=orientation) for s in range(3)])
    found = (drawn > 0).sum(axis=(1, 2, 3)) / 9.62**2
    np.testing.assert_allclose(found, areas, atol=0.12)  # of r^2: 11 of some 70 pixels at the edge


def test_pictures_turn_and_move():
    """Half a turn (orientations 0 to 39 make a whole one) mirrors both axes about the centre."""
    whole, start = sprites.images_of([_of(shape=2, orientation=o) for o in (39, 0)])
    np.testing.assert_array_equal(whole, start)
    quarter = sprites.images_of([_of(shape=1, scale=3, orientation=o) for o in (0, 10)])[..., 0]
    wide, high = ((image > 0).any(axis=0).sum() for image in quarter)
    assert wide > 1.3 * high  # the axes are as 3 to 2

    def middle(**changes):
        image = sprites.images_of([_of(shape=2, **changes)])[0, ..., 0] / 255
        return np.array([(image.sum(axis=a) * np.arange(64)).sum() / image.sum() for a in (0, 1)])

    for name, axis in (("x", 0), ("y", 1)):
        moved = middle(**{name: 31}) - middle(**{name: 0})
        expected = np.zeros(2)
        expected[axis] = 32.0
        np.testing.assert_allclose(moved, expected, atol=0.1)


def test_images_of_half_the_size_are_means_of_blocks():
    factors = np.random.default_rng(0).integers(0, [*sprites.FACTORS.values()], (50, 5))
    whole, half = (sprites.images_of(factors, size) for size in (64, 32))
    blocks = whole.reshape(50, 32, 2, 32, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(half[..., 0], np.floor(blocks + 0.5).astype(np.uint8))


def test_rendering_is_pure_and_needs_no_floats():
    """Whole numbers alone are the same on every device; one image is as it is among others."""
    factors = np.random.default_rng(1).integers(0, [*sprites.FACTORS.values()], (5, 5), np.int32)
    together = sprites.images_of(factors)
    np.testing.assert_array_equal(jax.jit(sprites.render)(factors[3]), together[3])
    jaxpr = jax.make_jaxpr(sprites.render)(factors[0])
    kinds = {v.aval.dtype.kind for e in jaxpr.jaxpr.eqns for v in e.outvars}
    assert kinds == {"b", "i", "u"}


def test_pixels_of_a_hundred_images_stay_the_same():
    """A checksum of what runs were trained on: to be changed on purpose alone."""
    factors = np.random.default_rng(2).integers(0, [*sprites.FACTORS.values()], (100, 5))
    assert int(sprites.images_of(factors).astype(np.int64).sum()) == 5282070


@pytest.mark.slow  # renders 50,000
@pytest.mark.ci
def test_the_set():
    dataset = data.load(config.Data("sprites/32"))
    assert dataset.train.images.shape == (40_000, 32, 32, 1)
    assert dataset.test.images.shape == (10_000, 32, 32, 1)
    assert dataset.classes == ("square", "ellipse", "heart")
    for part in (dataset.train, dataset.test):
        np.testing.assert_array_equal(part.labels, part.factors["shape"])
        table = np.stack([*part.factors.values()], axis=1)
        np.testing.assert_array_equal(sprites.images_of(table[:20], 32), part.images[:20])
        for name, values in sprites.FACTORS.items():  # five standard deviations of a fair share
            counts = np.bincount(part.factors[name], minlength=values)
            share = len(table) / values
            assert np.abs(counts - share).max() < 5 * np.sqrt(share)
    every = [np.stack([*p.factors.values()], axis=1) for p in (dataset.train, dataset.test)]
    assert len(np.unique(np.concatenate(every), axis=0)) == 50_000  # none is there twice


@pytest.mark.parametrize(
    ("factors", "size", "message"),
    [
        ([[0, 0, 0, 0]], 64, r"shape \(1, 4\) and int64: must be integers of shape \(n, 5\)"),
        ([[0.0] * 5], 64, "and float64: must be integers"),
        ([[3, 0, 0, 0, 0]], 64, r"factor shape = 3: must be in 0\.\.2"),
        ([[0, 0, 0, 0, -1]], 64, r"factor y = -1: must be in 0\.\.31"),
        ([[0] * 5], 48, "size = 48: must be a divisor of 64"),
    ],
)
def test_what_cannot_be_drawn(factors, size, message):
    with pytest.raises(ValueError, match=message):
        sprites.images_of(factors, size)


def _arrays(**more):
    images = np.random.default_rng(0).integers(0, 256, (20, 4, 4), np.uint8)
    return {"images": images, "factors": np.arange(40).reshape(20, 2) % 7} | more


def test_factors_of_arrays(tmp_path):
    """They follow their images through division and `take`, and have names."""
    arrays = _arrays(factor_names=np.array(["size", "hue"]))
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = data.load(config.Data(str(tmp_path / "a.npz"), batch_size=4))
    for part in (dataset.train, dataset.test, dataset.train.take([3, 1])):
        same = (part.images == arrays["images"][:, None, ..., None]).all(axis=(2, 3, 4))
        where = same.argmax(axis=0)
        np.testing.assert_array_equal(part.factors["size"], arrays["factors"][where, 0])
        np.testing.assert_array_equal(part.factors["hue"], arrays["factors"][where, 1])
    assert "not read" not in " ".join(dataset.said)

    parts = _arrays(test_images=arrays["images"][:5], test_factors=arrays["factors"][:5])
    split, _ = data.whole(config.Data(parts))
    assert len(split.images) == 25
    np.testing.assert_array_equal(split.factors["factor_2"][20:], arrays["factors"][:5, 1])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"factors": np.zeros((19, 2), int)}, r"factors has shape \(19, 2\)"),
        ({"factors": np.zeros((20, 2))}, r"of float64: must be integers of shape \(20, factors\)"),
        ({"factors": np.full((20, 2), 2**40)}, "must be within"),
        ({"factor_names": np.array(["a"])}, "must be 2 different names"),
        ({"factor_names": np.array(["a", "a"])}, "must be 2 different names"),
    ],
)
def test_factors_that_do_not_fit(more, message):
    with pytest.raises(ValueError, match=message):
        data.load(config.Data(_arrays(**more), batch_size=4))
