"""Means over a split: every image once, fixed noise, the full beta."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective, noise
from jaxvae.batch import Examples
from jaxvae.data import Split
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import preprocess
from jaxvae.evaluation.evaluate import evaluate_streamed, make_batch_sums, make_evaluate
from jaxvae.info import Info
from jaxvae.models import decoder_mean
from jaxvae.objectives import bernoulli_nll, gaussian_kl, gaussian_nll
from jaxvae.training import Variables
from tests.given import batch

pytestmark = pytest.mark.numeric

SHAPE, N = (4, 4, 1), 10
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (N, *SHAPE), np.uint8))
LABELS = jnp.full(N, -1)
KEY = noise.root(3)
EXPERIMENT = Experiment(
    "tiny",
    data=Data(batch_size=4),
    model=Model(hidden_dims=(6,), latent_dim=2, init="torch"),
    objective=Objective(beta=2.0, warmup_steps=1000),
)
INFO = Info(SHAPE)
MODULE = EXPERIMENT.model.build(INFO)


@pytest.fixture(scope="module")
def variables():
    own = MODULE.init(jax.random.key(1, impl="unsafe_rbg"), batch(jnp.zeros((1, *SHAPE))))
    return Variables(jax.tree.map(lambda p: 3 * p, own), {})


def evaluate_all(experiment, module=MODULE, sampled: bool = True, info: Info = INFO):
    """evaluate(variables, x, labels, key, numbers), compiled."""
    batch_sums = make_batch_sums(experiment, module, info, sampled)
    return jax.jit(make_evaluate(batch_sums, experiment.data.batch_size))


@functools.cache
def compiled(batch_size: int, sampled: bool, binarize: str):
    data = Data(batch_size=batch_size, binarize=binarize)
    return evaluate_all(dataclasses.replace(EXPERIMENT, data=data), sampled=sampled)


def evaluate(variables, batch_size: int = 4, sampled: bool = True, binarize: str = "none"):
    """(images, key) -> means as numbers."""
    run = compiled(batch_size, sampled, binarize)
    return lambda images=IMAGES, key=KEY: {
        name: float(value)
        for name, value in run(variables, images, LABELS[: len(images)], key).items()
    }


def expected(variables, sampled: bool):
    """The same means over all images at once, reduced in NumPy float64."""
    key = noise.stream(noise.stream(KEY, "evaluate"), "eps")
    eps = noise.normal(noise.example_keys(key, 0, jnp.arange(N)), (2,))
    x = IMAGES.astype(jnp.float32) / 255
    output = MODULE.apply(variables.model, batch(x, eps if sampled else None))
    recon = np.mean(np.float64(bernoulli_nll(output.decoded, x)))
    kl = np.mean(np.float64(gaussian_kl(output.aux["mean"], output.aux["logvar"])))
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


def test_evaluation_is_not_training():
    """Running statistics that are far from any batch's count, whatever the batch, and dropout does
    not."""
    model = dataclasses.replace(EXPERIMENT.model, batch_norm=True, dropout=0.5)
    module = model.build(INFO)
    own = module.init(jax.random.key(1, impl="unsafe_rbg"), batch(jnp.zeros((1, *SHAPE))))
    own = own | {"batch_stats": jax.tree.map(lambda s: s + 2.0, own["batch_stats"])}
    experiment = dataclasses.replace(EXPERIMENT, model=model)
    run = evaluate_all(experiment, module, sampled=False)
    means = run(Variables(own, {}), IMAGES, LABELS, KEY)
    x = IMAGES.astype(jnp.float32) / 255
    output = module.apply(own, batch(x))  # with the running statistics, nothing dropped
    np.testing.assert_allclose(
        means["recon"], jnp.mean(bernoulli_nll(output.decoded, x)), rtol=1e-5
    )
    kl = jnp.mean(gaussian_kl(output.aux["mean"], output.aux["logvar"]))
    np.testing.assert_allclose(means["kl"], kl, rtol=1e-5)


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
    module = experiment.model.build(INFO)
    means = evaluate_all(experiment, module)(variables, IMAGES, LABELS, KEY)
    # recon = 1/2 |x - x'|^2 in the data's own units, summed over 16 pixels; a few roundings.
    np.testing.assert_allclose(means["mse"], 2 * means["recon"] / 16 / 81, rtol=1e-5)


@pytest.mark.parametrize("kind, level", [("masking", 0.5), ("gaussian", 0.7), ("salt_pepper", 0.5)])
def test_errors_are_against_the_clean_target(variables, kind, level):
    """The encoder sees a corrupted image; recon and `mse` compare with the one before that."""
    experiment = dataclasses.replace(
        EXPERIMENT, data=Data(batch_size=N, corruption=kind, corruption_level=level)
    )
    means = evaluate_all(experiment)(variables, IMAGES, LABELS, KEY)
    own = noise.Noise(noise.stream(KEY, "evaluate"), 0, jnp.arange(N))
    x = np.float64(IMAGES) / 255
    seen = preprocess(experiment.data, Examples(IMAGES, LABELS, jnp.arange(N)), own, INFO).input
    assert np.mean(np.square(x - seen)) > 0.1
    eps = own.normal("eps", (2,))
    output = MODULE.apply(variables.model, batch(seen, eps))
    recon = np.float64(decoder_mean(output.decoded, "logits"))
    np.testing.assert_allclose(means["mse"], np.mean(np.square(recon - x)), rtol=1e-5)
    expected = np.mean(np.float64(bernoulli_nll(output.decoded, jnp.float32(x))))
    np.testing.assert_allclose(means["recon"], expected, rtol=1e-5)


def test_beta_eff_enters_the_loss(variables):
    objective = Objective(beta=1.0, recon_reduction="mean", kl_reduction="mean")
    experiment = dataclasses.replace(EXPERIMENT, objective=objective)
    means = evaluate_all(experiment)(variables, IMAGES, LABELS, KEY)
    # beta_eff = 16 pixels / 2 latents.
    np.testing.assert_allclose(means["loss"], means["recon"] + 8 * means["kl"], rtol=1e-6)


def test_numbers_take_the_place_of_fields(variables):
    """As for the members of a population, by one program."""
    run = evaluate_all(EXPERIMENT)
    plain = run(variables, IMAGES, LABELS, KEY)
    for beta in (2.0, 0.5):
        means = run(variables, IMAGES, LABELS, KEY, {"objective.beta": jnp.float32(beta)})
        np.testing.assert_allclose(means["loss"], plain["recon"] + beta * plain["kl"], rtol=1e-6)


def test_the_objectives_own_parameters_count(variables):
    experiment = Experiment(
        "learned",
        data=Data(batch_size=4),
        model=dataclasses.replace(EXPERIMENT.model, output="linear"),
        objective=Objective("gaussian_learned"),
    )
    run = evaluate_all(experiment, experiment.model.build(INFO))
    for logvar in (0.0, -2.0):
        at = variables._replace(objective={"logvar": jnp.float32(logvar)})
        means = run(at, IMAGES, LABELS, KEY)
        # 16 pixels, each squared error / (2 variance) and its constant; means of sums.
        squared = 16 * means["mse"] * np.exp(-logvar) / 2
        constant = 16 * gaussian_nll(jnp.zeros((1, 1)), jnp.zeros((1, 1)), logvar)[0]
        np.testing.assert_allclose(means["recon"], squared + constant, rtol=1e-5)


def test_streamed_images_have_the_same_means(variables):
    """10 images in batches of 4, of which the last is half full, read from where they are."""
    images = np.asarray(IMAGES)
    lazy = LazyImages(lambda records: (images[i] for i in records), np.arange(N), SHAPE)
    sums = jax.jit(make_batch_sums(EXPERIMENT, MODULE, INFO))
    streamed = evaluate_streamed(sums, variables, Split(lazy, None), KEY, 4)
    for name, value in evaluate(variables)().items():
        np.testing.assert_allclose(streamed[name], value, rtol=1e-6, err_msg=name)


def test_labels_are_those_of_their_examples(variables):
    class Label(Objective):
        def terms(self, output, batch, params):
            label = batch.label.astype(float)
            return {"loss": label, "recon": label**2, "kl": label**3}

    run = evaluate_all(dataclasses.replace(EXPERIMENT, objective=Label()))
    labels = np.arange(N) ** 2  # in batches of 4, of which the last is half full
    means = run(variables, IMAGES, jnp.asarray(labels), KEY)
    for power, name in enumerate(("loss", "recon", "kl"), start=1):
        np.testing.assert_allclose(means[name], (labels.astype(float) ** power).mean(), rtol=1e-6)


def test_values_that_were_not_observed_do_not_count():
    """Neither in the terms nor in `mse`, which is the mean over those that were."""
    experiment = Experiment(
        "table",
        data=Data(batch_size=4),
        model=Model(hidden_dims=(6,), latent_dim=2, output="linear"),
        objective=Objective("half_mse"),
    )
    x = np.random.default_rng(0).standard_normal((N, 5)).astype(np.float32)
    missing = np.random.default_rng(1).random(x.shape) < 0.3
    missing[:, 0] = False
    info = Info((5,), missing=True)
    module = experiment.model.build(info)
    own = module.init(jax.random.key(1), batch(jnp.zeros((1, 5))))
    run = evaluate_all(experiment, module, sampled=False, info=info)
    means = run(Variables(own, {}), jnp.where(missing, jnp.nan, x), LABELS, KEY)
    seen = jnp.where(missing, 0, x)
    squared = np.square(np.float64(module.apply(own, batch(seen)).decoded) - x) * ~missing
    np.testing.assert_allclose(means["recon"], squared.sum(axis=1).mean() / 2, rtol=1e-5)
    per_value = squared.sum(axis=1) / (~missing).sum(axis=1)
    np.testing.assert_allclose(means["mse"], per_value.mean(), rtol=1e-5)


def test_terms_of_a_batch_and_of_samples_count_once_per_example(variables):
    """A term of shape () is weighted by the batch; the pixel error is the mean over samples."""

    class Several(Objective):
        def outcome(self, model, batch, params):
            return model.draws(batch, 3)

        def terms(self, output, batch, params):
            recon = self.recon(output, batch, params).mean(axis=0)
            return {"loss": recon, "recon": recon, "kl": output.kl[0], "one": jnp.ones(())}

    means = evaluate_all(dataclasses.replace(EXPERIMENT, objective=Several()))(
        variables, IMAGES, LABELS, KEY
    )
    assert means["one"] == 1
    assert all(value.shape == () for value in means.values())
    single = evaluate(variables)()
    assert float(means["kl"]) == pytest.approx(single["kl"], rel=1e-6)
    assert means["mse"] != single["mse"] and abs(means["mse"] / single["mse"] - 1) < 0.5
