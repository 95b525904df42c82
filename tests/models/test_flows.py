"""Planar flows: the density of what they give, by the determinant of the whole map."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxvae import noise
from jaxvae.models.flows import PlanarFlow
from jaxvae.noise import Noise


def test_log_ratio_is_that_of_the_bent_density():
    """log q(z_T) = log q(z_0) - log |det dz_T/dz_0|, and log p is that of z_T."""
    flow = PlanarFlow(2, layers=3)
    h = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)), jnp.float32)
    own = Noise(noise.root(0), 0, jnp.arange(4))
    shapes = jax.eval_shape(lambda: flow.init(jax.random.key(0), h, own, False))
    rng = np.random.default_rng(1)  # any parameters: directions of about 1 change densities by far
    variables = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), shapes)
    code = jax.jit(lambda: flow.apply(variables, h, own, False))()
    mean, logvar = code.aux["mean"], code.aux["logvar"]
    first = mean + jnp.exp(0.5 * logvar) * own.normal("eps", (2,))

    def bend(z):
        return flow.apply(variables, z, method="bend")[0]

    np.testing.assert_allclose(code.z, jax.jit(bend)(first), rtol=1e-5, atol=1e-5)
    jacobians = np.float64(jax.jit(jax.vmap(jax.jacfwd(bend)))(first))
    log_det = np.log(np.abs(np.linalg.det(jacobians)))
    assert np.abs(log_det).max() > 0.1  # so that a determinant that is left out shows
    log_q = stats.norm.logpdf(first, mean, np.exp(0.5 * np.float64(logvar))).sum(axis=1) - log_det
    ratio = log_q - stats.norm.logpdf(np.float64(code.z)).sum(axis=1)
    np.testing.assert_allclose(code.log_ratio, ratio, atol=2e-5)  # sums of some 5 nats in float32
    np.testing.assert_array_equal(code.kl, code.log_ratio)
