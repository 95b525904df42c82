"""Gradients of bounds of several samples: their means, their noise, and whom each part follows."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxvae.training.step import make_loss
from jaxvae.variants.samples import IWAE, MIWAE, PIWAE, DReG
from tests.variants.linear_gaussian import (
    OTHER,
    POSTERIOR,
    bound_of_two,
    mean_and_error,
    measure,
    of_samples,
    parameters,
)
from tests.variants.small import INFO, batch, small
from tests.variants.test_parts import start

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", ["piwae", "stl", "dreg"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_learned"])
def test_loss_and_decoder_are_the_iwaes(name, likelihood):
    """Also what a learned likelihood has; the encoder of PIWAE follows the MIWAE."""
    params = parameters(*OTHER)
    own = {"logvar": jnp.asarray(-0.3)} if likelihood == "gaussian_learned" else {}

    def measured(name: str) -> Any:
        return measure(replace(of_samples(32)[name], likelihood=likelihood), params, own)

    found, iwae = measured(name), measured("iwae")
    assert float(jnp.abs(iwae.gradient["decoder"]["scale"]).mean()) > 0.1
    if name == "stl":  # computes log q anew
        np.testing.assert_allclose(found.terms["loss"], iwae.terms["loss"], rtol=1e-6)
    else:
        np.testing.assert_array_equal(found.terms["loss"], iwae.terms["loss"])
    compared = [(found.gradient["decoder"], iwae.gradient["decoder"])]
    compared += [(found.of_objective, iwae.of_objective)]
    for a, b in zip(*map(jax.tree.leaves, zip(*compared, strict=True)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    encoder = measured("miwae") if name == "piwae" else iwae
    for part in ("mean", "logvar"):
        a, b = found.gradient[part], encoder.gradient[part]
        if name == "piwae":
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert (jnp.abs(a - iwae.gradient[part]) > 1e-3).mean() > 0.9
        else:
            assert (jnp.abs(a - b) > 1e-5).mean() > 0.9


@pytest.mark.parametrize("samples", [1, 2, 32])
def test_at_the_posterior_sharp_gradients_are_zero_for_every_draw(samples):
    """Up to rounding; the IWAE's is 0 on average alone."""
    for name in ("stl", "dreg", "iwae"):
        found = measure(of_samples(samples)[name], parameters(*POSTERIOR)).gradient
        for part in ("mean", "logvar"):
            if name == "iwae":
                value, error = mean_and_error(found[part])
                assert abs(value) < 5 * error and float(found[part].std()) > 0.05
            else:
                np.testing.assert_allclose(found[part], np.zeros_like(found[part]), atol=1e-6)


def iwae_of_two(log_w: np.ndarray) -> np.ndarray:
    return special.logsumexp(log_w, axis=0) - math.log(2)


def slopes(mean: float, var: float, beta: float) -> dict[str, float]:
    """Of minus the expected IWAE bound of two samples, by mean and logvar: central differences."""
    h = 1e-4

    def of(by_mean: float, by_logvar: float) -> float:
        at = (mean + by_mean, var * math.exp(by_logvar))
        return -bound_of_two(iwae_of_two, *at, beta)

    return {
        "mean": (of(h, 0) - of(-h, 0)) / (2 * h),
        "logvar": (of(0, h) - of(0, -h)) / (2 * h),
    }


@pytest.mark.parametrize("beta", [1.0, 0.25, 3.0])
def test_dreg_has_no_bias_and_stl_has(beta):
    """Against the gradient of the expectation, which quadrature gives: the IWAE's and the DReG's
    means are within 5 standard errors of it, and STL's is not, with two samples; with one it is."""
    expected = slopes(*OTHER, beta)
    params = parameters(*OTHER)
    for part, slope in expected.items():
        for name in ("iwae", "dreg", "stl"):
            found = measure(replace(of_samples(2)[name], beta=beta), params).gradient
            value, error = mean_and_error(found[part])
            assert error < 0.05
            if name == "stl":
                assert abs(value - slope) > 5 * error
            else:
                assert abs(value - slope) < 5 * error
    found = measure(replace(of_samples(1)["stl"], beta=beta), params).gradient
    (mean, var), (value, error) = OTHER, mean_and_error(found["mean"])
    assert abs(value - ((1 + beta) * mean - 1)) < 5 * error
    value, error = mean_and_error(found["logvar"])
    assert abs(value - 0.5 * ((1 + beta) * var - beta)) < 5 * error


