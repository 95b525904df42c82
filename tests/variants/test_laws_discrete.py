"""Laws of the objectives and models of discrete codes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Objective, noise
from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.config import with_fields
from jaxvae.models import Bound
from jaxvae.training.state import dummy
from jaxvae.training.step import make_loss
from jaxvae.variants.categorical import Annealed, Gumbel, Joint, JointModel
from jaxvae.variants.codebooks import FSQ, RQ, VQ, Quantisation
from tests.variants.small import BATCH, INFO, batch, small
from tests.variants.terms import fixed, matches, start

pytestmark = pytest.mark.numeric


def test_features_pay_for_their_distance_and_codes_that_are_learned_in_full():
    commitment, codebook = jnp.linspace(0, 3, BATCH), jnp.linspace(5, 6, BATCH)
    output, given = fixed(jnp.zeros((BATCH, 7)), perplexity=jnp.asarray(3.0))
    objective = Quantisation("gaussian", commitment=0.25)
    recon = Objective("gaussian").terms(output, given, {})["recon"]

    def of(**aux: Any) -> dict[str, jax.Array]:
        found = objective.terms(output._replace(aux=output.aux | aux), given, {})
        np.testing.assert_array_equal(found["recon"], recon)
        assert set(found) == {"loss", "recon", "kl", "perplexity", *aux}
        return found["loss"]

    np.testing.assert_array_equal(of(), recon)  # as of rounded scalars
    np.testing.assert_allclose(of(commitment=commitment), recon + commitment / 4, rtol=1e-6)
    both = of(commitment=commitment, codebook=codebook)
    np.testing.assert_allclose(both, recon + commitment / 4 + codebook, rtol=1e-6)


@pytest.mark.parametrize("settings", [VQ, RQ, FSQ])
def test_residual_blocks_are_on_both_sides(settings):
    """So many, behind a 3x3 convolution that keeps the channels of the last one."""
    model = settings(hidden_dims=(4, 6), latent_dim=3, residual_blocks=2, residual_dim=5)
    module, given = model.build(INFO), dummy(INFO)
    params = jax.eval_shape(module.init, jax.random.key(0), given)["params"]
    code = len(model.levels) if settings is FSQ else 3
    for side, number, channels in (("encoder", 2, 6), ("decoder", 0, code)):
        found = params[side]
        assert found[f"Conv_{number}"]["kernel"].shape == (3, 3, channels, 6)
        assert [name for name in found if name.startswith("Residual")] == [
            "Residual_0",
            "Residual_1",
        ]
        assert found["Residual_1"]["Conv_0"]["kernel"].shape == (3, 3, 6, 5)


def test_learned_codes_do_not_feel_the_decoder_nor_the_commitment():
    """Their gradient in all that is minimised is that of |sg(z) - e|^2, by hand; the encoder's is
    linear in the commitment, and the decoder's does not know it."""
    experiment = small("vq_vae_gradient")
    params, given = start(experiment).model["params"], batch(experiment)
    module = experiment.model.build(INFO)
    loss = make_loss(module)

    @jax.jit
    def gradient(commitment: jax.Array) -> Any:
        objective = with_fields(experiment.objective, {"commitment": commitment})
        both = {"model": params, "objective": {}}
        found, forward = jax.grad(loss, has_aux=True)(both, {}, given, objective)
        return found["model"], forward.output.aux["indices"]

    (none, index), (one, _), (three, _) = (gradient(c) for c in (0.0, 1.0, 3.0))
    z = np.float64(module.apply({"params": params}, given, method="quantised")).reshape(-1, 3)
    expected, e = np.zeros((5, 3)), np.float64(params["codes"])
    for i, row in zip(np.ravel(index), z, strict=True):
        expected[i] += 2 * (e[i] - row) / BATCH
    for found in (none, one, three):
        np.testing.assert_allclose(found["codes"], expected, rtol=1e-4, atol=1e-6)
    matches(three["decoder"], none["decoder"])
    for part in ("encoder", "projection"):
        for a, b, c in zip(*(jax.tree.leaves(g[part]) for g in (none, one, three)), strict=True):
            assert (a != b).any() and a.any()
            np.testing.assert_allclose(c - a, 3 * (b - a), atol=1e-5 * float(jnp.abs(c).max()))


