"""Group reconstruction: rows and their means, against what the other groups say."""

from dataclasses import replace

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.data import Split
from jaxvae.evaluation import prepare, reconstruct
from jaxvae.evaluation.bounds import elbo
from jaxvae.evaluation.reconstructing import reconstruction
from tests.evaluation.subjects import dataset, images, subject
from tests.variants.small import dataset as eight_by_eight

DENSE = Experiment("dense", data=Data(batch_size=16), model=Model(hidden_dims=(8,), latent_dim=4))


def test_rows_and_means():
    given = subject(DENSE)
    found = reconstruction(given)
    target = given.split.images / 255
    decoded = reconstruct(given.trained, prepare(given.trained, given.split))
    mse = np.square(target - decoded).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found.rows["mse_at_mean"], mse, rtol=1e-5)
    np.testing.assert_allclose(found.rows["psnr"], -10 * np.log10(mse), rtol=1e-5)
    options = dict(gaussian_weights=True, use_sample_covariance=False, data_range=1.0)
    theirs = [
        structural_similarity(a, b, channel_axis=-1, **options)
        for a, b in zip(target, decoded.astype(np.float64), strict=True)
    ]
    np.testing.assert_allclose(found.rows["ssim"], theirs, rtol=1e-5)
    for name, row in found.rows.items():
        assert found.values[name] == pytest.approx(row.mean())
        assert found.values[f"{name}_se"] == pytest.approx(row.std(ddof=1) / np.sqrt(30))
    assert found.values["mse_at_mean"] == pytest.approx(elbo(given).values["mse_at_mean"])


def test_order_and_batches_do_not_matter():
    order = np.random.default_rng(0).permutation(30)
    here = reconstruction(subject(DENSE)).rows
    smaller = replace(DENSE, data=replace(DENSE.data, batch_size=7))
    there = reconstruction(subject(smaller, split=images(30, seed=1).take(order))).rows
    for name, row in here.items():
        np.testing.assert_allclose(there[name], row[order], rtol=1e-5)


def test_images_that_are_too_small():
    found = reconstruction(subject(DENSE, eight_by_eight()))
    assert {"psnr", "mse_at_mean"} == found.rows.keys()
    assert found.notes == ("without ssim: images of 8x8: SSIM takes at least 11x11 pixels",)


def test_images_that_are_reproduced_exactly():
    """A decoder whose logits are so low that float32 has 0: black images, and others."""
    split = images(30, seed=1)
    split.images[:10] = 0
    given = subject(DENSE, split=split)
    params = given.trained.variables.model["params"]
    # Of a bias of -200 sigmoid is 0 in float32.
    decoder = {name: dict(layer) for name, layer in params["decoder"].items()}
    last = max(decoder)
    decoder[last] = {"kernel": 0 * decoder[last]["kernel"], "bias": decoder[last]["bias"] - 200}
    variables = given.trained.variables._replace(model={"params": params | {"decoder": decoder}})
    object.__setattr__(given, "trained", given.trained._replace(variables=variables))
    found = reconstruction(given)
    assert np.isinf(found.rows["psnr"][:10]).all()
    assert found.values["psnr"] == pytest.approx(found.rows["psnr"][10:].mean())
    assert any("without 10 images that are reproduced exactly" in note for note in found.notes)


def test_rows_of_a_table():
    """Their error as the model sees it, of what was observed; they have no peak and no windows."""
    rng = np.random.default_rng(0)
    split = Split(rng.standard_normal((20, 5)).astype(np.float32) * 3 + 7, None)
    split.images[0, :2] = np.nan
    table = Experiment(
        "table",
        data=Data(batch_size=8),
        model=Model(hidden_dims=(6,), latent_dim=2, output="linear"),
        objective=Objective("gaussian"),
    )
    found = reconstruction(subject(table, dataset(split, split)))
    assert found.rows.keys() == {"mse_at_mean"} and np.isfinite(found.values["mse_at_mean"])
    assert found.notes == ("psnr and ssim are of images",)


def test_binarized_images_are_said():
    binary = replace(DENSE, data=replace(DENSE.data, binarize="threshold"))
    assert any("images are binarized" in note for note in reconstruction(subject(binary)).notes)
