"""Means over a split: every image once, fixed noise, the full beta."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, noise
from jaxvae.evaluation.evaluate import make_evaluate
from jaxvae.models import decoder_mean
from jaxvae.objectives import bernoulli_nll, gaussian_kl

pytestmark = pytest.mark.numeric

SHAPE, N = (4, 4, 1), 10
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (N, *SHAPE), np.uint8))
KEY = noise.root(3)
EXPERIMENT = Experiment(
    "tiny",
    data=Data(batch_size=4),
    model=Model(hidden_dims=(6,), latent_dim=2, init="torch"),
    objective=Objective(beta=2.0, warmup_steps=1000),
)
MODULE = EXPERIMENT.model.build(SHAPE, False)


@pytest.fixture(scope="module")
def variables():
    x, eps = jnp.zeros((1, *SHAPE)), jnp.zeros((1, 2))
    return jax.tree.map(lambda p: 3 * p, MODULE.init(jax.random.key(1, impl="unsafe_rbg"), x, eps))


@functools.cache
def compiled(batch_size: int, sampled: bool, binarize: str):
    data = Data(batch_size=batch_size, binarize=binarize)
    experiment = dataclasses.replace(EXPERIMENT, data=data)
    return jax.jit(make_evaluate(experiment, MODULE, sampled))


def evaluate(variables, batch_size: int = 4, sampled: bool = True, binarize: str = "none"):
    """(images, key) -> means as numbers."""
    run = compiled(batch_size, sampled, binarize)
    return lambda images=IMAGES, key=KEY: {
        name: float(value) for name, value in run(variables, images, key).items()
    }


def expected(variables, sampled: bool):
    """The same means over all images at once, reduced in NumPy float64."""
    key = noise.stream(noise.stream(KEY, "evaluate"), "eps")
    eps = noise.normal(noise.example_keys(key, 0, jnp.arange(N)), (2,))
    x = IMAGES.astype(jnp.float32) / 255
    output = MODULE.apply(variables, x, eps if sampled else 0 * eps)
    recon = np.mean(np.float64(bernoulli_nll(output.decoded, x)))
    kl = np.mean(np.float64(gaussian_kl(output.mean, output.logvar)))
    mse = np.mean(np.square(np.float64(decoder_mean(output.decoded, "logits")) - np.float64(x)))
    return {"loss": recon + 2 * kl, "recon": recon, "kl": kl, "mse": mse}


@pytest.mark.parametrize("batch_size, sampled", [(1, True), (4, True), (4, False), (16, True)])
def test_every_image_counts_once_whatever_the_batch(variables, batch_size, sampled):
    """10 images: batches of 1; of 4, the last one half full; one of 16, larger than the split.

    The KL has its full weight, without warm-up.
    """
    means, reference = evaluate(variables, batch_size, sampled)(), expected(variables, sampled)
    assert means.keys() == reference.keys()
    for name, value in reference.items():
        # Float32 sums of 16 pixels and of 10 images; a weight wrong by one image is 10 %.
        np.testing.assert_allclose(means[name], value, rtol=1e-5, err_msg=name)


def test_a_sample_reconstructs_worse_than_the_mean_on_average(variables):
    """A statement about these weights: the two modes differ where they should and agree in KL."""
    sampled, at_mean = evaluate(variables)(), evaluate(variables, sampled=False)()
    assert sampled["kl"] == at_mean["kl"]
    assert sampled["recon"] > at_mean["recon"]


def test_noise_is_fixed_by_the_key(variables):
    run = evaluate(variables, binarize="dynamic")
    first = run()
    assert run() == first
    other = run(key=noise.root(4))
    assert all(other[name] != first[name] for name in first)


def test_an_images_noise_does_not_depend_on_the_rest_of_the_split(variables):
    """Sums over the first 7 and over all 10 differ by the last 3 alone."""
    run = evaluate(variables, batch_size=1)
    first, whole = run(IMAGES[:7]), run()
    other = run(jnp.concatenate([IMAGES[7:8], IMAGES[1:]]))  # replace image 0
    last = run(jnp.concatenate([IMAGES[7:8], IMAGES[1:7]]))
    # 10 whole - 7 first is the contribution of images 7, 8 and 9 whatever image 0 is; rounding:
    # sums of 10 terms of about 15 nats.
    np.testing.assert_allclose(
        10 * whole["loss"] - 7 * first["loss"], 10 * other["loss"] - 7 * last["loss"], rtol=1e-5
    )


def test_pixel_error_is_on_the_unit_scale(variables):
    """With pixels in 0..9 and a linear output, `mse` is still per pixel of [0, 1]."""
    experiment = Experiment(
        "linear",
        data=Data(batch_size=4, quantize=27, range=(0, 9)),
        model=dataclasses.replace(EXPERIMENT.model, output="linear"),
        objective=Objective("mse"),
    )
    module = experiment.model.build(SHAPE, False)
    means = jax.jit(make_evaluate(experiment, module))(variables, IMAGES, KEY)
    # recon = 1/2 |x - x'|^2 in the data's own units, summed over 16 pixels; a few roundings.
    np.testing.assert_allclose(means["mse"], 2 * means["recon"] / 16 / 81, rtol=1e-5)


def test_beta_eff_enters_the_loss(variables):
    objective = Objective(beta=1.0, recon_reduction="mean", kl_reduction="mean")
    experiment = dataclasses.replace(EXPERIMENT, objective=objective)
    means = jax.jit(make_evaluate(experiment, MODULE))(variables, IMAGES, KEY)
    # beta_eff = 16 pixels / 2 latents.
    np.testing.assert_allclose(means["loss"], means["recon"] + 8 * means["kl"], rtol=1e-6)
