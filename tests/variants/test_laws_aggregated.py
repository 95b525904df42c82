"""Laws of the objectives that press on the aggregated posterior."""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model, Objective, noise
from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.evaluation import has_terms_across
from jaxvae.models import Output
from jaxvae.objectives import discrepancies, gaussian_log_density
from jaxvae.variants.adversarial import Adversarial, FactorVAE
from jaxvae.variants.aggregated import (
    DIP,
    SWAE,
    WAEMMD,
    BetaTC,
    InfoVAE,
    MatchedModel,
    prior_draws,
)
from tests.variants.small import BATCH, INFO, batch, small
from tests.variants.terms import fixed, matches, start, trained

pytestmark = pytest.mark.numeric

NEUTRAL: dict[str, dict[str, float]] = {
    "beta_tc_vae": {"mi_weight": 1.0, "tc_weight": 1.0, "dw_weight": 1.0},
    "dip_vae_i": {"off_diagonal": 0.0, "diagonal": 0.0},
    "dip_vae_ii": {"off_diagonal": 0.0, "diagonal": 0.0},
    "info_vae": {"alpha": 0.0, "mmd_weight": 1.0},
    "wae_mmd": {"weight": 0.0},
    "swae": {"weight": 0.0},
    "aae": {"weight": 0.0},
}
MATCHED = ("wae_mmd", "swae", "aae")


@cache
def plain(family: str, likelihood: str, output: str) -> Any:
    """What the AE or VAE that these are built on minimises, its terms, its gradient."""
    experiment = small("dip_vae_i")
    model = Model(family, hidden_dims=(12,), latent_dim=3, output=output)
    experiment = replace(experiment, model=model, objective=Objective(likelihood))
    return trained(experiment, start(experiment), batch(experiment))


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_setting_is_the_plain_autoencoder_to_the_bit(name):
    """The losses, and what the model is moved by."""
    experiment = small(name, **NEUTRAL[name])
    model, objective = experiment.model, experiment.objective
    assert model.family == ("AE" if name in MATCHED else "VAE")
    # Those of the model are drawn before those of the objective, so that both have the same.
    variables = start(experiment)
    (_, own), gradient = trained(experiment, variables, batch(experiment))
    (_, ae), expected = plain(model.family, objective.likelihood, model.output)
    for term in ("loss", "recon", "kl"):
        np.testing.assert_array_equal(own.terms[term], ae.terms[term])
    matches(gradient["model"], expected["model"])


def gaussian(mean: Any, logvar: Any = None, z: Any = None) -> tuple[Output, Batch]:
    """What a model returns that has these posteriors; codes are their means where not given."""
    mean = jnp.asarray(mean, jnp.float32)
    logvar = jnp.zeros_like(mean) if logvar is None else jnp.asarray(logvar, jnp.float32)
    kl = jnp.linspace(0, 3, len(mean))
    return fixed(mean if z is None else z, kl, mean=mean, logvar=logvar)


MEAN = np.random.default_rng(0).standard_normal((BATCH, 3)) * (1.0, 0.5, 2.0) + (3.0, 0.0, -1.0)
LOGVAR = np.random.default_rng(1).standard_normal((BATCH, 3)) - 0.5


@pytest.mark.parametrize("estimator", ["mws", "mss", "plain"])
def test_the_parts_of_the_kl_add_up_and_each_has_its_weight(estimator):
    """MI + TC + dwKL = mean(log q(z|x) - log p(z)), whatever the estimator."""
    eps = np.random.default_rng(2).standard_normal(MEAN.shape)
    output, given = gaussian(MEAN, LOGVAR, MEAN + np.exp(LOGVAR / 2) * eps)
    objective = BetaTC("gaussian", mi_weight=0.3, tc_weight=2.5, dw_weight=1.7)
    found = replace(objective, estimator=estimator).terms(output, given, {})
    mi, tc, dw_kl = (float(found[n]) for n in ("mi", "tc", "dw_kl"))
    of_posterior = gaussian_log_density(output.z, output.aux["mean"], output.aux["logvar"])
    ratio = of_posterior - gaussian_log_density(output.z)
    # Differences of log-densities of some 10 nats each, in float32.
    assert mi + tc + dw_kl == pytest.approx(float(ratio.mean()), abs=2e-5)
    expected = found["recon"] + found["kl"] + (-0.7 * mi + 1.5 * tc + 0.7 * dw_kl)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    assert min(abs(mi), abs(tc), abs(dw_kl)) > 1e-3  # 0.7 of it is seen in the loss


