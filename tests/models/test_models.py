"""AE, CAE and VAE: shapes, the deterministic and the sampled path, parameter counts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from jaxvae import Model, noise
from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.models import decoder_mean, reparameterize
from jaxvae.noise import Noise
from tests.given import batch

pytestmark = pytest.mark.numeric

IMAGE = (6, 4, 1)
KEY = jax.random.key(0, impl="unsafe_rbg")  # for any weights: it compiles quickly


def shapes_of(settings: Model, image_shape: tuple[int, int, int]):
    """Shapes of the parameters and of the output for three images; nothing is computed."""
    model = settings.build(Info(image_shape))

    def run():
        own = Noise(noise.root(0), 0, jnp.arange(3))
        examples = batch(jnp.zeros((3, *image_shape)), own=own)
        variables = model.init(KEY, examples)
        return variables, model.apply(variables, examples)

    return jax.eval_shape(run)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


image_shapes = st.tuples(
    st.sampled_from([20, 28, 29, 32, 36, 64]),
    st.sampled_from([20, 28, 29, 32, 36, 64]),
    st.sampled_from([1, 3]),
)


@settings(max_examples=15)
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
        assert output.aux["mean"].shape == output.aux["logvar"].shape == (3, latent_dim)
        assert output.kl.shape == output.log_ratio.shape == (3,)
    else:
        assert output.kl is None and output.log_ratio is None and not output.aux
    # A chain of widths a-b-... has the sum of (a + 1) b parameters; a VAE has two heads.
    pixels = int(np.prod(image_shape))
    encoder, decoder = (pixels, *hidden_dims), decoder_dims
    decoder = (latent_dim, *(hidden_dims[::-1] if decoder is None else decoder), pixels)
    chains = [*itertools.pairwise(encoder)]
    chains += [(encoder[-1], latent_dim)] * (2 if family == "VAE" else 1)
    chains += itertools.pairwise(decoder)
    assert count(variables["params"]) == sum((a + 1) * b for a, b in chains)


@settings(max_examples=12)
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
            model.build(Info(image_shape))
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
        model.build(Info((28, 30, 1)))
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


X, EPS = np.random.default_rng(0).random((2, 7, 24), np.float32)
X, EPS = jnp.asarray(X.reshape(7, *IMAGE)), jnp.asarray(4 * EPS[:, :3] - 2)
DRAWN, MEANS = batch(X, EPS), batch(X)
INFO = Info(IMAGE)


def dense_vae(output: str):
    settings = Model(hidden_dims=(5,), latent_dim=3, output=output, init="torch")
    return settings.build(INFO)


@pytest.fixture(scope="module")
def variables():
    return dense_vae("logits").init(KEY, DRAWN)


@pytest.fixture(scope="module", params=["logits", "sigmoid", "linear"])
def vae(request, variables):
    """The same parameters with each kind of output."""
    return dense_vae(request.param), variables


def test_vae_is_encode_reparameterize_decode(vae):
    model, variables = vae
    output = model.apply(variables, DRAWN)
    mean, logvar = model.apply(variables, DRAWN, method="posterior")
    np.testing.assert_array_equal(output.aux["mean"], mean)
    np.testing.assert_array_equal(output.aux["logvar"], logvar)
    # One rounding of exp, of the product and of the sum.
    np.testing.assert_allclose(
        output.z, np.float64(mean) + np.exp(np.float64(logvar) / 2) * EPS, rtol=1e-6, atol=1e-6
    )
    decoded = model.apply(variables, output.z, DRAWN, method="decode")
    np.testing.assert_array_equal(output.decoded, decoded)


def test_what_a_vae_says_of_its_posterior(vae):
    """The KL per example and per latent, and log q - log p at the sample, in nats."""
    model, variables = vae
    output = model.apply(variables, DRAWN)
    mean, logvar = (np.float64(output.aux[name]) for name in ("mean", "logvar"))
    kl = 0.5 * (mean**2 + np.expm1(logvar) - logvar)
    # Three float32 terms of about 1.
    np.testing.assert_allclose(output.aux["kl_per_latent"], kl, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(output.kl, kl.sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(output.kl_of_example, output.kl)
    z = np.float64(output.z)
    q, p = stats.norm(mean, np.exp(logvar / 2)), stats.norm()
    ratio = (q.logpdf(z) - p.logpdf(z)).sum(axis=1)
    # Sums of densities of about 5 nats, whose difference is smaller.
    np.testing.assert_allclose(output.log_ratio, ratio, atol=1e-5)


def test_without_noise_the_code_is_the_embedding(vae):
    model, variables = vae
    output = model.apply(variables, MEANS)
    code = model.apply(variables, MEANS, method="embed")
    np.testing.assert_array_equal(code, output.aux["mean"])
    np.testing.assert_array_equal(code, output.z)
    np.testing.assert_array_equal(code, model.apply(variables, DRAWN, method="embed"))
    np.testing.assert_array_equal(
        output.decoded, model.apply(variables, code, MEANS, method="decode")
    )
    at_zero = model.apply(variables, batch(X, 0 * EPS))
    jax.tree.map(np.testing.assert_array_equal, at_zero, output)
    drawn = model.apply(variables, DRAWN.without_noise())
    jax.tree.map(np.testing.assert_array_equal, drawn, output)


def prior(model, variables, key, n: int = 9):
    """n codes, and the images that are decoded from them."""
    label = jnp.full(n, -1, jnp.int32)
    examples = Batch(None, None, label, None, Noise(key, 0, jnp.arange(n)), INFO)
    z = model.apply(variables, examples, method="prior")
    return z, decoder_mean(model.apply(variables, z, examples, method="decode"), model.output)


def test_images_are_pixel_values_for_any_weights(vae):
    """The output "logits" is squashed exactly once, "sigmoid" too, and "linear" not at all."""
    model, variables = vae
    large = jax.tree.map(lambda p: 30 * p, variables)
    decoded = np.asarray(model.apply(large, MEANS).decoded)
    images = np.asarray(decoder_mean(jnp.asarray(decoded), model.output))
    outside = ((decoded < 0) | (decoded > 1)).any()
    assert outside == (model.output != "sigmoid")
    if model.output == "logits":
        np.testing.assert_allclose(images, special.expit(np.float64(decoded)), atol=2e-7)
    else:
        np.testing.assert_array_equal(images, decoded)
    if model.output != "linear":
        _, samples = prior(model, large, noise.root(0))
        for values in (images, samples):
            assert (values >= 0).all() and (values <= 1).all()


def test_samples_follow_from_their_key(vae):
    """The prior is N(0, I)."""
    model, variables = vae
    sample = jax.jit(lambda key: prior(model, variables, key))
    z, images = sample(noise.root(5))
    assert images.shape == (9, *IMAGE)
    np.testing.assert_array_equal(images, sample(noise.root(5))[1])
    assert (np.asarray(images) != np.asarray(sample(noise.root(6))[1])).any()
    keys = noise.example_keys(noise.stream(noise.root(5), "sample"), 0, jnp.arange(9))
    np.testing.assert_array_equal(z, noise.normal(keys, (3,)))


def test_an_autoencoder_ignores_noise_and_its_code_may_be_activated():
    settings = {"hidden_dims": (5,), "latent_dim": 3, "output": "sigmoid", "init": "torch"}
    plain = Model("AE", **settings).build(INFO)
    activated = Model("AE", code_activation=True, **settings).build(INFO)
    variables = plain.init(KEY, MEANS)
    output = plain.apply(variables, DRAWN)
    jax.tree.map(np.testing.assert_array_equal, output, plain.apply(variables, MEANS))
    np.testing.assert_array_equal(output.z, plain.apply(variables, MEANS, method="embed"))
    assert (output.z < 0).any()
    code = activated.apply(variables, MEANS, method="embed")  # of the same parameters
    np.testing.assert_array_equal(code, jnp.maximum(output.z, 0))
    with pytest.raises(UsageError, match="no prior"):
        prior(plain, variables, noise.root(0))


@pytest.mark.parametrize("dense_dims", [(), (4,)])
def test_what_follows_the_expansion_to_a_feature_map(dense_dims):
    """Of one layer of transposed convolutions, decoded by hand from the expansion's own numbers."""
    settings = {"network": "conv", "hidden_dims": (2,), "latent_dim": 3, "dense_dims": dense_dims}
    settings |= {"activation": "tanh", "init": "torch"}
    linear = Model(expansion="linear", **settings).build(INFO)
    variables = linear.init(KEY, MEANS)
    layers = variables["params"]["decoder"]
    z = jnp.array([1.0, -2.0, 0.5])
    h = z
    for i in range(len(dense_dims)):
        h = jnp.tanh(h @ layers[f"Dense_{i}"]["kernel"] + layers[f"Dense_{i}"]["bias"])
    last = layers[f"Dense_{len(dense_dims)}"]
    h = h @ last["kernel"] + last["bias"]

    def decode(model, changed=None):
        params = variables["params"] | {"decoder": layers | (changed or {})}
        return model.apply({"params": params}, z[None], MEANS, method="decode")

    # A bias that brings the linear expansion to tanh(h) does what the activation does.
    moved = {f"Dense_{len(dense_dims)}": last | {"bias": last["bias"] + jnp.tanh(h) - h}}
    expected = decode(linear, moved)
    for expansion in ("activation", "hidden"):  # there is no BatchNorm
        model = Model(expansion=expansion, **settings).build(INFO)
        np.testing.assert_allclose(decode(model), expected, rtol=0, atol=1e-6)
    assert abs(decode(linear) - expected).max() > 1e-3
    default = Model(**settings).build(INFO)
    same = expected if dense_dims else decode(linear)
    np.testing.assert_allclose(decode(default), same, rtol=0, atol=1e-6 if dense_dims else 0)

    normed = [
        Model(expansion=e, batch_norm=True, **settings).build(INFO)
        for e in ("linear", "activation", "hidden")
    ]
    counts = [
        len(jax.eval_shape(m.init, KEY, MEANS)["batch_stats"].get("decoder", {})) for m in normed
    ]
    assert counts == [len(dense_dims), len(dense_dims), len(dense_dims) + 1]


@pytest.mark.parametrize("family", ["AE", "VAE"])
@pytest.mark.parametrize("shape", [(7,), (10, 2), (2, 3, 4, 5)])
def test_dense_models_take_examples_of_any_shape(family, shape):
    """Rows of a table, signals, volumes; convolutions are for images and signals."""
    model = Model(family, hidden_dims=(5,), latent_dim=3)
    _, output = shapes_of(model, shape)
    assert output.decoded.shape == (3, *shape) and output.z.shape == (3, 3)
    conv = Model(family, "conv", hidden_dims=(5,))
    if len(shape) == 2:
        conv.build(Info(shape))
        return
    with pytest.raises(
        UsageError, match=r"network = 'conv': must be 'dense' for .*images .* nor signals \(length"
    ):
        conv.build(Info(shape))


@settings(max_examples=20)
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
