"""A guard against wrong code from the compiler: a VAE on many rows against NumPy float64.

Some versions of XLA miscompiled a matrix product followed by a reduction on CPUs above 32 768 rows.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model, Objective
from jaxvae.doctor.losses import exact_vae
from jaxvae.info import Info
from tests.given import batch

pytestmark = pytest.mark.numeric

ROWS, SHAPE, PIXELS, LATENTS = 40_000, (3, 4, 1), 12, 2


def test_compiled_elbo_and_gradient_of_many_rows():
    settings = Model(hidden_dims=(8,), latent_dim=LATENTS, activation="tanh")
    model, objective = settings.build(Info(SHAPE)), Objective()
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, *SHAPE), np.float32)
    eps = rng.standard_normal((ROWS, LATENTS), np.float32)

    def layer(fan_in, fan_out):
        uniform = rng.uniform(-(fan_in**-0.5), fan_in**-0.5, (fan_in + 1, fan_out))
        return {"kernel": np.float32(uniform[1:]), "bias": np.float32(uniform[0])}

    params = {
        "encoder": {"Dense_0": layer(PIXELS, 8)},
        "mean": layer(8, LATENTS),
        "logvar": layer(8, LATENTS),
        "decoder": {"Dense_0": layer(LATENTS, 8), "Dense_1": layer(8, PIXELS)},
    }

    @jax.jit
    def compiled(params, x, eps):
        def mean_loss(params):
            examples = batch(x, eps)
            output = model.apply({"params": params}, examples)
            loss = objective.terms(output, examples, {})["loss"]
            return jnp.mean(loss), loss

        return jax.value_and_grad(mean_loss, has_aux=True)(params)

    (mean, rows), gradient = compiled(params, x, eps)
    doubles = jax.tree.map(np.float64, params)
    exact_rows, exact = exact_vae(doubles, np.float64(x.reshape(ROWS, PIXELS)), np.float64(eps))

    # A row is a float32 sum of 14 terms below 2 nats, each after two matrix products.
    np.testing.assert_allclose(rows, exact_rows, rtol=5e-6)
    # Sums over 40 000 rows are rounded per row at 6e-8: at worst in one direction, 2e-3, in
    # practice in blocks and at random, far below 1e-4; a row left out would be 2.5e-5 of them.
    np.testing.assert_allclose(mean, exact_rows.mean(), rtol=5e-6)
    assert jax.tree.structure(gradient) == jax.tree.structure(exact)
    jax.tree.map(
        # Gradients are sums of 40 000 terms of either sign, each below 1 / 40 000.
        lambda ours, ref: np.testing.assert_allclose(ours, ref, rtol=1e-4, atol=2e-6),
        gradient,
        exact,
    )
