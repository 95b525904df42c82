"""Likelihoods, divergences and the ELBO against closed forms and float64 references."""

import math

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from jaxvae import Objective
from jaxvae.batch import Batch
from jaxvae.models import Output
from jaxvae.objectives import (
    bernoulli_nll,
    elbo_terms,
    gaussian_kl,
    gaussian_log_density,
    gaussian_nll,
    half_squared_error,
    laplace_nll,
    reconstruction,
)
from jaxvae.objectives.likelihoods import log_cosh_error
from tests.given import batch

pytestmark = pytest.mark.numeric

kl = jax.jit(gaussian_kl)
FLOAT32 = float(np.finfo(np.float32).eps)


def latents(value: float, n: int = 10) -> jax.Array:
    return jnp.full((1, n), value, jnp.float32)


def posterior(limit: float):
    """Eight examples of three latents, in float32, so that every case reuses one compilation."""
    values = st.floats(-limit, limit, width=32)
    return hnp.arrays(np.float32, (8, 3), elements=values)


def kl_by_quadrature(mean: np.ndarray, logvar: np.ndarray) -> np.ndarray:
    """Integral of q log(q / p) per latent on a fine grid in float64, summed over the latents."""
    mean, logvar = mean.astype(np.float64), logvar.astype(np.float64)
    std = np.exp(0.5 * logvar)
    z = mean + std * np.linspace(-12, 12, 4001)[:, None, None]
    q = stats.norm(mean, std)
    integrand = q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z))
    return np.trapezoid(integrand, z, axis=0).sum(axis=-1)


# KL divergence to the prior


@pytest.mark.parametrize(
    "mean, logvar, nats",
    # 5 (mean^2 + exp(logvar) - 1 - logvar): the last is 5 (1 + e - 2) = 8.591409
    [(0.0, 0.0, 0.0), (1.0, 0.0, 5.0), (0.0, 1.0, 5 * (math.e - 2)), (1.0, 1.0, 8.591409)],
)
def test_kl_of_ten_latents_in_closed_form(mean, logvar, nats):
    # 1e-6 relative: ten float32 roundings of 6e-8, and the seven digits of the last target.
    np.testing.assert_allclose(kl(latents(mean), latents(logvar)), [nats], rtol=1e-6)


@settings(max_examples=50)
@given(mean=posterior(5), logvar=posterior(8))
def test_kl_equals_its_integral(mean, logvar):
    # The terms of the sum are at most e^8 / 2; each is rounded to float32, and three are added.
    # The quadrature of a Gaussian times a parabola on this grid is exact to float64.
    scale = (np.square(mean) + np.exp(logvar) + np.abs(logvar) + 1).sum(axis=-1)
    error = np.abs(kl(mean, logvar) - kl_by_quadrature(mean, logvar))
    assert (error <= 4 * FLOAT32 * scale).all()


@given(mean=posterior(10), logvar=posterior(10))
def test_kl_is_never_negative_and_zero_only_at_the_prior(mean, logvar):
    value = np.asarray(kl(mean, logvar))
    # expm1(logvar) >= logvar exactly; its float32 rounding may fall one unit short per latent.
    assert (value >= -FLOAT32 * np.abs(logvar).sum(axis=-1)).all()
    # 1/4 logvar^2 >= 2.5e-7 at |logvar| = 1e-3, a thousand times those roundings.
    away = (np.maximum(np.abs(mean), np.abs(logvar)) > 1e-3).any(axis=-1)
    assert (value[away] > 0).all()
    assert (kl(0 * mean, 0 * logvar) == 0).all()


