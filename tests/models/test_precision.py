"""bfloat16 products: float32 outside of them, and as close as eight bits allow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model
from jaxvae.info import Info
from tests.given import batch

pytestmark = pytest.mark.numeric

SETTINGS = {
    "dense": {"hidden_dims": (16, 8), "batch_norm": True},
    "conv": {"network": "conv", "hidden_dims": (4, 36), "dense_dims": (8,)},
    "cae": {"family": "CAE", "hidden_dims": (4, 8)},
}
IMAGE = (12, 10, 2)


def outcome(compute, **settings):
    """Output and gradient of half its squared norm."""
    # tanh, since rounding moves entries across the kink of a ReLU, which changes gradients a lot
    settings = Model(latent_dim=3, activation="tanh", compute=compute, **settings)
    model = settings.build(Info(IMAGE))
    examples = batch(jax.random.uniform(jax.random.key(0), (5, *IMAGE)), jnp.ones((5, 3)))
    variables = jax.jit(model.init)(jax.random.key(1), examples)

    def value(params):
        output = model.apply(variables | {"params": params}, examples)
        return 0.5 * jnp.sum(jnp.square(output.decoded)), output

    return jax.jit(jax.grad(value, has_aux=True))(variables["params"]), variables, value


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "dense")) for n in SETTINGS]
)
def test_close_to_float32_and_stored_in_it(name):
    (full, full_output), variables, _ = outcome("float32", **SETTINGS[name])
    (low, low_output), low_variables, value = outcome("bfloat16", **SETTINGS[name])
    leaves = jax.tree.leaves((low, low_output, low_variables))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    jax.tree.map(np.testing.assert_array_equal, variables, low_variables)  # same initialisation

    # A product of factors rounded to 8 bits is off by up to 2^-7; sums of them by about 2^-8, and a
    # few layers add up. Relative to the largest entry of an array.
    def close(a, b):
        assert 0 < np.abs(a - b).max() < 0.05 * np.abs(a).max()

    jax.tree.map(close, (full, full_output), (low, low_output))

    # All products of hidden layers and decoder, forwards and backwards, are in bfloat16; only the
    # posterior's two heads are not: 2 forwards, 2 + 2 backwards.
    lines = str(jax.make_jaxpr(jax.grad(value, has_aux=True))(variables["params"])).split("\n")
    products = [line for line in lines if "dot_general" in line]
    in_float32 = [line for line in products if ":f32" in line.split("=")[0]]
    assert len(in_float32) == (0 if name == "cae" else 6) and len(products) > len(in_float32)
