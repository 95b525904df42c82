"""AE, CAE and VAE: shapes, the deterministic and the sampled path, parameter counts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from jaxvae import Model, noise
from jaxvae.models import decoder_mean, reparameterize

pytestmark = pytest.mark.numeric

IMAGE = (6, 4, 1)
KEY = jax.random.key(0, impl="unsafe_rbg")  # for any weights: it compiles quickly


def shapes_of(settings: Model, image_shape: tuple[int, int, int], learned_variance: bool = False):
    """Shapes of the parameters and of the output for three images; nothing is computed."""
    model = settings.build(image_shape, learned_variance)
    x = jax.ShapeDtypeStruct((3, *image_shape), jnp.float32)
    eps = jax.ShapeDtypeStruct((3, settings.latent_dim), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x, eps)
    output = jax.eval_shape(lambda v, x, eps: model.apply(v, x, eps), variables, x, eps)
    return variables, output


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


image_shapes = st.tuples(
    st.sampled_from([20, 28, 29, 32, 36, 64]),
    st.sampled_from([20, 28, 29, 32, 36, 64]),
    st.sampled_from([1, 3]),
)


@settings(deadline=None, max_examples=15)
@given(
    family=st.sampled_from(["AE", "VAE"]),
    image_shape=image_shapes,
    hidden_dims=st.lists(st.integers(1, 9), max_size=3).map(tuple),
    decoder_dims=st.none() | st.lists(st.integers(1, 9), max_size=3).map(tuple),
    latent_dim=st.integers(1, 7),
)
def test_dense_models_return_the_image_shape(
    family, image_shape, hidden_dims, decoder_dims, latent_dim
):
    model = Model(family, hidden_dims=hidden_dims, decoder_dims=decoder_dims, latent_dim=latent_dim)
    variables, output = shapes_of(model, image_shape)
    assert output.decoded.shape == (3, *image_shape)
    assert output.z.shape == (3, latent_dim)
    if family == "VAE":
        assert output.mean.shape == output.logvar.shape == (3, latent_dim)
    else:
        assert output.mean is None and output.logvar is None
    # A chain of widths a-b-... has the sum of (a + 1) b parameters; a VAE has two heads.
    pixels = int(np.prod(image_shape))
    encoder, decoder = (pixels, *hidden_dims), decoder_dims
    decoder = (latent_dim, *(hidden_dims[::-1] if decoder is None else decoder), pixels)
    chains = [*itertools.pairwise(encoder)]
    chains += [(encoder[-1], latent_dim)] * (2 if family == "VAE" else 1)
    chains += itertools.pairwise(decoder)
    assert count(variables["params"]) == sum((a + 1) * b for a, b in chains)


@settings(deadline=None, max_examples=12)
@given(
    family=st.sampled_from(["AE", "CAE", "VAE"]),
    image_shape=image_shapes,
    layers=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4),
    kernel_and_padding=st.sampled_from([(1, 0), (3, 1), (4, 1), (5, 2), (3, 0), (2, 0)]),
)
def test_convolutional_models_return_the_image_shape(
    family, image_shape, layers, kernel_and_padding
):
    """Odd sizes, sizes that differ, any stride: the decoder comes back to the very same shape."""
    hidden_dims, strides = zip(*layers, strict=True)
    k, p = kernel_and_padding
    size = min(image_shape[:2])
    height, width = image_shape[:2]
    for stride in strides:
        size = (size + 2 * p - k) // stride + 1 if size + 2 * p >= k else 0
        height, width = ((n + 2 * p - k) // stride + 1 for n in (height, width))
    model = Model(
        family, "conv", hidden_dims, latent_dim=2, strides=strides, kernel_size=k, padding=p
    )
    if size < 1:
        with pytest.raises(ValueError, match=r"image shape .* too small for model\.strides"):
            model.build(image_shape, False)
        return
    _, output = shapes_of(model, image_shape)
    assert output.decoded.shape == (3, *image_shape)
    code = (height, width, hidden_dims[-1]) if family == "CAE" else (2,)
    assert output.z.shape == (3, *code)


def test_too_small_an_image_names_the_layer_and_its_size():
    model = Model("CAE", hidden_dims=(4, 8, 8), strides=(2, 2, 2), kernel_size=5, padding=0)
    # (28, 30) -> (12, 13) -> (4, 5), and 4 rows are fewer than the kernel's 5.
    with pytest.raises(
        ValueError, match=r"\(28, 30, 1\).*\(2, 2, 2\).*convolution 3.*4x5"
    ) as error:
        model.build((28, 30, 1), False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "hidden, latent, batch_norm, parameters",
    [
        # 784-256-128-(2, 2)-128-256-784, with a scale and a shift for each of 768 hidden units
        ((256, 128), 2, True, 470_804),
        # 784-256-(20, 20), 20-256-784
        ((256,), 20, False, 418_104),
    ],
)
def test_number_of_parameters(hidden, latent, batch_norm, parameters):
    model = Model(hidden_dims=hidden, latent_dim=latent, batch_norm=batch_norm)
    variables, _ = shapes_of(model, (28, 28, 1))
    assert count(variables["params"]) == parameters
    learned, output = shapes_of(model, (28, 28, 1), learned_variance=True)
    assert count(learned["params"]) == parameters + 1
    assert output.x_logvar.shape == ()


X, EPS = np.random.default_rng(0).random((2, 7, 24), np.float32)
X, EPS = jnp.asarray(X.reshape(7, *IMAGE)), jnp.asarray(4 * EPS[:, :3] - 2)


def dense_vae(output: str):
    settings = Model(hidden_dims=(5,), latent_dim=3, output=output, init="torch")
    return settings.build(IMAGE, False)


@pytest.fixture(scope="module")
def variables():
    return dense_vae("logits").init(KEY, X, EPS)


@pytest.fixture(scope="module", params=["logits", "sigmoid", "linear"])
def vae(request, variables):
    """The same parameters with each kind of output."""
    return dense_vae(request.param), variables, X, EPS


def test_vae_is_encode_reparameterize_decode(vae):
    model, variables, x, eps = vae
    output = model.apply(variables, x, eps)
    mean, logvar = model.apply(variables, x, method="encode")
    np.testing.assert_array_equal(output.mean, mean)
    np.testing.assert_array_equal(output.logvar, logvar)
    # One rounding of exp, of the product and of the sum.
    np.testing.assert_allclose(
        output.z, np.float64(mean) + np.exp(np.float64(logvar) / 2) * eps, rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(output.decoded, model.apply(variables, output.z, method="decode"))


def test_without_noise_the_code_is_the_embedding(vae):
    model, variables, x, eps = vae
    output = model.apply(variables, x, 0 * eps)
    code = model.apply(variables, x, method="embed")
    np.testing.assert_array_equal(code, output.mean)
    np.testing.assert_array_equal(code, output.z)
    np.testing.assert_array_equal(code, model.apply(variables, x, method="embed"))
    reconstruction = model.apply(variables, x, method="reconstruct")
    np.testing.assert_array_equal(reconstruction, decoder_mean(output.decoded, model.output))
    np.testing.assert_array_equal(
        reconstruction, model.apply(variables, output.mean, method="decode_mean")
    )


def test_images_are_pixel_values_for_any_weights(vae):
    """The output "logits" is squashed exactly once, "sigmoid" too, and "linear" not at all."""
    model, variables, x, _ = vae
    large = jax.tree.map(lambda p: 30 * p, variables)
    decoded = np.asarray(model.apply(large, model.apply(large, x, method="embed"), method="decode"))
    images = np.asarray(model.apply(large, x, method="reconstruct"))
    outside = ((decoded < 0) | (decoded > 1)).any()
    assert outside == (model.output != "sigmoid")
    if model.output == "logits":
        np.testing.assert_allclose(images, special.expit(np.float64(decoded)), atol=2e-7)
    else:
        np.testing.assert_array_equal(images, decoded)
    if model.output != "linear":
        samples = model.apply(large, noise.root(0), 9, method="sample")
        for values in (images, samples):
            assert (values >= 0).all() and (values <= 1).all()


def test_samples_follow_from_their_key(vae):
    model, variables, _, _ = vae
    sample = jax.jit(lambda key: model.apply(variables, key, 9, method="sample"))
    first = sample(noise.root(5))
    assert first.shape == (9, *IMAGE)
    np.testing.assert_array_equal(first, sample(noise.root(5)))
    assert (np.asarray(first) != np.asarray(sample(noise.root(6)))).any()
    z = jax.random.normal(noise.root(5), (9, 3))  # z is drawn from the prior
    # The same formula, compiled together or operation by operation: a few roundings.
    np.testing.assert_allclose(
        first, model.apply(variables, z, method="decode_mean"), rtol=1e-5, atol=1e-6
    )


def test_an_autoencoder_ignores_noise_and_its_code_may_be_activated():
    settings = {"hidden_dims": (5,), "latent_dim": 3, "output": "sigmoid", "init": "torch"}
    plain = Model("AE", **settings).build(IMAGE, False)
    activated = Model("AE", code_activation=True, **settings).build(IMAGE, False)
    variables = plain.init(KEY, X)
    output = plain.apply(variables, X, EPS)
    np.testing.assert_array_equal(output.z, plain.apply(variables, X).z)
    np.testing.assert_array_equal(output.decoded, plain.apply(variables, X, method="reconstruct"))
    assert (output.z < 0).any()
    code = activated.apply(variables, X, method="embed")  # of the same parameters
    np.testing.assert_array_equal(code, jnp.maximum(output.z, 0))


@settings(deadline=None, max_examples=20)
@given(mean=st.floats(-5, 5, width=32), logvar=st.floats(-8, 8, width=32))
def test_reparameterized_samples_have_the_posterior_moments(mean, logvar):
    n = 10_000
    eps = np.sort(np.random.default_rng(0).standard_normal((n // 2, 1)))
    eps = np.concatenate([eps, -eps]) / np.sqrt(np.mean(eps**2))  # mean 0 and variance 1
    z = reparameterize(
        jnp.full((n, 1), mean, jnp.float32),
        jnp.full((n, 1), logvar, jnp.float32),
        jnp.asarray(eps, jnp.float32),
    )
    z = np.asarray(z, np.float64)
    std = np.exp(0.5 * logvar)
    # Every z is rounded at 6e-8 of its size, at most |mean| + 5 std; the rounding errors of z
    # carry over to both moments at most in full.
    scale = abs(mean) + 5 * std
    assert abs(z.mean() - mean) < 1e-6 * scale
    assert abs(z.std() - std) < 1e-6 * scale