def test_kl_keeps_its_digits_close_to_the_prior():
    logvar = np.float32(1e-4)
    exact = 0.5 * (np.expm1(np.float64(logvar)) - np.float64(logvar))  # about logvar^2 / 4
    stable = float(kl(latents(0.0, 1), latents(1e-4, 1))[0])
    naive = 0.5 * (np.exp(logvar) - np.float32(1) - logvar)
    # expm1(1e-4) is rounded to within 1e-4 * 1.2e-7 = 1.2e-11, of 5e-9: 0.24 %.
    assert abs(stable / exact - 1) < 2.4e-3
    assert abs(naive / exact - 1) > 1  # exp(1e-4) is rounded to within 6e-8: no digit is left


def test_kl_gradient_is_mean_and_half_expm1():
    mean, logvar = jnp.array([[0.5, -2.0]]), jnp.array([[1e-4, -3.0]])
    gradient = jax.grad(lambda m, v: gaussian_kl(m, v).sum(), argnums=(0, 1))(mean, logvar)
    np.testing.assert_allclose(gradient[0], mean, rtol=1e-6)
    # d/dlogvar = (e^logvar - 1) / 2, which JAX computes as expm1 + 1 - 1: 6e-8 absolute at least.
    np.testing.assert_allclose(gradient[1], np.expm1(logvar) / 2, atol=2e-7)


# Likelihoods


def test_log_density_is_that_of_scipy():
    """With its constant, by default of N(0, I), and of a mixture's components by broadcasting."""
    rng = np.random.default_rng(0)
    z, mean, logvar = (
        rng.standard_normal(shape).astype(np.float32) for shape in [(6, 1, 3)] + 2 * [(4, 3)]
    )
    found = gaussian_log_density(jnp.asarray(z), jnp.asarray(mean), jnp.asarray(logvar))
    expected = stats.norm.logpdf(z, mean, np.exp(np.float64(logvar) / 2)).sum(axis=-1)
    assert found.shape == (6, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    standard = stats.norm.logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_density(jnp.asarray(z)), standard, rtol=1e-5)


def test_standard_normal_at_one():
    x, mean = jnp.ones((1, 1, 1, 1)), jnp.zeros((1, 1, 1, 1))
    np.testing.assert_allclose(-gaussian_nll(x, mean, 0.0), [-1.4189385], rtol=1e-7)


@jax.jit
def all_likelihoods(x, decoded, logvar):
    return {
        "bernoulli": bernoulli_nll(decoded, x),
        "gaussian": gaussian_nll(x, decoded, logvar),
        "laplace": laplace_nll(x, decoded, 0.3),
        "log_cosh": log_cosh_error(x, decoded, 0.3),
        "half": half_squared_error(x, decoded),
        "unit": gaussian_nll(x, decoded, 0.0),
    }


@settings(max_examples=6)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 2**32 - 1),
)
def test_likelihoods_per_example_match_scipy(shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.random(shape, np.float32)
    decoded = 3 * rng.standard_normal(shape, np.float32)
    logvar = rng.standard_normal(shape, np.float32)
    ours = all_likelihoods(x, decoded, logvar)

    x, decoded, logvar = (a.astype(np.float64) for a in (x, decoded, logvar))
    log_p, log_not_p = special.log_expit(decoded), special.log_expit(-decoded)
    references = {
        "bernoulli": -(x * log_p + (1 - x) * log_not_p),
        "gaussian": -stats.norm.logpdf(x, decoded, np.exp(logvar / 2)),
        "laplace": -stats.laplace.logpdf(x, decoded, 0.3),
        "log_cosh": 0.3 * np.log(np.cosh((x - decoded) / 0.3)),
        "half": (x - decoded) ** 2 / 2,
        "unit": (x - decoded) ** 2 / 2 + math.log(2 * math.pi) / 2,
    }
    for name, per_pixel in references.items():
        assert ours[name].shape == shape[:1], name
        # At most 108 pixels; terms of either sign are rounded before they are added, so the error
        # is relative to the sum of their magnitudes.
        magnitude = np.abs(per_pixel).reshape(shape[0], -1).sum(axis=1) + per_pixel[0].size
        error = np.abs(ours[name] - per_pixel.reshape(shape[0], -1).sum(axis=1))
        assert (error <= 10 * FLOAT32 * magnitude).all(), name


value_and_slope = jax.jit(jax.value_and_grad(lambda logits, x: bernoulli_nll(logits, x).sum()))


@pytest.mark.parametrize("logit", [-1e4, -104.0, 0.0, 104.0, 1e4])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_bernoulli_and_its_gradient_from_zero_to_extreme_logits(logit, x):
    pixel = (1, 1, 1, 1)
    value, slope = value_and_slope(np.full(pixel, logit, np.float32), np.full(pixel, x, np.float32))
    exact = -(x * special.log_expit(logit) + (1 - x) * special.log_expit(-logit))
    # l x and max(l, 0) are rounded at 1e4; the gradient sigmoid(l) - x at 1.
    np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope[0, 0, 0, 0], special.expit(logit) - x, atol=2e-7)