def test_dregs_gradient_keeps_above_its_noise_as_k_grows():
    """Its mean is the IWAE's within 5 standard errors of their difference, its variance smaller,
    the more so the larger K; the IWAE's signal falls below its noise (Rainforth et al. 2018b,
    arXiv:1802.04537: as 1 / sqrt K), DReG's rises (Tucker et al. 2019: as sqrt K)."""
    for part in ("mean", "logvar"):
        ratios, signals = [], []
        for samples in (1, 2, 32):
            every = of_samples(samples)
            iwae, dreg = (
                np.asarray(measure(every[name], parameters(*OTHER)).gradient[part], np.float64)
                for name in ("iwae", "dreg")
            )
            value, error = mean_and_error(iwae - dreg)
            assert abs(value) < 5 * error
            ratios.append(dreg.var() / iwae.var())
            signals.append([abs(dreg.mean()) / g.std() for g in (iwae, dreg)])
        assert 1 > ratios[0] > 2 * ratios[1] > 20 * ratios[2]
        (first, sharp), _, (last, sharper) = signals
        assert last < first / 2 and sharper > 2 * sharp


@pytest.mark.slow
@pytest.mark.ci
def test_encoder_and_decoder_of_a_model_follow_their_bounds():
    """Through the training's own loss, of a network: both heads belong to the encoder."""
    objectives = {
        "iwae": IWAE(samples=4),
        "miwae": MIWAE(samples=2, repeats=2),
        "piwae": PIWAE(samples=2, repeats=2),
        "one": PIWAE(samples=4, repeats=1),
        "dreg": DReG(samples=4),
    }
    experiment = small("iwae")
    given, loss = batch(experiment), make_loss(experiment.model.build(INFO))
    params = {"model": start(experiment).model["params"], "objective": {}}

    @jax.jit
    def found(params: Any) -> Any:
        return {
            name: jax.grad(lambda p: loss(p, {}, given, o), has_aux=True)(params)  # noqa: B023
            for name, o in objectives.items()
        }

    values = found(params)
    gradients = {name: gradient["model"] for name, (gradient, _) in values.items()}
    assert gradients["iwae"].keys() == {"encoder", "decoder", "mean", "logvar"}
    for name, encoder in [("piwae", "miwae"), ("one", "iwae"), ("dreg", "")]:
        loss_of, iwae = (values[n][1].terms["loss"] for n in (name, "iwae"))
        np.testing.assert_allclose(loss_of, iwae, rtol=1e-6)
        for part, own in gradients[name].items():
            of = "iwae" if part == "decoder" else encoder
            for a, b in zip(
                *map(jax.tree.leaves, (own, gradients[of or "iwae"][part])), strict=True
            ):
                size = float(jnp.abs(b).max())
                if of:
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * size)
                else:
                    assert float(jnp.abs(a - b).max()) > 1e-3 * size


@pytest.mark.slow
@pytest.mark.ci
def test_two_ways_through_the_decoder_cost_one_gradient_more():
    """Of the three products of a layer, its output, the kernel's gradient and the input's, only
    the last is there twice: 4/3 of the IWAE's, where nothing but a wide decoder costs much."""
    experiment = small("iwae")
    experiment = replace(experiment, model=replace(experiment.model, hidden_dims=(256,)))
    given, loss = batch(experiment), make_loss(experiment.model.build(INFO))
    params = {"model": start(experiment).model["params"], "objective": {}}

    def flops(objective: Any) -> float:
        def step(params: Any, number: jax.Array) -> tuple[Any, None]:
            drawn = replace(given, noise=replace(given.noise, step=number))
            gradient = jax.grad(loss, has_aux=True)(params, {}, drawn, objective)[0]
            return jax.tree.map(jnp.subtract, params, gradient), None

        loop = jax.jit(lambda params: jax.lax.scan(step, params, jnp.arange(3)))
        return loop.lower(params).compile().cost_analysis()["flops"]

    iwae = flops(IWAE(samples=8))
    for objective in (DReG(samples=8), PIWAE(samples=4, repeats=2)):
        assert 1.2 < flops(objective) / iwae < 1.4
