"""The effective beta: published losses, written as their sources write them, in one form."""

import itertools
import math

import numpy as np
import pytest

from jaxvae import Experiment, Model, Objective
from jaxvae.models import Output
from jaxvae.objectives import gaussian_kl
from tests.given import batch

pytestmark = pytest.mark.numeric


def test_unit_gaussian_carries_its_constant():
    """The constant of a unit Gaussian over 784 pixels, which some sources log: 720.448 nats."""
    x = np.zeros((1, 28, 28, 1), np.float32)
    output = Output(x, np.zeros((1, 2), np.float32), np.zeros(1, np.float32))
    recon = Objective("gaussian").terms(output, batch(x), {})["recon"]
    np.testing.assert_allclose(recon, [720.448], atol=1e-3)  # the digits of the quoted number


def as_coded(objective, x, decoded, mean, logvar) -> float:
    """The loss as a source would write it, in NumPy float64: reduce pixels, latents, the batch."""
    sigma = objective.sigma
    pixels = {
        "bernoulli": np.logaddexp(0, decoded) - decoded * x,
        "gaussian": (x - decoded) ** 2 / (2 * sigma**2) + math.log(2 * math.pi * sigma**2) / 2,
        "laplace": np.abs(x - decoded) / sigma + math.log(2 * sigma),
        "mse": (x - decoded) ** 2,
        "half_mse": (x - decoded) ** 2 / 2,
    }[objective.likelihood]
    kl = -0.5 * (1 + logvar - mean**2 - np.exp(logvar))
    recon = getattr(np, objective.recon_reduction)(pixels, axis=(1, 2, 3))
    kl = getattr(np, objective.kl_reduction)(kl, axis=1)
    return float(getattr(np, objective.batch_reduction)(recon + objective.beta * kl))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "mse", "half_mse"])
def test_scaled_nats_are_the_loss_as_coded(likelihood):
    rng = np.random.default_rng(3)
    x, decoded = rng.random((2, 6, 4, 4, 3), np.float32)
    mean, logvar = rng.standard_normal((2, 6, 5), np.float32)
    output = Output(decoded, mean, gaussian_kl(mean, logvar))
    doubles = [a.astype(np.float64) for a in (x, decoded, mean, logvar)]
    sigma = 0.5 if likelihood in ("gaussian", "laplace") else 1.0

    for recon, kl, of_batch in itertools.product(("sum", "mean"), repeat=3):
        objective = Objective(likelihood, sigma, 0.7, 0, recon, kl, of_batch)
        beta_eff, scale = objective.beta_eff(48, 5), objective.scale(48, 6)
        terms = objective.terms(output, batch(x), {})
        # Float32 sums of 48 pixels, against float64: a few 1e-7 relative.
        loss = scale * np.mean(terms["recon"] + np.float32(beta_eff) * terms["kl"])
        np.testing.assert_allclose(loss, as_coded(objective, *doubles), rtol=2e-6)
        np.testing.assert_allclose(scale * np.mean(terms["loss"]), loss, rtol=1e-6)


def test_only_a_vae_has_an_effective_beta():
    objective = Objective("mse", recon_reduction="mean")
    ae = Experiment("ae", model=Model("AE", output="sigmoid"), objective=objective)
    vae = Experiment("vae", model=Model("VAE", output="sigmoid"), objective=objective)
    assert ae.beta_eff(784) == 0
    assert math.isclose(vae.beta_eff(784), 392)  # 784 / 2
