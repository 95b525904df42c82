"""Arrays in memory in the place of a data set's name."""

import copy
import dataclasses
import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, Train, data
from jaxvae.checks import UsageError
from jaxvae.evaluation import embed, prepare
from jaxvae.runs import guards
from jaxvae.training import train
from jaxvae.training.load import load

IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 5), np.uint8)
LABELS = np.arange(60) % 3


def of(source, **settings) -> Data:
    return Data(source, batch_size=8, **settings)


def experiment(source) -> Experiment:
    model = Model(hidden_dims=(8,), latent_dim=2)
    return Experiment("arrays", data=of(source), model=model, train=Train(2, figures_every=None))


@pytest.mark.parametrize("kind", ["numpy", "floats", "lists", "jax", "torch", "named"])
def test_arrays_of_every_kind_are_the_same_images(kind):
    given = {
        "numpy": IMAGES,
        "floats": IMAGES / 255,
        "lists": IMAGES.tolist(),
        "jax": jnp.asarray(IMAGES),
        "named": {"images": IMAGES},
    }
    if kind == "torch":
        torch = pytest.importorskip("torch")
        given["torch"] = torch.tensor(IMAGES, requires_grad=False)
    split, _ = data.whole(of(given[kind]))
    assert split.images.dtype == np.uint8
    np.testing.assert_array_equal(split.images[..., 0], IMAGES)


def test_zeros_train(tmp_path):
    """The case that was refused as "the truth value of an array is ambiguous"."""
    summary = train(experiment(np.zeros((300, 28, 28), np.uint8)), tmp_path / "run", quiet=True)
    assert summary["status"] == "finished"
    assert any("all examples are equal" in line for line in summary["data"])


def test_settings_with_arrays_are_values_like_others():
    one, same = of(IMAGES), of(IMAGES.copy())
    assert one == same and hash(one) == hash(same)
    assert one != of(IMAGES.astype(np.int64)) and one != of(IMAGES + np.uint8(1))
    assert one != of({"images": IMAGES, "labels": LABELS})
    again = dataclasses.replace(one, seed=1)
    assert again.source.arrays is one.source.arrays
    for copied in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        np.testing.assert_array_equal(copied.source.arrays["images"], IMAGES)
    text = json.dumps(dataclasses.asdict(one))
    assert len(repr(one)) < 800 and "uint8 of 60x6x5" in text


@pytest.mark.slow
def test_a_run_asks_for_the_same_arrays(tmp_path):
    asked, run = experiment({"images": IMAGES, "labels": LABELS}), tmp_path / "run"
    train(asked, run, quiet=True)
    more = dataclasses.replace(asked, train=Train(3, figures_every=None))
    train(more, run, resume=True, quiet=True)
    trained, _ = load(run, like=asked)
    whole, _ = data.whole(trained.experiment.data)
    np.testing.assert_array_equal(whole.labels, LABELS)

    alone, _ = load(run)
    with pytest.raises(UsageError, match="give the same arrays"):
        data.load(alone.experiment.data)
    codes = embed(alone, prepare(alone, IMAGES))
    np.testing.assert_array_equal(codes, embed(alone, prepare(alone, IMAGES / 255)))

    other = experiment({"images": IMAGES[::-1], "labels": LABELS})
    with pytest.raises(UsageError, match=r"cannot change data\.source \('arrays in memory: uint8"):
        guards.refuse_changes(other, run)
    with pytest.raises(UsageError, match="give the same arrays"):
        train(dataclasses.replace(alone.experiment, train=more.train), run, True, True)


def test_parts_by_name_and_values():
    source = {"train_values": np.ones((20, 5)), "val_values": np.ones((9, 5))}
    dataset = data.load(of(source, standardise=False))
    assert dataset.train.images.dtype == np.float32
    assert (len(dataset.train.images), len(dataset.validation.images)) == (20, 9)
    assert data.load(of(np.ones((20, 5)))).train.images.shape == (16, 5)


@pytest.mark.parametrize(
    "source, message",
    [
        ({}, "must hold an array"),
        ([[1, 2], [3]], r"data\.source: no array"),
        (np.array([object()] * 3), "an array of objects"),
        (np.zeros((0, 4, 4)), "at least one image"),
        (2 * IMAGES / 255 - 1, r"\(images \+ 1\) / 2"),
        (IMAGES.reshape(60, 30).astype(str), "dtype <U"),
        ({"other": IMAGES[:, :, 0]}, r"needs an array named `images`"),
    ],
)
def test_what_is_no_array_of_examples_is_refused(source, message):
    with pytest.raises(UsageError, match=message):
        data.load(of(source))


def test_likelihoods_of_values():
    values = Experiment(
        "values",
        data=of(np.ones((20, 5))),
        model=Model(hidden_dims=(4,), latent_dim=2),
        objective=Objective(),
    )
    with pytest.raises(UsageError, match=r"bernoulli.*for standardised values"):
        train(values, "unused", quiet=True)
