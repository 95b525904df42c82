"""Examples that are given to a model are taken as those it was trained on, or refused."""

import jax
import numpy as np
import pytest
from PIL import Image

from jaxvae import Data, Experiment, Model, Objective, data
from jaxvae.checks import UsageError
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import Trained, as_stored, decode, embed, prepare, reconstruct
from jaxvae.training import initial_state

RNG = np.random.default_rng(0)


def model_of(images: np.ndarray, objective: Objective = Objective(), **settings) -> Trained:  # noqa: B008
    """An untrained model of such training examples."""
    split = Split(images, None)
    dataset = Dataset("set", split, split, split, None, "")
    output = "logits" if objective.likelihood == "bernoulli" else "linear"
    asked = Experiment(
        "set",
        data=Data(batch_size=1, **settings),
        model=Model(hidden_dims=(8,), latent_dim=2, output=output),
        objective=objective,
    )
    info = data.info(dataset, asked.data)
    module = asked.model.build(info)
    state = initial_state(asked, module, info)
    return Trained(asked, module, state.variables, images.shape[1:], info)


GREY = RNG.integers(0, 256, (6, 7, 5, 1), np.uint8)
COLOUR = RNG.integers(0, 256, (6, 7, 5, 3), np.uint8)


@pytest.mark.parametrize("images", [GREY, COLOUR])
def test_every_form_of_the_same_images_has_the_same_codes(images):
    trained = model_of(images)
    codes = embed(trained, prepare(trained, Split(images, None)))
    forms = (
        images,
        images / 255,
        (images / 255).astype(np.float32),
        images.astype(int),
        images.tolist(),
    )
    for form in forms:
        np.testing.assert_array_equal(embed(trained, prepare(trained, form)), codes)
        np.testing.assert_array_equal(
            embed(trained, prepare(trained, Split(np.asarray(form), None))), codes
        )
    if images is GREY:
        np.testing.assert_array_equal(embed(trained, prepare(trained, images[..., 0])), codes)
    # What the model sees is scaled once: the case in which the largest input was 0.0039.
    largest = prepare(trained, images / 255).input.max()
    np.testing.assert_allclose(largest, images.max() / 255, rtol=1e-6)  # float32


@pytest.mark.parametrize(
    "given, message",
    [
        (GREY.astype(float), r"images\.round\(\)\.astype\(np\.uint8\)"),
        (2 * GREY / 255 - 1, r"\(images \+ 1\) / 2"),
        (GREY.astype(np.uint16) * 9, "images of uint16: must be uint8 or floats in"),
        (GREY[:, :6], r"examples of 6x5x1: must be 7x5x1, .*data\.resize"),
        (COLOUR, "images of 3 channels: must have 1, .* make them grey"),
        (GREY.reshape(6, 35), "must be .n, height, width"),
        (np.moveaxis(COLOUR, -1, 1), r"np\.moveaxis\(images, 1, -1\)"),
    ],
)
def test_others_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        prepare(model_of(GREY), given)


def test_grey_pictures_for_a_colour_model():
    """The codes are those of the same pictures saved as RGB; and the other way round."""
    colour = model_of(COLOUR)
    as_rgb = embed(colour, prepare(colour, np.repeat(GREY, 3, axis=-1)))
    np.testing.assert_array_equal(embed(colour, prepare(colour, GREY)), as_rgb)
    np.testing.assert_array_equal(embed(colour, prepare(colour, GREY[..., 0] / 255)), as_rgb)
    grey = model_of(GREY)
    same = embed(grey, prepare(grey, GREY))
    np.testing.assert_array_equal(embed(grey, prepare(grey, np.repeat(GREY, 3, axis=-1))), same)


def test_other_sizes_where_the_run_resizes():
    """Images of 24x24 and of 80x80 are both resized to what the model sees."""
    smooth = np.add.outer(np.arange(80), np.arange(80))[None, :, :, None]
    large = (smooth * 1.6).astype(np.uint8).repeat(4, axis=0)
    trained = model_of(large, resize=(8, 8))
    small = np.stack(
        [np.asarray(Image.fromarray(image[..., 0]).resize((24, 24), Image.BOX)) for image in large]
    )
    codes = [embed(trained, prepare(trained, images)) for images in (large, small)]
    # A smooth ramp looks alike at either size: pixels differ by less than a hundredth.
    inputs = [np.asarray(prepare(trained, images).input) for images in (large, small)]
    assert np.abs(inputs[0] - inputs[1]).max() < 0.01
    np.testing.assert_allclose(*codes, atol=0.02)
    assert as_stored(trained, small).images.shape == (4, 24, 24, 1)


def test_sixteen_bits():
    deep = RNG.integers(0, 5001, (6, 7, 5, 1)).astype(np.uint16)
    deep[0, 0, 0, 0] = 5000
    trained = model_of(deep)
    batch = prepare(trained, deep)
    np.testing.assert_allclose(batch.input, deep / 5000, rtol=1e-6)  # float32
    np.testing.assert_array_equal(batch.input, prepare(trained, deep / 5000).input)
    with pytest.raises(UsageError, match="images of uint8: must be uint16 or floats in"):
        prepare(trained, GREY)
    with pytest.raises(UsageError, match="up to 9000: the brightest pixel of the run"):
        prepare(trained, np.where(deep == 5000, 9000, deep).astype(np.uint16))


def test_values_come_back_in_their_units():
    rows = (RNG.normal(5, 2, (40, 3)) * [1, 100, 1e-3]).astype(np.float32)
    trained = model_of(rows, Objective("gaussian"))
    batch = prepare(trained, rows)
    # Standardised by the set itself: exactly but for float32.
    np.testing.assert_allclose(np.mean(batch.input, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(batch.input, axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(batch.input, prepare(trained, rows.tolist()).input)
    z = embed(trained, batch)
    seen = trained.model.apply(trained.variables.model, z, batch, method="decode")
    expected = np.asarray(seen) * rows.std(axis=0) + rows.mean(axis=0)
    np.testing.assert_allclose(decode(trained, z), expected, rtol=1e-4)
    np.testing.assert_array_equal(reconstruct(trained, batch), decode(trained, z))
    gaps = rows.copy()
    gaps[0, 1] = np.nan
    with pytest.raises(UsageError, match="missing values"):
        prepare(trained, gaps)


def test_missing_values_are_seen_as_the_mean():
    rows = RNG.normal(5, 2, (40, 3)).astype(np.float32)
    rows[::7, 1] = np.nan
    trained = model_of(rows, Objective("gaussian"))
    batch = prepare(trained, rows)
    assert trained.info.missing
    np.testing.assert_array_equal(batch.observed, ~np.isnan(rows))
    assert (np.asarray(batch.input)[::7, 1] == 0).all()
    rng = jax.tree.leaves(trained.variables)
    assert all(np.isfinite(leaf).all() for leaf in rng)
    assert np.isfinite(reconstruct(trained, batch)).all()
