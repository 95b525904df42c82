"""Laws that the variants obey: neutral settings, bounds, decompositions, known values."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model, noise
from jaxvae.batch import Batch
from jaxvae.evaluation import has_terms_across, make_batch_sums, make_evaluate
from jaxvae.models import Bound, Output
from jaxvae.models.flows import invertible, planar
from jaxvae.objectives import gaussian_kl, gaussian_log_density
from jaxvae.runs import load_experiment
from jaxvae.training.state import initial_state
from jaxvae.training.step import make_loss
from jaxvae.variants.adversarial import permute_latents
from tests.variants.small import BATCH, FILES, INFO, NAMES, ROOT, batch, dataset, small

pytestmark = pytest.mark.numeric


def compiled(experiment: Any) -> Any:
    """`terms(variables, batch)` of the experiment's objective."""
    module, objective = experiment.model.build(INFO), experiment.objective

    @jax.jit
    def terms(variables: Any, given: Batch) -> dict[str, Any]:
        output = objective.outcome(Bound(module, variables.model), given, variables.objective)
        return objective.terms(output, given, variables.objective)

    return terms


def terms(experiment: Any, variables: Any, given: Batch) -> dict[str, Any]:
    return compiled(experiment)(variables, given)


def start(experiment: Any) -> Any:
    return initial_state(experiment, experiment.model.build(INFO), INFO).variables


def plain(name: str, **model: Any) -> Any:
    """The variant's experiment with the plain VAE in its place."""
    experiment = small(name)
    settings = Model(hidden_dims=experiment.model.hidden_dims, latent_dim=3, **model)
    return replace(experiment, model=settings, objective=load_experiment(DIGITS).objective)


DIGITS = ROOT / "experiments" / "digits_vae.py"


def test_iwae_with_one_sample_is_the_vae_whose_kl_is_a_sample():
    experiment, other = small("iwae", samples=1), plain("iwae")
    variables = start(experiment)
    given = batch(experiment)
    found, vae = terms(experiment, variables, given), terms(other, variables, given)
    np.testing.assert_array_equal(found["recon"], vae["recon"])  # the same draw, to the bit
    output = other.model.build(INFO).apply(variables.model, given)
    np.testing.assert_allclose(found["kl"], output.log_ratio, atol=1e-5)  # a difference of sums
    np.testing.assert_allclose(found["loss"], found["recon"] + found["kl"], rtol=1e-6)


@pytest.mark.slow
@pytest.mark.ci
def test_more_samples_tighten_the_bound():
    """E L_1 <= E L_5 <= E L_50: by means over many draws, at an untrained model."""
    variables = start(small("iwae"))
    means = []
    for samples in (1, 5, 50):
        experiment = small("iwae", samples=samples)
        of_step = compiled(experiment)
        losses = [of_step(variables, batch(experiment, step))["loss"] for step in range(20)]
        means.append(float(jnp.mean(jnp.stack(losses))))
    assert means[0] > means[1] > means[2]


class LinearGaussian:
    """p(z) = N(0, 1), p(x|z) = N(z, 1), q = N(mean, var) whatever x is."""

    def __init__(self, mean: float, var: float):
        self.mean, self.logvar = jnp.asarray([mean]), jnp.log(jnp.asarray([var]))

    def draws(self, given: Batch, number: int) -> Output:
        def one(draw: jax.Array) -> Output:
            eps = given.another(draw).noise.normal("eps", (1,))
            z = self.mean[None] + jnp.exp(0.5 * self.logvar)[None] * eps
            log_q = gaussian_log_density(z, self.mean, self.logvar)
            return Output(z, z, None, log_q - gaussian_log_density(z))

        return jax.vmap(one)(jnp.arange(number))


@pytest.mark.parametrize("samples", [1, 4, 32])
def test_linear_gaussian_model_gives_log_p_exactly(samples):
    """log p(1) = log N(1; 0, 2) = -1.515512; with q = N(1/2, 1/2), the posterior, all weights are
    equal, so that every draw gives it."""
    experiment = load_experiment(FILES["iwae"])
    objective = replace(experiment.objective, likelihood="gaussian", samples=samples)
    x = jnp.ones((2000, 1))
    own = noise.Noise(noise.root(0), 0, jnp.arange(2000))
    given = Batch(x, x, jnp.full(2000, -1), None, own, INFO)

    def bound(model: LinearGaussian) -> np.ndarray:
        return -np.asarray(objective.terms(objective.outcome(model, given, {}), given, {})["loss"])

    np.testing.assert_allclose(bound(LinearGaussian(0.5, 0.5)), -1.515512, atol=3e-6)
    loose = bound(LinearGaussian(0.0, 1.0))  # the ELBO is -1.918939
    error = loose.std() / math.sqrt(len(loose))
    if samples == 1:
        assert abs(loose.mean() + 1.918939) < 5 * error
    else:
        assert -1.918939 + 5 * error < loose.mean() < -1.515512 + 5 * error


