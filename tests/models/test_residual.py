"""Residual blocks: what a block computes, and where encoder and decoder have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.models import ConvDecoder, ConvEncoder, LayerSettings, ResidualStack
from jaxvae.models.layers import Residual

SETTINGS = LayerSettings()


def convolved(x, kernel):
    """By loops over the taps: a 3x3 convolution with zeros around, or a 1x1 one."""
    k = len(kernel)
    height, width = x.shape[1:3]
    around = np.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    return sum(
        around[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(k) for j in range(k)
    )


def relu(x):
    return np.maximum(x, 0)


def test_a_block_adds_two_convolutions_to_its_input():
    """x + W2 relu(W1 x), of a 3x3 and a 1x1 kernel without biases; with W2 = 0 the identity."""
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype(np.float32)
    block = Residual(6, SETTINGS)
    params = block.init(jax.random.key(0), x)["params"]
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes == {"Conv_0": {"kernel": (3, 3, 3, 6)}, "Conv_1": {"kernel": (1, 1, 6, 3)}}
    inner, outer = (np.float64(params[name]["kernel"]) for name in ("Conv_0", "Conv_1"))
    expected = x + convolved(relu(convolved(np.float64(x), inner)), outer)
    np.testing.assert_allclose(block.apply({"params": params}, x), expected, atol=1e-5)
    params["Conv_1"]["kernel"] = jnp.zeros((1, 1, 6, 3))
    assert (block.apply({"params": params}, x) == x).all()


@pytest.mark.parametrize("blocks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_stack_is_behind_the_encoders_convolutions_and_before_the_decoders(blocks):
    """With the identity in its 3x3 convolution and blocks of zeros it changes nothing: behind a
    ReLU in the encoder, and where the code is positive in the decoder."""
    x = jnp.asarray(np.random.default_rng(1).random((2, 8, 8, 1)), jnp.float32)
    stack, geometry = ResidualStack(blocks, 5), ((4, 6), (2, 2))
    networks = {
        "encoder": (ConvEncoder(*geometry), ConvEncoder(*geometry, residual=stack), x),
        "decoder": (
            ConvDecoder(*geometry, (8, 8, 1)),
            ConvDecoder(*geometry, (8, 8, 1), residual=stack),
            jnp.asarray(np.random.default_rng(2).random((2, 2, 2, 6)), jnp.float32),
        ),
    }
    for side, (plain, with_stack, given) in networks.items():
        ours = with_stack.init(jax.random.key(0), given)["params"]
        without = plain.init(jax.random.key(0), given)["params"]
        added = "Conv_2" if side == "encoder" else "Conv_0"
        own = {added, *(f"Residual_{i}" for i in range(blocks))}
        assert ours.keys() == without.keys() | own
        for name in without:
            ours[name] = without[name]
        identity = jnp.zeros((3, 3, 6, 6)).at[1, 1].set(jnp.eye(6))
        ours[added] = {"kernel": identity, "bias": jnp.zeros(6)}
        drawn = {name: ours[name] for name in own - {added}}
        for name in drawn:
            ours[name] = jax.tree.map(jnp.zeros_like, drawn[name])
        expected = plain.apply({"params": without}, given)
        np.testing.assert_allclose(
            with_stack.apply({"params": ours}, given), expected, rtol=0, atol=1e-6
        )
        changed = with_stack.apply({"params": ours | drawn}, given)
        assert not np.allclose(changed, expected, atol=1e-2)


def test_without_blocks_there_is_no_stack():
    x = jnp.zeros((1, 8, 8, 1))
    for network in (ConvEncoder((4,), (2,)), ConvEncoder((4,), (2,), residual=ResidualStack(0, 9))):
        assert network.init(jax.random.key(0), x)["params"].keys() == {"Conv_0"}
