"""A VAE without hidden layers at its optimum is probabilistic PCA (Lucas et al. 2019).

Model and objective together: at the optimum the ELBO is log p(x) itself, and any other posterior
loses exactly its KL to the true one.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jaxvae import Model, Objective
from jaxvae.info import Info
from tests.given import batch

pytestmark = pytest.mark.numeric

SHAPE, D, K, N = (3, 4, 1), 12, 3, 200


class Ppca:
    """Maximum likelihood of probabilistic PCA on Gaussian data (Tipping and Bishop 1999)."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        factors = rng.standard_normal((K, D)) * np.array([[1.5], [1.0], [0.7]])
        noise = 0.3 * rng.standard_normal((N, D))
        x = rng.standard_normal((N, K)) @ factors + noise + rng.random(D)
        self.x = x.astype(np.float32).astype(np.float64)
        self.mean = self.x.mean(axis=0)
        self.eigenvalues, vectors = np.linalg.eigh(np.cov(self.x.T, bias=True))
        self.eigenvalues, vectors = self.eigenvalues[::-1], vectors[:, ::-1]
        self.sigma2 = self.eigenvalues[K:].mean()
        self.w = vectors[:, :K] * np.sqrt(self.eigenvalues[:K] - self.sigma2)
        m = (self.w**2).sum(axis=0) + self.sigma2  # W has orthogonal columns: M is diagonal
        self.encoder = self.w / m  # posterior mean (x - mean) W / m
        self.posterior_var = self.sigma2 / m
        self.posterior_mean = (self.x - self.mean) @ self.encoder
        covariance = self.w @ self.w.T + self.sigma2 * np.eye(D)
        self.log_p = stats.multivariate_normal(self.mean, covariance).logpdf(self.x)


@pytest.fixture(scope="module")
def ppca() -> Ppca:
    return Ppca()


@pytest.fixture(scope="module")
def elbo(ppca):
    """(mean shift, logvar shift) -> ELBO per example, exact in its expectation over eps.

    The negative log-likelihood is quadratic in eps, so its expectation under N(0, I) is its average
    over the 2K points +-sqrt(K) e_i: no Monte Carlo error.
    """
    model = Model(hidden_dims=(), latent_dim=K, output="linear").build(Info(SHAPE))
    objective = Objective("gaussian", sigma=float(np.sqrt(ppca.sigma2)))
    images = jnp.asarray(ppca.x.reshape(N, *SHAPE), jnp.float32)
    points = np.sqrt(K) * np.concatenate([np.eye(K), -np.eye(K)])

    @jax.jit
    def compute(mean_shift, logvar_shift):
        params = {
            "mean": {"kernel": ppca.encoder, "bias": -ppca.mean @ ppca.encoder + mean_shift},
            "logvar": {
                "kernel": np.zeros((D, K)),
                "bias": np.log(ppca.posterior_var) + logvar_shift,
            },
            "decoder": {"Dense_0": {"kernel": ppca.w.T, "bias": ppca.mean}},
        }
        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)

        def at(point):
            examples = batch(images, jnp.broadcast_to(point, (N, K)))
            output = model.apply({"params": params}, examples)
            return -objective.terms(output, examples, {})["loss"]

        return jax.vmap(at)(jnp.asarray(points, jnp.float32)).mean(axis=0)

    return lambda mean_shift, logvar_shift: np.asarray(
        compute(np.asarray(mean_shift, np.float32), np.asarray(logvar_shift, np.float32))
    )


def test_elbo_at_the_optimum_is_the_log_likelihood(ppca, elbo):
    at_optimum = elbo(np.zeros(K), np.zeros(K))
    # Float32 terms of up to a few hundred nats (squares over sigma2 = 0.09), rounded at 6e-8 each.
    np.testing.assert_allclose(at_optimum, ppca.log_p, atol=1e-3)
    # The maximum of the likelihood in closed form, Tipping and Bishop 1999, eq. (7):
    likelihood = -0.5 * (
        D * np.log(2 * np.pi)
        + np.log(ppca.eigenvalues[:K]).sum()
        + (D - K) * np.log(ppca.sigma2)
        + D
    )
    assert abs(at_optimum.mean() - likelihood) < 1e-3


shifts = st.lists(st.floats(-1, 1), min_size=K, max_size=K).map(np.array)


@settings(max_examples=30)
@given(mean_shift=shifts, logvar_shift=shifts)
def test_any_other_posterior_loses_its_kl_to_the_true_one(ppca, elbo, mean_shift, logvar_shift):
    gap = ppca.log_p - elbo(mean_shift, logvar_shift)
    # KL(N(m + a, v e^b) || N(m, v)) = 1/2 sum(e^b - 1 - b + a^2 / v); up to 100 nats here.
    kl = 0.5 * np.sum(np.expm1(logvar_shift) - logvar_shift + mean_shift**2 / ppca.posterior_var)
    np.testing.assert_allclose(gap, np.full(N, kl), rtol=1e-4, atol=1e-3)
    assert (gap > -1e-3).all()  # the ELBO is a lower bound