@pytest.mark.slow
@pytest.mark.ci
def test_factor_vae_without_gamma_is_the_plain_vae_to_the_bit():
    """Losses and the gradient of every parameter of the model."""
    experiment, other = small("factor_vae", gamma=0.0), plain("factor_vae")
    variables, given = start(experiment), batch(small("factor_vae"))
    found, vae = terms(experiment, variables, given), terms(other, variables, given)
    np.testing.assert_array_equal(found["loss"], vae["loss"])

    def gradient(own: Any) -> Any:
        loss = make_loss(own.model.build(INFO))
        params = {"model": variables.model["params"], "objective": variables.objective}
        of_params = jax.grad(lambda params: loss(params, {}, given, own.objective)[0])
        return jax.jit(of_params)(params)["model"]

    for a, b in zip(*map(jax.tree.leaves, (gradient(experiment), gradient(other))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * float(jnp.abs(b).max()))


def test_a_perfect_critic_has_log_two_to_lose():
    """A critic that says 1/2 everywhere: its cross-entropy is log 2, the total correlation 0."""
    experiment = small("factor_vae")
    variables = start(experiment)
    zero = jax.tree.map(jnp.zeros_like, variables.objective["critic"])
    variables = variables._replace(objective={"critic": zero})
    found = terms(experiment, variables, batch(experiment))
    assert float(found["critic"]) == pytest.approx(math.log(2), rel=1e-6)
    assert float(found["tc"]) == 0


def test_latents_are_permuted_each_by_itself():
    z = jnp.arange(BATCH * 3.0).reshape(BATCH, 3)
    found = np.asarray(permute_latents(jax.random.key(0), z))
    np.testing.assert_array_equal(np.sort(found, axis=0), z)
    orders = np.argsort(found, axis=0)
    assert not any((orders[:, i] == orders[:, j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))


def test_without_layers_the_flow_is_the_vae():
    experiment = small("flow_vae")
    experiment = replace(experiment, model=replace(experiment.model, layers=0))
    variables, given = start(experiment), batch(experiment)
    params = {n: v for n, v in variables.model["params"].items() if n not in ("u", "w", "b")}
    other = plain("flow_vae")
    output = other.model.build(INFO).apply({"params": params}, given)
    found = experiment.model.build(INFO).apply(variables.model, given)
    np.testing.assert_array_equal(found.z, output.z)
    np.testing.assert_allclose(found.kl, output.log_ratio, atol=1e-5)


def test_planar_layer_has_its_known_value_and_determinant():
    z, u, w, b = (jnp.asarray(v) for v in ((1.0, 2.0), (0.5, -0.25), (1.0, 1.0), 0.1))
    f, log_det = planar(z, u, w, b)
    np.testing.assert_allclose(f, (1.497975, 1.751013), atol=1e-6)
    assert float(log_det) == pytest.approx(0.00201918, rel=1e-4)
    for seed in range(5):
        z, u, w = jax.random.normal(jax.random.key(seed), (3, 4)) * 2
        u = invertible(u, w)
        assert float(u @ w) > -1
        jacobian = jax.jacfwd(lambda z: planar(z, u, w, b)[0])(z)  # noqa: B023
        sign, expected = jnp.linalg.slogdet(jacobian)
        assert float(sign) == 1
        np.testing.assert_allclose(planar(z, u, w, b)[1], expected, atol=1e-5)


@pytest.mark.parametrize("components", [1, 3])
def test_pseudo_inputs_whose_posterior_is_the_prior_give_the_plain_vae(components):
    """With heads of zeros every posterior is N(0, I), and so is the mixture: the KL is 0."""
    experiment = small("vamp_prior_vae")
    experiment = replace(experiment, model=replace(experiment.model, components=components))
    variables = start(experiment)
    params = variables.model["params"]
    zero = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in ("mean", "logvar")}
    found = terms(
        experiment, variables._replace(model={"params": params | zero}), batch(experiment)
    )
    np.testing.assert_allclose(found["kl"], 0, atol=1e-5)
    np.testing.assert_allclose(found["loss"], found["recon"], rtol=1e-6)


def test_the_vamp_prior_is_drawn_from_its_components():
    """Posteriors far from N(0, I): draws are near them; those of N(0, I) would not be."""
    experiment = small("vamp_prior_vae")
    variables, module = start(experiment), experiment.model.build(INFO)
    params = variables.model["params"]
    params = params | {"mean": params["mean"] | {"bias": jnp.full(3, 7.0)}}
    own = noise.Noise(noise.root(0), 0, jnp.arange(500))
    given = Batch(None, None, jnp.full(500, -1), None, own, INFO)
    z = module.apply({"params": params}, given, method="prior")
    assert float(jnp.abs(z.mean(0) - 7).max()) < 1
    assert float(z.std()) > 0.5


def test_the_kl_of_two_layers_is_their_sum_and_log_ratio_telescopes():
    """log_ratio = log q(z1|x) - log p(z1|z2) + log q(z2|z1) - log p(z2); where q(z2|z1) = p(z2) the
    upper layer adds nothing."""
    experiment = small("two_layer_vae")
    variables, given = start(experiment), batch(experiment)
    module = experiment.model.build(INFO)
    output = module.apply(variables.model, given)
    found = terms(experiment, variables, given)
    both = output.kl["z1"] + output.kl["z2"]
    np.testing.assert_allclose(found["kl"], both, atol=1e-5)  # differences of sums of some 10
    params = variables.model["params"]
    q2 = jax.tree.map(jnp.zeros_like, params["q2"])
    output = module.apply({"params": params | {"q2": q2}}, given)
    np.testing.assert_allclose(output.kl["z2"], 0, atol=1e-6)
    np.testing.assert_allclose(output.log_ratio, output.kl["z1"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_codebook_moves_after_use_as_the_formula_says():
    experiment = small("vq_vae")
    variables, given = start(experiment), batch(experiment)
    module = experiment.model.build(INFO)
    before = jax.tree.map(np.asarray, variables.model["codebook"])
    output, moved = module.apply(variables.model, given, train=True, mutable=["codebook"])
    features = module.apply(variables.model, given, method="features")
    projection = variables.model["params"]["projection"]
    z = np.asarray(features) @ np.asarray(projection["kernel"]) + np.asarray(projection["bias"])
    z = z.reshape(-1, 3)
    index = np.square(z[:, None] - before["codes"]).sum(-1).argmin(1)
    np.testing.assert_array_equal(np.ravel(output.aux["indices"]), index)
    counts, sums = 0.99 * before["counts"], 0.99 * before["sums"]
    for i, row in zip(index, z, strict=True):
        counts[i] += 0.01
        sums[i] += 0.01 * row
    after = moved["codebook"]
    np.testing.assert_allclose(after["counts"], counts, rtol=1e-5)
    np.testing.assert_allclose(after["sums"], sums, rtol=1e-4, atol=1e-5)
    smoothed = (counts + 1e-5) / (counts.sum() + 5e-5) * counts.sum()
    np.testing.assert_allclose(after["codes"], sums / smoothed[:, None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.ravel(output.z), np.ravel(before["codes"][index]), atol=1e-5)
    assert 1 <= float(output.aux["perplexity"]) <= 5


ACROSS = {
    *("capacity_vae", "free_bits_vae", "optimal_sigma_vae"),
    *("beta_tc_vae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae", "wae_mmd", "swae", "aae"),
    *("vq_vae", "vq_vae_restart", "vq_vae_gradient", "residual_vq_vae", "fsq_vae"),
    *("joint_vae", "cifar_vq_vae"),
}


@pytest.mark.parametrize("name", NAMES)
def test_which_objectives_look_across_the_batch(name):
    experiment = small(name)
    found = has_terms_across(experiment, experiment.model.build(INFO), INFO)
    assert found == (name in ACROSS)


def test_terms_across_the_batch_see_no_padding():
    """Of 40 examples in batches of 16 the first 32 count, and the copies that fill up none."""
    experiment = small("factor_vae")
    variables, module = start(experiment), experiment.model.build(INFO)
    sums = make_batch_sums(experiment, module, INFO)
    images, labels, *_ = dataset(48).train
    evaluate = jax.jit(make_evaluate(sums, BATCH, across=True))
    key = noise.root(3)
    found = evaluate(variables, jnp.asarray(images[:40]), jnp.asarray(labels[:40]), key)
    known = evaluate(variables, jnp.asarray(images[:32]), jnp.asarray(labels[:32]), key)
    assert found.keys() == known.keys() >= {"tc", "critic"}
    for term in known:
        np.testing.assert_allclose(found[term], known[term], rtol=1e-6)
    padded = jax.jit(make_evaluate(sums, BATCH))
    other = padded(variables, jnp.asarray(images[:40]), jnp.asarray(labels[:40]), key)
    assert abs(float(other["loss"] - known["loss"])) > 1e-3  # so that the above can fail


def test_gaussian_densities_agree_with_the_kl():
    """KL = E_q[log q - log p]: the closed form against the mean over many draws."""
    mean, logvar = jnp.asarray([0.3, -1.0]), jnp.asarray([-0.5, 0.4])
    eps = jax.random.normal(jax.random.key(0), (200_000, 2))
    z = mean[None] + jnp.exp(0.5 * logvar)[None] * eps
    ratio = gaussian_log_density(z, mean, logvar) - gaussian_log_density(z)
    error = float(ratio.std()) / math.sqrt(len(z))
    assert abs(float(ratio.mean()) - float(gaussian_kl(mean, logvar))) < 5 * error