@pytest.mark.parametrize(
    ("estimator", "expected"), [("mss", 48), ("plain", BATCH), ("mws", 48 * BATCH)]
)
def test_the_number_of_examples_is_that_of_the_data(estimator, expected):
    """Posteriors apart, codes at their means: MI is log N by mss, log B by plain, log(B N) by mws,
    N = 48 being the number of training images and B = 16."""
    output, given = gaussian(100.0 * np.arange(BATCH)[:, None])
    found = BetaTC("gaussian", estimator=estimator).terms(output, given, {})
    assert float(found["mi"]) == pytest.approx(math.log(expected), abs=1e-5)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_dip_has_the_covariance_over_the_batch(kind):
    """Divided by B; of II the mean variances exp(logvar) are added to the diagonal, and only there.
    Centred over the latents, not divided, or with exp(2 logvar), it would be something else."""
    output, given = gaussian(MEAN, LOGVAR)
    objective = DIP("gaussian", kind=kind, off_diagonal=0.7, diagonal=0.2)
    found = objective.terms(output, given, {})

    def penalties(c: np.ndarray, variances: np.ndarray) -> tuple[float, float]:
        c = c + np.diag(variances) * (kind == "II")
        pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
        return sum(c[i, j] ** 2 for i, j in pairs), sum((c[i, i] - 1) ** 2 for i in range(3))

    c, variances = np.cov(MEAN.T, bias=True), np.exp(LOGVAR).mean(axis=0)
    expected = penalties(c, variances)
    np.testing.assert_allclose([found["off_diagonal"], found["diagonal"]], expected, rtol=1e-5)
    loss = found["recon"] + found["kl"] + (0.7 * expected[0] + 0.2 * expected[1])
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    over_latents = MEAN - MEAN.mean(axis=1, keepdims=True)
    others = [over_latents.T @ over_latents / BATCH, c * BATCH, np.cov(MEAN.T)]
    assert not any(np.allclose(penalties(c, variances), expected, rtol=0.02) for c in others)
    if kind == "II":
        squared = np.exp(2 * LOGVAR).mean(axis=0)
        assert not np.allclose(penalties(c, squared), expected, rtol=0.02)


def test_codes_that_look_like_the_prior_satisfy_dip_and_their_means_alone_do_not():
    """Means +-0.6 with variances of 0.64: the covariance of the codes is I, that of the means not.
    The diagonals of I and II differ by the mean variances."""
    signs = np.stack([np.tile([1, 1, -1, -1], 4), np.tile([1, -1, 1, -1], 4)], axis=1)
    output, given = gaussian(0.6 * signs, np.full(signs.shape, math.log(0.64)))
    for kind, diagonal in (("II", 0), ("I", 2 * 0.64**2)):
        found = DIP("gaussian", kind=kind).terms(output, given, {})
        np.testing.assert_allclose(found["off_diagonal"], 0, atol=1e-10)
        np.testing.assert_allclose(found["diagonal"], diagonal, rtol=1e-5, atol=1e-10)


def test_info_vae_weighs_the_kl_and_the_discrepancy_as_its_equation_says():
    """recon + (1 - alpha) kl + (alpha + lambda - 1) MMD, h^2 = 3 latents, draws named "prior"."""
    output, given = gaussian(MEAN, LOGVAR)
    found = InfoVAE("gaussian", alpha=0.8, mmd_weight=7.0).terms(output, given, {})
    prior = given.noise.normal("prior", (3,))
    mmd = discrepancies.mmd(output.z, prior, lambda squared: jnp.exp(-squared / 6))
    np.testing.assert_allclose(found["mmd"], mmd, atol=1e-6)
    expected = found["recon"] + 0.2 * output.kl + 6.8 * mmd
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_a_discrepancy_that_would_be_maximised_is_refused():
    """pythae's defaults are alpha = 0 and lambda = 0.001."""
    expected = r"objective.mmd_weight = 0.001: must be at least 1 - alpha = 1: .* is maximised"
    with pytest.raises(UsageError, match=expected):
        InfoVAE(alpha=0.0, mmd_weight=0.001)
    with pytest.raises(UsageError, match=r"mmd_weight = 9.9: must be at least 1 - alpha = 10"):
        InfoVAE(alpha=-9.0, mmd_weight=9.9)
    assert InfoVAE(alpha=-9.0, mmd_weight=10.0).mmd_weight == 10


@pytest.mark.parametrize(
    ("name", "likelihood", "reduction", "errors"),
    [
        ("wae_mmd", "mse", "sum", 1.0),
        ("wae_mmd", "half_mse", "sum", 0.5),
        ("swae", "mse", "mean", 1 / 64),
    ],
)
def test_what_is_minimised_is_the_squared_error_and_the_weighted_discrepancy(
    name, likelihood, reduction, errors
):
    """As the source codes it; the discrepancy's weight is of this, whatever is logged in nats."""
    experiment = small(name, weight=3.0, likelihood=likelihood, recon_reduction=reduction)
    given = batch(experiment)
    (loss, (output, found, _)), _ = trained(experiment, start(experiment), given)
    squared = np.square(np.float64(given.target) - output.decoded).reshape(BATCH, -1).sum(axis=1)
    z, prior = output.z, given.noise.normal("prior", (3,))
    if name == "wae_mmd":
        discrepancy, kernel = found["mmd"], discrepancies.inverse_multiquadratic(3)
        expected = discrepancies.mmd(z, prior, kernel, unbiased=True)
    else:
        directions = jax.random.normal(given.noise.shared("directions"), (7, 3))
        discrepancy = found["sliced"]
        expected = discrepancies.sliced_wasserstein(z, prior, directions)
    np.testing.assert_allclose(discrepancy, expected, rtol=1e-5, atol=1e-5)
    assert float(loss) == pytest.approx(errors * squared.mean() + 3 * float(expected), rel=1e-5)
    np.testing.assert_allclose(found["recon"], squared / 2, rtol=1e-5)