@pytest.mark.parametrize("name", ["vq_vae", "vq_vae_gradient", "residual_vq_vae"])
def test_codes_begin_as_features_and_each_level_is_nearer(name):
    """Codebooks of data: those of one level are features themselves; levels leave less and less."""
    experiment = small(name)
    variables, given = start(experiment).model, batch(experiment)
    module = experiment.model.build(INFO)
    model = experiment.model.initialise(module, variables, given, jax.random.key(1))
    again = experiment.model.initialise(module, variables, given, jax.random.key(2))
    z = np.asarray(module.apply(model, given, method="quantised"))
    rows = z.reshape(-1, 3)
    if name == "residual_vq_vae":
        left, codes = rows, np.asarray(model["codebook"]["codes"])
        assert codes.shape == (2, 5, 3)
        for level in codes:
            index = np.linalg.norm(left[:, None] - level, axis=-1).argmin(axis=1)
            after = left - level[index]
            assert np.square(after).sum() < 0.9 * np.square(left).sum()
            assert all(np.isclose(left, code, atol=1e-6).all(axis=1).any() for code in level)
            left = after
        return
    part = "params" if name == "vq_vae_gradient" else "codebook"
    codes = np.asarray(model[part]["codes"])
    assert all((rows == code).all(axis=1).any() for code in codes)
    assert (codes != again[part]["codes"]).any()
    assert model.keys() == variables.keys()


@pytest.mark.parametrize("name", ["vq_vae", "vq_vae_gradient", "fsq_vae", "residual_vq_vae"])
def test_priors_draw_codes_at_every_position_of_the_map(name):
    """Those that there are, each of them; of other examples, others."""
    experiment = small(name)
    own = noise.Noise(noise.root(0), 0, jnp.arange(200))
    given = Batch(None, None, jnp.full(200, -1), None, own, INFO)
    variables, module = start(experiment).model, experiment.model.build(INFO)
    z = np.asarray(module.apply(variables, given, method="prior"))
    output = jax.eval_shape(lambda: module.apply(variables, batch(experiment)))
    assert z.shape == (200, *output.z.shape[1:])
    values, counts = np.unique(z.reshape(-1, 3 - (name == "fsq_vae")), axis=0, return_counts=True)
    assert len(values) == {"fsq_vae": 12, "residual_vq_vae": 25}.get(name, 5)
    share = 1 / len(values)
    assert np.abs(counts / counts.sum() - share).max() < 5 * math.sqrt(share / counts.sum())
    decoded = module.apply(variables, jnp.asarray(z[:2]), given, method="decode")
    assert decoded.shape == (2, *INFO.shape)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1.0), (100, 0.904837), (500, 0.606531), (693, 0.500074), (694, 0.5), (90_000, 0.5)],
)
def test_the_temperature_falls_to_its_end(step, expected):
    """max(0.5, exp(-t / 1000)); the objective itself, by which evaluation goes, is at the end."""
    objective = Annealed(temperature=0.5, annealing_rate=1e-3)
    assert float(objective.at(jnp.asarray(step)).temperature) == pytest.approx(expected, abs=1e-6)
    assert objective.temperature == 0.5
    constant = Annealed(temperature=2.0, annealing_rate=0.0).at(jnp.asarray(step))
    assert float(constant.temperature) == 2


@pytest.mark.parametrize("name", ["gumbel_vae", "joint_vae"])
def test_the_objective_says_how_soft_codes_are_in_training_and_evaluation_has_drawn_ones(name):
    experiment = small(name)
    variables, given = start(experiment), batch(experiment)
    module = experiment.model.build(INFO)

    @jax.jit
    def codes(temperature: jax.Array) -> Any:
        objective = with_fields(experiment.objective, {"temperature": temperature})
        models = (Bound(module, variables.model, train) for train in (True, False))
        return [objective.outcome(model, given, {}).z[:, -4:] for model in models]

    (soft, drawn), (softer, same) = codes(0.6), codes(6.0)
    assert set(np.unique(drawn)) == {0, 1}
    np.testing.assert_array_equal(drawn, same)
    scaled = []
    for temperature, y in ((0.6, soft), (6.0, softer)):
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(jnp.argmax(y, axis=1), jnp.argmax(drawn, axis=1))
        log = temperature * np.log(np.float64(y))
        scaled.append(log - log.mean(axis=1, keepdims=True))
    np.testing.assert_allclose(*scaled, atol=1e-3)  # the same perturbed logits