bernoulli = jax.jit(bernoulli_nll)


@given(
    x=hnp.arrays(np.float32, (2, 2, 2, 1), elements=st.floats(0.0, 1.0, width=32)),
    logits=hnp.arrays(np.float32, (2, 2, 2, 1), elements=st.floats(-20, 20, width=32)),
)
def test_minimum_of_bernoulli_over_logits_is_the_entropy_of_x(x, logits):
    entropy = (special.entr(x) + special.entr(1 - x)).sum(axis=(1, 2, 3))
    # Both sides are sums of four terms of at most 20, rounded to float32.
    assert (bernoulli(logits, x) >= entropy - 1e-5).all()
    best = np.clip(special.logit(np.clip(x, 1e-9, 1)), -30, 30).astype(np.float32)  # inf at 0, 1
    np.testing.assert_allclose(bernoulli(best, x), entropy, atol=1e-5)


# The ELBO


def outputs() -> tuple[Output, Batch]:
    rng = np.random.default_rng(7)
    decoded = rng.standard_normal((4, 4, 3, 2), np.float32)
    mean, logvar = rng.standard_normal((2, 4, 5), np.float32)
    x = rng.random((4, 4, 3, 2), np.float32)
    return Output(jnp.asarray(decoded), mean, gaussian_kl(mean, logvar)), batch(jnp.asarray(x))


@pytest.mark.parametrize(
    "likelihood, sigma",
    [("bernoulli", 1), ("gaussian", 0.2), ("laplace", 0.2), ("log_cosh", 0.2), ("half_mse", 1)],
)
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_loss_is_recon_plus_beta_kl(likelihood, sigma, beta):
    output, examples = outputs()
    recon = reconstruction(likelihood, output.decoded, examples.target, sigma=sigma)
    terms = elbo_terms(recon, output.kl, jnp.float32(beta))
    assert set(terms) == {"loss", "recon", "kl"}
    np.testing.assert_array_equal(terms["recon"], recon)
    np.testing.assert_array_equal(terms["kl"], output.kl)
    np.testing.assert_array_equal(terms["loss"], recon + jnp.float32(beta) * output.kl)
    through_objective = Objective(likelihood, sigma=sigma, beta=beta).terms(output, examples, {})
    assert set(through_objective) == set(terms)
    for name, value in terms.items():
        np.testing.assert_array_equal(through_objective[name], value)


def test_an_autoencoder_has_no_kl():
    output, examples = outputs()
    output = Output(output.decoded, output.z)
    terms = Objective(beta=3.0).terms(output, examples, {})
    np.testing.assert_array_equal(terms["kl"], np.zeros(4))
    np.testing.assert_array_equal(terms["loss"], terms["recon"])


def test_the_layers_of_a_code_add_up():
    """Of two layers of latents: their KLs are added, and a mean is over the latents of both."""
    output, examples = outputs()
    layered = output._replace(
        z={"z1": output.z, "z2": output.z[:, :2]}, kl={"z1": output.kl, "z2": 2 * output.kl}
    )
    assert layered.num_latents == 5 + 2
    terms = Objective(kl_reduction="mean").terms(layered, examples, {})
    np.testing.assert_array_equal(terms["kl"], output.kl + 2 * output.kl)
    # A product and a sum, rounded in another order.
    expected = terms["recon"] + terms["kl"] / 7
    np.testing.assert_allclose(terms["loss"], expected, rtol=1e-6)


