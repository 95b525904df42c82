"""Laws of the objectives on the KL: neutral settings, schedules, capacities, free bits."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Objective
from jaxvae.evaluation import make_evaluate
from jaxvae.evaluation.evaluate import make_batch_sums
from jaxvae.models import Output
from jaxvae.training.step import beta_eff_at, make_loss
from jaxvae.variants.kl import Capacity, Cyclical, FreeBits, OptimalSigma
from tests.variants.outputs import BATCH, LATENTS, images, measured, output, outputs
from tests.variants.small import INFO, batch, dataset, small
from tests.variants.test_parts import start

pytestmark = pytest.mark.numeric

# Neutral settings

NEUTRAL: dict[str, dict[str, Any]] = {
    "beta_vae": {"beta": 1.0},
    "warm_up_vae": {},
    "cyclical_vae": {},
    "free_bits_vae": {"free_nats": 0.0},
    "capacity_vae": {"capacity": 0.0, "gamma": 1.0},
    "capacity_per_example_vae": {"capacity": 0.0, "gamma": 1.0},
}


@pytest.mark.slow
@pytest.mark.ci
def test_neutral_settings_are_the_plain_vae():
    """Losses and gradients of all parameters, to the bit, but where the batch's mean is taken: of
    that the mean of the losses is the same, up to rounding."""
    plain = small("beta_vae", beta=1.0)
    variables, given = start(plain), batch(plain)
    loss = make_loss(plain.model.build(INFO))
    params = {"model": variables.model["params"], "objective": {}}
    objectives = {name: small(name, **own).objective for name, own in NEUTRAL.items()}
    objectives |= {  # the schedules at their ends
        "warmed up": objectives["warm_up_vae"].at(jnp.asarray(1000)),
        "risen": objectives["cyclical_vae"].at(jnp.asarray(750)),
    }

    @jax.jit
    def found(params: Any) -> Any:
        every = {"plain": Objective("bernoulli")} | objectives
        return {
            name: jax.value_and_grad(lambda p: loss(p, {}, given, o), has_aux=True)(params)  # noqa: B023
            for name, o in every.items()
        }

    values = found(params)
    (expected, forward), gradient = values.pop("plain")
    assert len(values) == 8
    for name, ((value, own), slope) in values.items():
        if name == "capacity_vae":
            np.testing.assert_allclose(value, expected, rtol=1e-6)
            kl = float(jnp.mean(forward.terms["kl"]))
            np.testing.assert_allclose(own.terms["from_capacity"], kl, rtol=1e-6)
            np.testing.assert_allclose(own.terms["loss"], own.terms["recon"] + kl, rtol=1e-6)
            for a, b in zip(*map(jax.tree.leaves, (slope, gradient)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * float(jnp.abs(b).max()))
            continue
        for term in ("loss", "recon", "kl"):
            np.testing.assert_array_equal(own.terms[term], forward.terms[term], err_msg=name)
        jax.tree.map(np.testing.assert_array_equal, slope, gradient)


# Schedules


def test_beta_rises_in_every_cycle_and_evaluation_has_the_full_one():
    """500 steps, of which beta rises in 250; beta = 4 at its height."""
    objective = Cyclical(beta=4.0, cycle_steps=500, rising=0.5)
    at = jax.jit(lambda step: objective.at(step).beta)
    known = {0: 0, 1: 4 / 250, 125: 2, 249: 4 * 249 / 250, 250: 4, 400: 4, 499: 4}
    for cycle in (0, 1, 7):
        for step, beta in known.items():
            np.testing.assert_allclose(at(500 * cycle + step), beta, rtol=1e-6)
    assert objective.beta == 4
    # Of a cycle that only rises, the last step is one short of the full beta.
    saw = Cyclical(cycle_steps=4, rising=1.0)
    found = [float(saw.at(jnp.asarray(step)).beta) for step in range(6)]
    np.testing.assert_array_equal(found, [0, 0.25, 0.5, 0.75, 0, 0.25])


def test_the_capacity_rises_linearly_and_stays():
    """Beside it the warm-up of beta goes on, which Capacity shares with every objective."""
    objective = Capacity(capacity=8.0, capacity_steps=100, beta=2.0, warmup_steps=10)
    for step, capacity, beta in [(0, 0, 0), (5, 0.4, 1), (50, 4, 2), (100, 8, 2), (10**6, 8, 2)]:
        here = objective.at(jnp.asarray(step))
        np.testing.assert_allclose([here.capacity, here.beta], [capacity, beta], rtol=1e-6)
    assert (objective.capacity, objective.beta) == (8, 2)
    own, given = outputs(), images()
    for step, capacity in ((0, 0.0), (50, 4.0)):
        distance = abs(float(jnp.mean(output(own).kl)) - capacity)
        here = objective.at(jnp.asarray(step))
        found = here.terms(output(own), given, {})
        np.testing.assert_allclose(found["from_capacity"], distance, rtol=1e-5)
        whole = found["recon"] + here.beta * found["kl"] + 30 * distance
        np.testing.assert_allclose(found["loss"], whole, rtol=1e-5)


@pytest.mark.parametrize("name", ["warm_up_vae", "cyclical_vae", "capacity_vae"])
def test_evaluation_has_what_the_schedule_comes_to(name):
    """At the first step of the training it is 0."""
    experiment = small(name)
    sums = make_batch_sums(experiment, experiment.model.build(INFO), INFO)
    x, labels, *_ = dataset(16).train
    evaluate = jax.jit(make_evaluate(sums, 16, across=name == "capacity_vae"))
    found = evaluate(start(experiment), jnp.asarray(x), jnp.asarray(labels), jax.random.key(3))
    first = experiment.objective.at(jnp.asarray(0))
    if name == "capacity_vae":
        added = 30 * abs(float(found["kl"]) - 10)
        assert first.capacity == 0
    else:
        added = float(found["kl"])
        assert first.beta == 0 == beta_eff_at(experiment, 64, 0)
    np.testing.assert_allclose(found["loss"], found["recon"] + added, rtol=1e-5)
    assert added > 0.1


# Capacity and free bits

SIDES = jnp.asarray([1.0, 3.0] * (BATCH // 2))  # KLs below and above a capacity of 2


@pytest.mark.parametrize("per_example", [False, True])
def test_the_capacity_is_the_means_or_that_of_each_example(per_example):
    """The mean is at the capacity, and costs nothing; each example is 1 nat from it. The gradient
    by a KL is gamma / batch times the sign of what is above: below it the KL is pressed up."""
    objective = Capacity(gamma=5.0, capacity=2.0, per_example=per_example)
    given, own = images(), Output(outputs()["decoded"], jnp.zeros((BATCH, LATENTS)), SIDES)
    found = objective.terms(own, given, {})
    assert found["from_capacity"].shape == ((BATCH,) if per_example else ())
    np.testing.assert_allclose(found["from_capacity"], 1.0 if per_example else 0.0, atol=1e-6)
    np.testing.assert_allclose(found["loss"] - found["recon"], 5.0 * per_example, atol=1e-5)
    np.testing.assert_array_equal(found["kl"], SIDES)

    def loss(kl: jax.Array) -> jax.Array:
        return jnp.mean(objective.terms(own._replace(kl=kl), given, {})["loss"])

    for moved in (-0.5, 0.5):
        above = np.sign(SIDES - 2) if per_example else np.sign(moved)
        np.testing.assert_allclose(jax.grad(loss)(SIDES + moved), 5 / BATCH * above, rtol=1e-6)


def with_kl_per_latent(per_latent: jax.Array) -> Output:
    aux = {"kl_per_latent": per_latent}
    return Output(outputs()["decoded"], per_latent, per_latent.sum(axis=1), aux=aux)


@pytest.mark.parametrize("free_nats, beta", [(0.4, 1.0), (0.6, 1.0), (0.6, 3.0)])
def test_free_bits_clamp_the_mean_of_each_latent(free_nats, beta):
    """Latents of (0, 1), (0.7, 0.7) and (0, 0) nats, in turn: their means are 0.5, 0.7 and 0. Were
    every example clamped, the first would cost (free_nats + 1) / 2."""
    per_latent = jnp.asarray([[0.0, 0.7, 0.0], [1.0, 0.7, 0.0]] * (BATCH // 2))
    found = FreeBits(free_nats=free_nats, beta=beta).terms(
        with_kl_per_latent(per_latent), images(), {}
    )
    pressed = max(0.5, free_nats) + 0.7 + free_nats
    added = float(jnp.mean(found["loss"] - found["recon"]))
    assert added == pytest.approx(beta * pressed, rel=1e-5)
    assert added < beta * ((free_nats + 1) / 2 + 0.7 + free_nats) - 0.1
    assert float(found["lacking"]) == pytest.approx(pressed - 1.2, rel=1e-5)
    np.testing.assert_array_equal(found["kl"], per_latent.sum(axis=1))  # logged as it is


def test_clamped_latents_have_no_gradient_at_all():
    """Exactly 0, in batches whose size is a power of two; of the others that of the plain VAE."""
    own, given = outputs(), images()
    shrink = jnp.asarray([[0.1, 1.0, 1.0]])
    own = own | {name: own[name] * shrink for name in ("mean", "logvar")}
    assert output(own).aux["kl_per_latent"][:, 0].max() > 0.005
    _, plain = measured(Objective(), own, given)
    _, gradient = measured(FreeBits(free_nats=0.1), own, given)
    for name in ("mean", "logvar"):
        np.testing.assert_array_equal(gradient[name][:, 0], 0)
        assert (plain[name][:, 0] != 0).all()
        np.testing.assert_array_equal(gradient[name][:, 1:], plain[name][:, 1:])
    np.testing.assert_array_equal(gradient["decoded"], plain["decoded"])


# What is refused


@pytest.mark.parametrize(
    "objective, name, value",
    [
        (Cyclical, "cycle_steps", 1),
        (Cyclical, "rising", 0.0),
        (Cyclical, "rising", 1.5),
        (Cyclical, "warmup_steps", 10),
        (Capacity, "gamma", -1.0),
        (Capacity, "gamma", math.inf),
        (Capacity, "capacity", -0.1),
        (Capacity, "capacity", math.nan),
        (Capacity, "capacity_steps", 0),
        (Capacity, "beta", -1.0),
        (FreeBits, "free_nats", -0.5),
        (FreeBits, "free_nats", math.inf),
        (OptimalSigma, "sigma", 0.5),
        (OptimalSigma, "likelihood", "bernoulli"),
    ],
)
def test_wrong_settings_are_refused_by_name(objective, name, value):
    with pytest.raises(ValueError, match=rf"^objective\.{name} = {value!r}: must be "):
        objective(**{name: value})


@pytest.mark.parametrize("name", ["flow_vae", "vamp_prior_vae", "two_layer_vae"])
def test_free_bits_need_latents_with_a_kl_each(name):
    experiment = replace(small(name), objective=FreeBits())
    module = experiment.model.build(INFO)
    loss = make_loss(module)

    def whole(variables: Any) -> Any:
        params = {"model": variables.model["params"], "objective": {}}
        return loss(params, {}, batch(experiment), experiment.objective)

    with pytest.raises(ValueError, match=r"free bits need .* prior N\(0, I\)"):
        jax.eval_shape(whole, start(experiment))