def test_the_gumbel_vae_is_the_vae_of_categories():
    """Its loss is recon + KL; over many draws the log-ratio of drawn codes has the mean KL."""
    experiment = small("gumbel_vae")
    variables, given = start(experiment), batch(experiment)
    model = Bound(experiment.model.build(INFO), variables.model)
    outputs = jax.jit(lambda: model.draws(given, 300))()
    found = experiment.objective.terms(jax.tree.map(lambda x: x[0], outputs), given, {})
    kl = outputs.kl[0]
    np.testing.assert_allclose(found["loss"], found["recon"] + kl, rtol=1e-6)
    assert (kl > 0).all() and (kl < 3 * math.log(4)).all()
    error = np.std(outputs.log_ratio, axis=0) / math.sqrt(300)
    assert (np.abs(np.mean(outputs.log_ratio, axis=0) - kl) < 5 * error).all()


def joint(continuous: jax.Array, discrete: jax.Array, categories: int = 4) -> Any:
    """An output whose parts have these KLs, and a batch."""
    aux = {"kl_continuous": continuous, "kl_discrete": discrete, "mean": jnp.zeros((BATCH, 3))}
    return fixed(jnp.zeros((BATCH, 3 + categories)), continuous + discrete, **aux)


def test_capacities_are_distances_of_the_batchs_means():
    """|mean - C|, which where KLs lie on both sides of C is less than the mean of |KL - C|."""
    continuous, discrete = jnp.linspace(1, 9, BATCH), jnp.linspace(0.2, 1, BATCH)
    output, given = joint(continuous, discrete)
    objective = Joint("gaussian", gamma=7.0, capacity=4.0, discrete_capacity=0.9)
    found = objective.terms(output, given, {})
    distance = abs(5 - 4) + abs(0.6 - 0.9)
    assert float(found["from_capacity"]) == pytest.approx(distance, rel=1e-5)
    np.testing.assert_allclose(found["loss"], found["recon"] + 7 * distance, rtol=1e-5)
    np.testing.assert_allclose(found["kl"], found["kl_continuous"] + found["kl_discrete"])
    of_each = jnp.mean(jnp.abs(continuous - 4)) + jnp.mean(jnp.abs(discrete - 0.9))
    assert float(of_each) > distance + 0.5


def test_without_gamma_or_capacities_it_is_the_vae():
    """gamma 0 and beta 1 to the bit; gamma 1 and capacities of 0 on average, since |KL| = KL."""
    continuous, discrete = jnp.linspace(1, 9, BATCH), jnp.linspace(0.2, 1, BATCH)
    output, given = joint(continuous, discrete)
    vae = Objective("gaussian").terms(output, given, {})
    found = Joint("gaussian", gamma=0.0, beta=1.0).terms(output, given, {})
    np.testing.assert_array_equal(found["loss"], vae["loss"])
    objective = Joint("gaussian", gamma=1.0, capacity=0.0, discrete_capacity=0.0)
    found = objective.terms(output, given, {})
    np.testing.assert_allclose(found["loss"].mean(), vae["loss"].mean(), rtol=1e-5)


