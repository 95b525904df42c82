"""From a model to arrays and figures, without training: shapes, identities, odd images."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, evaluation
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import Trained, pictures
from jaxvae.training import build_model


def untrained(shape, **model) -> Trained:
    experiment = Experiment(name="x", data=Data("x.npy"), model=Model(**model))
    module = build_model(experiment, shape)
    x, eps = np.zeros((1, *shape), np.float32), np.zeros((1, model["latent_dim"]), np.float32)
    return Trained(experiment, module, jax.jit(module.init)(jax.random.key(0), x, eps), shape)


def random_images(n, shape):
    return np.random.default_rng(0).integers(0, 256, (n, *shape), np.uint8)


def test_batches_do_not_show(monkeypatch):
    """12 images in batches of 5 or of 500: the same codes, to the order of a sum's terms."""
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=3),
        random_images(12, (6, 5, 1)),
    )
    x = evaluation.prepare(trained, images).input
    whole = evaluation.embed(trained, x)
    monkeypatch.setattr("jaxvae.evaluation.trained.BATCH", 5)
    np.testing.assert_allclose(evaluation.embed(trained, x), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(evaluation.prepare(trained, images).input, x)


def test_interpolations_end_at_the_reconstructions():
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=3),
        random_images(4, (6, 5, 1)),
    )
    arrays, _ = pictures.interpolations(trained, images, [0, 1], [2, 3], steps=5)
    decoded = evaluation.reconstruct(trained, evaluation.prepare(trained, images).input)
    # float32, one product of a code and a weight apart
    np.testing.assert_allclose(arrays["images"][:, 0], decoded[:2], atol=1e-5)
    np.testing.assert_allclose(arrays["images"][:, -1], decoded[2:], atol=1e-5)
    middle = (arrays["codes"][:, 0] + arrays["codes"][:, -1]) / 2
    np.testing.assert_allclose(arrays["codes"][:, 2], middle, atol=1e-5)


def test_traversals_vary_one_latent_each():
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=4),
        random_images(9, (6, 5, 1)),
    )
    arrays, _ = pictures.traversals(trained, images, index=3, steps=7, dims=2)
    code = evaluation.embed(trained, evaluation.prepare(trained, images).input)[3]
    assert arrays["codes"].shape == (2, 7, 4)
    mean, logvar = evaluation.posterior(trained, evaluation.prepare(trained, images).input)
    kl = 0.5 * (mean**2 + np.exp(logvar) - 1 - logvar).mean(axis=0)
    assert set(arrays["dims"]) == set(np.argsort(-kl)[:2])  # the two that say most
    for row, dim in enumerate(arrays["dims"]):
        np.testing.assert_allclose(arrays["codes"][row, :, dim], np.linspace(-3, 3, 7), atol=1e-6)
        others = [i for i in range(4) if i != dim]
        expected = np.tile(code[others], (7, 1))
        np.testing.assert_array_equal(arrays["codes"][row][:, others], expected)


def test_manifold_lies_at_the_quantiles_of_the_prior():
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    arrays, _ = pictures.manifold(trained, np.zeros((1, 2)), side=4)
    normal_quantiles = [-1.15034938, -0.31863936, 0.31863936, 1.15034938]  # at 1/8, 3/8, 5/8, 7/8
    np.testing.assert_allclose(arrays["z1"], normal_quantiles, rtol=1e-6)
    corner = evaluation.decode(trained, np.array([[arrays["z1"][3], arrays["z2"][0]]]))
    np.testing.assert_allclose(arrays["images"][0, 3], corner[0], atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(9, 14, 2), pytest.param((12, 7, 4), marks=pytest.mark.slow), (8, 8, 3)]
)
@pytest.mark.parametrize("network", ["dense", "conv"])
def test_every_picture_of_odd_images(shape, network, tmp_path):
    """Non-square, and with numbers of channels that a picture cannot show."""
    trained = untrained(shape, network=network, hidden_dims=(4,), latent_dim=2)
    images = Split(random_images(12, shape), np.arange(12, dtype=np.int32) % 3)
    dataset = Dataset("x", images, images, images, None, "x")
    written = pictures.write_all(trained, dataset, [], tmp_path)
    expected = {"reconstructions", "latents", "interpolations", "samples", "traversals", "manifold"}
    assert {path.stem for path in written} == expected
    assert all(path.stat().st_size > 0 for path in written)


@pytest.mark.parametrize("labels", [np.full(9, -1), np.arange(9) - 1, None])
def test_unlabelled_images_are_drawn_alike(labels):
    """Some sets mark images without a label by -1."""
    trained, images = (
        untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2),
        random_images(9, (6, 5, 1)),
    )
    arrays, figure = pictures.embedding(trained, Split(images, labels), None)
    assert not figure.legends
    assert ("labels" in arrays) == (labels is not None)


def test_noise_follows_the_position_in_the_split():
    """Image 5 prepared alone is the image 5 that validation sees."""
    trained = untrained((6, 5, 1), hidden_dims=(7,), latent_dim=2)
    data = dataclasses.replace(trained.experiment.data, binarize="static")
    trained = trained._replace(experiment=dataclasses.replace(trained.experiment, data=data))
    images = random_images(9, (6, 5, 1))
    whole = evaluation.prepare(trained, images).target
    assert set(np.unique(whole)) == {0, 1}
    np.testing.assert_array_equal(evaluation.prepare(trained, images[5:6], [5]).target, whole[5:6])
