"""Convolutional networks as the chain of their layers, by hand from the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxvae import Model, noise
from jaxvae.info import Info
from jaxvae.models import ConvEncoder, LayerSettings
from jaxvae.models.layers import keep_mask
from tests.given import batch

SHAPE = (5, 4, 2)
X = np.random.default_rng(0).random((3, *SHAPE), np.float32)


def random_variables(module):
    """Without compiling an initialisation."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), batch(jnp.asarray(X)))
    return jax.tree.map(lambda x: rng.standard_normal(x.shape).astype(np.float32) / 3, shapes)


def dense(x, layer):
    return np.float64(x) @ layer["kernel"] + layer["bias"]


def strided(x, layer):
    """out[i, j] = b + sum of x[2 i + u - 1, 2 j + v - 1] @ kernel[u, v]: 5x4 pixels become 3x2."""
    x, out = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), np.zeros((len(x), 3, 2, 4))
    for i, j in np.ndindex(3, 2):
        window = x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        out[:, i, j] = np.einsum("nuvc,uvcd->nd", window, layer["kernel"]) + layer["bias"]
    return out


def transposed(x, layer):
    """out[2 i + u - 1, 2 j + v - 1] += x[i, j] @ kernel[u, v], from b on: 3x2 pixels become 5x4."""
    out = np.zeros((len(x), 7, 6, 2)) + layer["bias"]
    for i, j in np.ndindex(3, 2):
        part = np.einsum("nc,uvcd->nuvd", x[:, i, j], layer["kernel"])
        out[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += part
    return out[:, 1:6, 1:5]


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize("dense_dims", [(), (7, 5)])
def test_a_convolutional_vae_is_the_chain_of_its_layers(dense_dims):
    """Behind dense layers, which are mirrored, the expansion to a feature map is hidden too."""
    model = Model(network="conv", hidden_dims=(4,), latent_dim=3, dense_dims=dense_dims)
    module = model.build(Info(SHAPE))
    variables = random_variables(module)
    output = jax.jit(module.apply)(variables, batch(jnp.asarray(X)))
    encoder, decoder = variables["params"]["encoder"], variables["params"]["decoder"]
    h = relu(strided(X, encoder["Conv_0"])).reshape(3, -1)
    for i in range(len(dense_dims)):
        h = relu(dense(h, encoder[f"Dense_{i}"]))
    z = dense(h, variables["params"]["mean"])
    # Float32 sums of up to 24 products of numbers of about 1.
    np.testing.assert_allclose(output.z, z, rtol=1e-4, atol=1e-5)

    widths = [decoder[name]["bias"].size for name in sorted(decoder) if name.startswith("Dense")]
    assert widths == [*dense_dims[::-1], 3 * 2 * 4]
    for i in range(len(dense_dims)):
        z = relu(dense(z, decoder[f"Dense_{i}"]))
    maps = dense(z, decoder[f"Dense_{len(dense_dims)}"]).reshape(3, 3, 2, 4)
    decoded = transposed(relu(maps) if dense_dims else maps, decoder["ConvTranspose_0"])
    np.testing.assert_allclose(output.decoded, decoded, rtol=1e-4, atol=1e-5)
    assert (decoded < 0).any() and (maps < 0).any()  # so that an activation would show


def test_a_decoder_of_its_own_goes_from_the_code_outwards():
    model = Model(network="conv", hidden_dims=(4,), decoder_dims=(6, 3), decoder_strides=(1, 2))
    module = model.build(Info(SHAPE))
    params = jax.eval_shape(module.init, jax.random.key(0), batch(jnp.asarray(X)))
    params = params["params"]["decoder"]
    assert params["Dense_0"]["kernel"].shape == (20, 3 * 2 * 6)
    assert params["ConvTranspose_0"]["kernel"].shape == (3, 3, 6, 3)
    assert params["ConvTranspose_1"]["kernel"].shape == (3, 3, 3, 2)


def test_feature_maps_are_dropped_entry_by_entry():
    settings = LayerSettings("sigmoid", dropout=0.4)
    keys = noise.example_keys(noise.stream(noise.root(0), "dropout"), 0, jnp.arange(3))
    encoder = ConvEncoder((4,), (2,), settings=settings)
    layer = {"kernel": np.full((3, 3, 2, 4), 0.1, np.float32), "bias": np.zeros(4, np.float32)}
    found = encoder.apply({"params": {"Conv_0": layer}}, jnp.asarray(X), True, keys)
    keep = keep_mask(keys, "Hidden_0/Dropout_0", (3, 2, 4), 0.4)
    expected = np.where(keep, special.expit(strided(X, layer)) / 0.6, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
