"""Laws of the objective whose critic tells codes from draws of the prior."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.variants.adversarial import Adversarial
from tests.variants.small import BATCH, INFO, batch, small
from tests.variants.terms import fixed, start

pytestmark = pytest.mark.numeric

CODES = np.random.default_rng(0).standard_normal((BATCH, 3)) * 2 + (3.0, 0.0, -1.0)
LINEAR = {"critic": {"Dense_0": {"kernel": jnp.ones((3, 1)) / 2, "bias": jnp.ones(1) / 4}}}


def test_a_critic_that_cannot_tell_has_log_two_twice_to_lose():
    output, given = fixed(CODES)
    zero = jax.tree.map(jnp.zeros_like, LINEAR)
    found = Adversarial("gaussian", widths=()).terms(output, given, zero)
    assert float(found["adversarial"]) == pytest.approx(math.log(2), rel=1e-6)
    assert float(found["critic"]) == pytest.approx(2 * math.log(2), rel=1e-6)


def test_the_critic_says_how_likely_a_code_is_a_draw_of_the_prior():
    """A linear one, by hand: adversarial = -log D(z), critic = -log D(z') - log(1 - D(z))."""
    output, given = fixed(CODES)
    objective = Adversarial("gaussian", weight=7.0, widths=())
    found = objective.terms(output, given, LINEAR)

    def log_d(codes: Any, sign: int) -> float:
        logits = np.float64(codes).sum(axis=1) / 2 + 0.25
        return -np.log1p(np.exp(-sign * logits)).mean()

    prior = given.noise.normal("prior", (3,))
    assert float(found["adversarial"]) == pytest.approx(-log_d(CODES, 1), rel=1e-5)
    critic = -log_d(prior, 1) - log_d(CODES, -1)
    assert float(found["critic"]) == pytest.approx(critic, rel=1e-5)
    loss = found["recon"] + 7 * found["adversarial"]
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    both = found["loss"] + found["critic"]
    np.testing.assert_array_equal(objective.minimised(found), both)


def test_the_loss_trains_the_model_alone_and_the_critics_loss_the_critic_alone():
    experiment = small("aae")
    module, objective = experiment.model.build(INFO), experiment.objective
    variables, given = start(experiment), batch(experiment)

    def mean(params: Any, term: str) -> jax.Array:
        output = module.apply({"params": params["model"]}, given)
        return jnp.mean(objective.terms(output, given, params["objective"])[term])

    @jax.jit
    def gradients(params: Any) -> Any:
        return [jax.grad(mean)(params, term) for term in ("loss", "critic")]

    params = {"model": variables.model["params"], "objective": variables.objective}
    loss, critic = gradients(params)
    for held in (loss["objective"], critic["model"]):
        assert not any(leaf.any() for leaf in jax.tree.leaves(held))
    for moved in (loss["model"], critic["objective"]):
        assert all(leaf.any() for leaf in jax.tree.leaves(moved))
