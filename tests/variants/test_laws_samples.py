"""Laws of bounds of several samples, in a linear-Gaussian model of which all is known."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxvae import Model, Objective
from jaxvae.training.step import make_loss
from jaxvae.variants.samples import CIWAE, IWAE, MIWAE, PIWAE, STL, DReG, Renyi, SeveralSamples
from tests.variants.linear_gaussian import (
    ELBO_OF_PRIOR,
    LOG_P,
    NUMBER,
    OTHER,
    POSTERIOR,
    PRIOR,
    bound_of_two,
    draws,
    gaussian,
    mean_and_error,
    measure,
    of_samples,
    parameters,
)
from tests.variants.small import INFO, batch, small
from tests.variants.test_parts import start

pytestmark = pytest.mark.numeric

NAMES = [*of_samples(1)]


def assert_same(found: Any, expected: Any, names: tuple[str, ...]) -> None:
    """Losses and the gradients of these parameters, to the bit."""
    np.testing.assert_array_equal(found.terms["loss"], expected.terms["loss"])
    for name in names:
        own, other = found.gradient[name], expected.gradient[name]
        jax.tree.map(np.testing.assert_array_equal, own, other)


ALL = ("mean", "logvar", "decoder")


# Values


@pytest.mark.parametrize("samples", [1, 2, 32])
@pytest.mark.parametrize("name", NAMES)
def test_at_the_posterior_every_draw_gives_log_p(name, samples):
    """All weights are equal. log p(1) = -1.515512."""
    loss = measure(of_samples(samples)[name], parameters(*POSTERIOR)).terms["loss"]
    # A handful of numbers below 10, rounded to 5e-7 each.
    np.testing.assert_allclose(loss, np.full(NUMBER, -LOG_P), atol=4e-6)


BOUNDS_OF_TWO = {
    "k_sample": lambda log_w: log_w.mean(axis=0),
    "iwae": lambda log_w: special.logsumexp(log_w, axis=0) - math.log(2),
    "renyi": lambda log_w: 2 * (special.logsumexp(0.5 * log_w, axis=0) - math.log(2)),
}
BOUNDS_OF_TWO |= {
    "stl": BOUNDS_OF_TWO["iwae"],
    "dreg": BOUNDS_OF_TWO["iwae"],
    "miwae": BOUNDS_OF_TWO["iwae"],  # of 32 samples, in pairs
    "ciwae": lambda log_w: (
        0.25 * BOUNDS_OF_TWO["k_sample"](log_w) + 0.75 * BOUNDS_OF_TWO["iwae"](log_w)
    ),
}


@pytest.mark.parametrize("name", BOUNDS_OF_TWO)
def test_bounds_of_two_samples_have_their_expectation(name):
    """By quadrature in float64, with the prior and another Gaussian as q, and with a beta, which
    weighs log q - log p inside the weights."""
    objective = of_samples(32 if name == "miwae" else 2)[name]
    for q, beta in ((PRIOR, 1.0), (OTHER, 1.0), (OTHER, 3.0)):
        expected = bound_of_two(BOUNDS_OF_TWO[name], *q, beta)
        found = measure(replace(objective, beta=beta), parameters(*q)).terms["loss"]
        value, error = mean_and_error(found)
        assert abs(value + expected) < 5 * error < 0.1
        if beta == 1 and name != "k_sample":
            assert expected < LOG_P and (q != PRIOR or expected > ELBO_OF_PRIOR + 0.1)


def test_bounds_are_ordered_in_the_mean():
    """With q the prior: the ELBO is -1.918939, however many samples; more samples tighten, and what
    lies between ELBO and IWAE stays between; all below log p(1) = -1.515512."""

    def of(number: int, *names: str) -> Any:
        every = of_samples(number)
        found = [measure(every[name], parameters(*PRIOR)).terms["loss"] for name in names]
        return [mean_and_error(-loss) for loss in found]

    elbos = of(1, "iwae") + of(2, "k_sample") + of(32, "k_sample")
    for value, error in elbos:
        assert abs(value - ELBO_OF_PRIOR) < 5 * error
    for rising in (
        elbos[2:] + of(32, "renyi", "iwae"),
        elbos[2:] + of(32, "ciwae", "iwae"),
        elbos[2:] + of(32, "miwae", "iwae"),
        elbos[:1] + of(2, "iwae") + of(32, "iwae"),
    ):
        for (lower, _), (upper, error) in pairwise(rising):
            assert lower + 5 * error < upper < LOG_P + 5 * error


@pytest.mark.parametrize("beta", [1.0, 2.0, 0.0])
@pytest.mark.parametrize("name", ["k_sample", "iwae", "miwae", "piwae", "ciwae", "renyi"])
def test_beta_enters_the_weights(name, beta):
    """log w = log p(x|z) - beta (log q - log p) at each sample, no analytic KL; recon and kl are
    logged as means over the samples, unweighted."""
    params = parameters(*OTHER)
    output = jax.tree.map(lambda x: np.asarray(x, np.float64), draws(params, 32))
    recon = 0.5 * np.square(1 - output.decoded[..., 0]) + 0.5 * math.log(2 * math.pi)
    log_w = -recon - beta * output.log_ratio
    iwae = special.logsumexp(log_w, axis=0) - math.log(32)
    pairs = special.logsumexp(log_w.reshape(16, 2, -1), axis=1) - math.log(2)
    expected = {
        "k_sample": log_w.mean(axis=0),
        "iwae": iwae,
        "miwae": pairs.mean(axis=0),
        "piwae": iwae,
        "ciwae": 0.25 * log_w.mean(axis=0) + 0.75 * iwae,
        "renyi": 2 * (special.logsumexp(0.5 * log_w, axis=0) - math.log(32)),
    }
    found = measure(replace(of_samples(32)[name], beta=beta), params).terms
    np.testing.assert_allclose(-found["loss"], expected[name], rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(found["recon"], recon.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["kl"], output.log_ratio.mean(axis=0), atol=2e-6)
    if name == "piwae":
        np.testing.assert_allclose(-found["encoder_loss"], expected["miwae"], rtol=1e-5, atol=2e-6)


# Neutral settings


@dataclass(frozen=True)
class OneSample(Objective):
    """The plain VAE, whose KL is a sample of it."""

    def terms(self, output: Any, batch: Any, params: Any) -> dict[str, Any]:
        return super().terms(output._replace(kl=output.log_ratio), batch, params)


@pytest.mark.parametrize("name", NAMES)
def test_one_sample_is_the_vae_to_the_bit(name):
    """Losses and gradients; those of STL and DReG for q are other ones, with the same mean."""
    params = parameters(*OTHER)
    vae = measure(gaussian(OneSample()), params)
    found = measure(of_samples(1)[name], params)
    sharp = name in ("stl", "dreg")
    assert_same(found, vae, ("decoder",) if sharp else ALL)
    for term in ("recon", "kl"):
        # STL's log q is computed anew, from the same numbers.
        np.testing.assert_allclose(found.terms[term], vae.terms[term], rtol=1e-6, atol=1e-6)
    assert sharp == bool((found.gradient["mean"] != vae.gradient["mean"]).any())


NEUTRAL = [
    (MIWAE(samples=1, repeats=2), "k_sample"),
    (MIWAE(samples=2, repeats=1), "iwae"),
    (CIWAE(samples=2, elbo_weight=1.0), "k_sample"),
    (CIWAE(samples=2, elbo_weight=0.0), "iwae"),
    (Renyi(samples=2, alpha=0.0), "iwae"),
    (PIWAE(samples=2, repeats=1), "iwae"),
]


@pytest.mark.parametrize("objective, other", NEUTRAL, ids=lambda x: x if x in NAMES else repr(x))
def test_neutral_settings_are_simpler_bounds_to_the_bit(objective, other):
    params = parameters(*OTHER)
    found, expected = measure(gaussian(objective), params), measure(of_samples(2)[other], params)
    assert_same(found, expected, ALL)


def test_renyi_tends_to_the_mean_elbo():
    """Loss and gradients, as fast as 1 - alpha."""
    params = parameters(*OTHER)
    limit = measure(of_samples(32)["k_sample"], params)
    apart = []
    for alpha in (0.9, 0.99):
        found = measure(gaussian(Renyi(samples=32, alpha=alpha)), params)
        own, other = ((m.terms["loss"], *jax.tree.leaves(m.gradient)) for m in (found, limit))
        apart.append([float(jnp.abs(a - b).mean()) for a, b in zip(own, other, strict=True)])
    for far, near in zip(*apart, strict=True):
        assert near < 0.02 and near == pytest.approx(far / 10, rel=0.1)


# What is refused


@pytest.mark.parametrize(
    "objective, name, value",
    [
        *((objective, "samples", 0) for objective in (SeveralSamples, IWAE, MIWAE, PIWAE, DReG)),
        (MIWAE, "repeats", 0),
        (PIWAE, "repeats", -1),
        (CIWAE, "elbo_weight", 1.5),
        (CIWAE, "elbo_weight", -0.1),
        (Renyi, "alpha", 1.0),
        (Renyi, "alpha", math.nan),
        (Renyi, "alpha", -math.inf),
        (STL, "beta", -1.0),
    ],
)
def test_wrong_settings_are_refused_by_name(objective, name, value):
    with pytest.raises(ValueError, match=rf"^objective\.{name} = {value!r}: must be "):
        objective(**{name: value})


def traced(experiment: Any) -> Any:
    """The training's loss, whose shapes alone are computed."""
    loss, given = make_loss(experiment.model.build(INFO)), batch(experiment)

    def whole(variables: Any) -> Any:
        collections = {k: v for k, v in variables.model.items() if k != "params"}
        params = {"model": variables.model["params"], "objective": {}}
        return loss(params, collections, given, experiment.objective)

    return jax.eval_shape(whole, start(experiment))


@pytest.mark.parametrize("objective", [STL(), DReG()], ids=["stl", "dreg"])
@pytest.mark.parametrize("name", ["flow_vae", "vamp_prior_vae", "two_layer_vae", "joint_vae"])
def test_sharp_gradients_need_a_gaussian_posterior_and_the_usual_prior(name, objective):
    """A flow's density is not that of its base, nor a learned prior's that of N(0, I)."""
    experiment = replace(small(name), objective=objective)
    with pytest.raises(ValueError, match=r"needs a Gaussian posterior and the prior N\(0, I\)"):
        traced(experiment)
    if name != "joint_vae":
        traced(replace(experiment, objective=IWAE()))  # whose gradient is what it is


@pytest.mark.parametrize("name", ["ae", "vq_vae"])
def test_bounds_need_a_density(name):
    """Without one there is no weight: not that of the reconstruction alone."""
    experiment = small("iwae" if name == "ae" else name)
    if name == "ae":
        experiment = replace(experiment, model=Model("AE", hidden_dims=(12,), latent_dim=3))
    with pytest.raises(ValueError, match="bounds of samples need a posterior"):
        traced(replace(experiment, objective=IWAE()))