def test_learned_variance_is_the_gaussian_and_is_best_at_the_squared_error():
    output, examples = outputs()
    x, decoded = examples.target, output.decoded
    objective = Objective("gaussian_learned")
    (initial,) = objective.init(jax.random.key(0), output).items()
    assert initial == ("logvar", 0)
    logvar = jnp.float32(2 * math.log(0.2))
    learned = objective.terms(output, examples, {"logvar": logvar})["recon"]
    np.testing.assert_array_equal(
        learned, reconstruction("gaussian_learned", decoded, x, logvar=logvar)
    )
    # exp(-logvar) is 25 with a relative rounding of a few 1e-7.
    np.testing.assert_allclose(learned, reconstruction("gaussian", decoded, x, sigma=0.2), 1e-6)

    best = float(np.log(np.mean(np.square(x - decoded))))
    slope = jax.grad(lambda v: gaussian_nll(x, decoded, v).sum())(jnp.float32(best))
    assert abs(slope) < 96 * 1e-6  # 96 terms 1/2 (1 - squared / var), each rounded at 1e-7


def test_unknown_likelihood_is_named():
    output, examples = outputs()
    with pytest.raises(ValueError, match="likelihood = 'poisson'"):
        reconstruction("poisson", output.decoded, examples.target)


# Values that were not observed, and several samples


LIKELIHOODS = (
    *("bernoulli", "gaussian", "gaussian_learned", "laplace", "log_cosh", "mse", "half_mse"),
)


def of_likelihood(likelihood):
    """decoded, x, observed -> -log p(x|z), with a scale where there is one."""
    sigma = 0.3 if likelihood in ("gaussian", "laplace", "log_cosh") else 1.0
    logvar = jnp.float32(-0.7)
    return lambda decoded, x, observed=None: reconstruction(
        likelihood, decoded, x, observed, sigma, logvar
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_only_observed_values_count(likelihood):
    """As if the others were not there; nothing they may hold reaches the loss or its gradient."""
    recon, (output, examples) = of_likelihood(likelihood), outputs()
    observed = np.random.default_rng(3).random(examples.target.shape) < 0.6
    masked = recon(output.decoded, examples.target, observed)
    for value, decoded, x, known in zip(
        masked, output.decoded, examples.target, observed, strict=True
    ):
        # The same terms, summed in another order.
        np.testing.assert_allclose(value, recon(decoded[known][None], x[known][None])[0], 1e-5)
    slope = jax.grad(lambda d: recon(d, examples.target, observed).sum())(output.decoded)
    np.testing.assert_array_equal(np.asarray(slope) != 0, observed)
    through = Objective(likelihood, sigma=1.0).recon(
        output, batch(examples.target, observed=observed), {"logvar": jnp.float32(0)}
    )
    all_of_them = Objective(likelihood).recon(output, examples, {"logvar": jnp.float32(0)})
    assert (np.asarray(through) != np.asarray(all_of_them)).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("masked", [False, True])
def test_samples_are_leading_axes(likelihood, masked):
    recon, (output, examples) = of_likelihood(likelihood), outputs()
    observed = np.random.default_rng(3).random(examples.target.shape) < 0.6 if masked else None
    samples = jnp.stack([output.decoded, 2 * output.decoded, -output.decoded])
    together = recon(samples, examples.target, observed)
    assert together.shape == (3, 4)
    for value, decoded in zip(together, samples, strict=True):
        # Sums of 24 terms, which may be ordered anew.
        np.testing.assert_allclose(value, recon(decoded, examples.target, observed), rtol=1e-6)