@pytest.mark.parametrize("categories", [2, 4])
@pytest.mark.parametrize("step", [0, 100, 400, 1000, 5000])
def test_capacities_rise_and_the_discrete_one_never_above_the_logarithm_of_categories(
    step, categories
):
    """Else a variable could never have the KL that it is pressed to."""
    kl = jnp.full(BATCH, math.log(categories))
    output, given = joint(jnp.zeros(BATCH), kl, categories)
    own = Joint("gaussian", capacity=5.0, discrete_capacity=2.0, capacity_steps=1000)
    objective = own.at(jnp.asarray(step))
    part = min(1, step / 1000)
    assert float(objective.capacity) == pytest.approx(5 * part, rel=1e-6)
    found = objective.terms(output, given, {})
    short = math.log(categories) - min(2 * part, math.log(categories))
    assert float(found["from_capacity"]) == pytest.approx(5 * part + short, abs=1e-5)
    at_the_end = own.terms(output, given, {})  # as in evaluation
    assert float(at_the_end["from_capacity"]) == pytest.approx(5, abs=1e-5)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (VQ, {"family": "CAE", "codes": 1}, "model.codes = 1: must be at least 2"),
    (VQ, {"decay": 1.0}, r"model.decay = 1.0: must be None or in \[0, 1\)"),
    (VQ, {"decay": -0.1}, "model.decay = -0.1: must be None or in"),
    (VQ, {"restart": -1.0}, "model.restart = -1.0: must be at least 0"),
    (VQ, {"decay": None, "restart": 1.0}, "model.restart = 1.0: must be .* 0 where model.decay"),
    (VQ, {"family": "VAE"}, "model.family = 'VAE': must be CAE"),
    (VQ, {"residual_blocks": -1}, "model.residual_blocks = -1: must be at least 0"),
    (FSQ, {"residual_dim": 0}, "model.residual_dim = 0: must be at least 1"),
    (RQ, {"levels": 0}, "model.levels = 0: must be at least 1"),
    (RQ, {"codes": 1}, "model.codes = 1: must be at least 2"),
    (RQ, {"decay": 1.0}, r"model.decay = 1.0: must be in \[0, 1\)"),
    (FSQ, {"levels": ()}, r"model.levels = \(\): must be 2 to 1000 values of at least one"),
    (FSQ, {"levels": (8, 1)}, r"model.levels = \(8, 1\): must be 2 to 1000 values"),
    (FSQ, {"levels": (1001,)}, r"model.levels = \(1001,\): must be 2 to 1000 values"),
    (FSQ, {"levels": (1000, 1000, 2)}, "model.levels = .*: must be of a product of at most"),
    (VQ, {"restart": math.inf}, "model.restart = inf: must be at least 0 and finite"),
    (Quantisation, {"commitment": -1.0}, "objective.commitment = -1.0: must be at least 0"),
    (Quantisation, {"commitment": math.nan}, "objective.commitment = nan: must be at least 0"),
    (Annealed, {"temperature": math.inf}, "objective.temperature = inf: must be .* finite"),
    (Annealed, {"annealing_rate": math.inf}, "objective.annealing_rate = inf: must be .* finite"),
    (Joint, {"gamma": math.inf}, "objective.gamma = inf: must be at least 0 and finite"),
    (Joint, {"temperature": math.nan}, "objective.temperature = nan: must be positive"),
    (Gumbel, {"categories": 1}, "model.categories = 1: must be at least 2"),
    (JointModel, {"family": "AE"}, "model.family = 'AE': must be VAE"),
    (Annealed, {"temperature": 0.0}, "objective.temperature = 0.0: must be positive"),
    (Annealed, {"annealing_rate": -1.0}, "objective.annealing_rate = -1.0: must be at least 0"),
    (Joint, {"gamma": -1.0}, "objective.gamma = -1.0: must be at least 0"),
    (Joint, {"capacity": -1.0}, "objective.capacity = -1.0: must be at least 0"),
    (Joint, {"discrete_capacity": -1.0}, "objective.discrete_capacity = -1.0: must be at least"),
    (Joint, {"capacity_steps": 0}, "objective.capacity_steps = 0: must be at least 1"),
    (Joint, {"temperature": -1.0}, "objective.temperature = -1.0: must be positive"),
]


@pytest.mark.parametrize(("settings", "fields", "message"), REFUSED)
def test_wrong_settings_are_refused_by_name(settings, fields, message):
    with pytest.raises(UsageError, match=message):
        settings(**fields)