LINEAR = {"critic": {"Dense_0": {"kernel": jnp.ones((3, 1)) / 2, "bias": jnp.ones(1) / 4}}}
OBJECTIVES: dict[str, tuple[Objective, str, Any]] = {
    "info": (InfoVAE("gaussian"), "mmd", {}),
    "wae": (WAEMMD(), "mmd", {}),
    "swae": (SWAE(), "sliced", {}),
    "aae": (Adversarial("gaussian", widths=()), "critic", LINEAR),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_without_noise_the_loss_is_finite_and_repeats(name):
    """The prior's draws are the same always then, and as good as any others."""
    objective, term, params = OBJECTIVES[name]
    output, given = gaussian(MEAN, LOGVAR)

    def values(given: Batch) -> dict[str, float]:
        found = objective.terms(output, given, params)
        assert all(jnp.isfinite(value).all() for value in found.values())
        return {name: float(jnp.mean(value)) for name, value in found.items()}

    found = values(given.without_noise())
    assert found == values(given.without_noise())
    drawn = [values(given.another(draw))[term] for draw in range(10)]
    assert len({*drawn, found[term]}) == 11
    assert abs(found[term] - np.mean(drawn)) < 5 * np.std(drawn)


def standard_normal(z: Any) -> None:
    """Means, covariances and fourth moments of (n, 3) are those of N(0, I), to 5 standard errors:
    those of a variance and of a fourth moment are the roots of 2 / n and 96 / n."""
    z, n = np.float64(z), len(z)
    assert z.shape == (n, 3)
    assert np.abs(z.mean(axis=0)).max() < 5 / math.sqrt(n)
    assert np.abs(np.cov(z.T) - np.eye(3)).max() < 5 * math.sqrt(2 / n)
    assert np.abs((z**4).mean(axis=0) - 3).max() < 5 * math.sqrt(96 / n)


def of_many() -> Batch:
    own = noise.Noise(noise.root(0), 0, jnp.arange(4000))
    return Batch(None, None, jnp.full(4000, -1), None, own, INFO)


def test_the_prior_is_drawn_with_noise_and_without():
    """In training by the noise "prior", which is not that of the codes."""
    z, given = jnp.full((4000, 3), 9.0), of_many()
    drawn = prior_draws(given, z)
    np.testing.assert_array_equal(drawn, given.noise.normal("prior", (3,)))
    standard_normal(drawn)
    standard_normal(prior_draws(given.without_noise(), z))


@pytest.mark.parametrize("name", MATCHED)
def test_matched_models_are_sampled_from_the_standard_normal(name):
    """Whatever their parameters."""
    experiment = small(name)
    module = experiment.model.build(INFO)
    standard_normal(module.apply(start(experiment).model, of_many(), method="prior"))


REFUSED: list[tuple[Any, dict[str, float]]] = [
    (BetaTC, {"mi_weight": -1.0}),
    (BetaTC, {"tc_weight": math.nan}),
    (BetaTC, {"dw_weight": math.inf}),
    (DIP, {"off_diagonal": -1.0}),
    (DIP, {"diagonal": math.inf}),
    (InfoVAE, {"alpha": math.nan}),
    (InfoVAE, {"mmd_weight": math.inf}),
    (WAEMMD, {"weight": -1.0}),
    (SWAE, {"weight": math.inf}),
    (Adversarial, {"weight": -1.0}),
    (FactorVAE, {"gamma": -1.0}),
]


@pytest.mark.parametrize(("settings", "fields"), REFUSED)
def test_weights_that_maximise_or_are_no_numbers_are_refused(settings, fields):
    ((name, value),) = fields.items()
    with pytest.raises(UsageError, match=f"objective.{name} = {value}: must be .*finite"):
        settings(**fields)


def test_models_and_objectives_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"model.family = 'VAE': must be AE"):
        MatchedModel(family="VAE")
    with pytest.raises(UsageError, match=r"objective.directions = 0: must be at least 1"):
        SWAE(directions=0)
    output, given = gaussian(MEAN)
    for objective in (BetaTC("gaussian"), DIP("gaussian")):
        with pytest.raises(UsageError, match="needs a Gaussian posterior"):
            objective.terms(output._replace(aux={}), given, {})
    output, given = gaussian(MEAN[:1])
    for objective in (WAEMMD(), BetaTC("gaussian", estimator="mss")):
        with pytest.raises(UsageError, match="batch = 1: must be at least 2 for"):
            objective.terms(output, given, {})


@pytest.mark.parametrize("estimator", ["mws", "mss", "plain"])
def test_every_estimator_is_known_to_look_across_the_batch(estimator):
    """And so can be trained: what looks across it is found out with an example and its copy."""
    experiment = small("beta_tc_vae", estimator=estimator)
    assert has_terms_across(experiment, experiment.model.build(INFO), INFO)
