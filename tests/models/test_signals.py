"""Convolutions of signals, (batch, length, channels): the operations, and models made of them."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jaxvae import Model, noise
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.models.convolution import conv, conv_output_size, conv_transpose, output_padding_for
from jaxvae.noise import Noise
from tests.given import batch
from tests.models.loops import METHODS, assert_methods_equal, quickly

pytestmark = pytest.mark.numeric

# float64 sums of at most 5 * 12 * 4 products of numbers of order 1: the rounding error is below
# 1e-12, and a tap or a value in the wrong place is an error of order 1.
TOLERANCE = {"rtol": 1e-11, "atol": 1e-11}
KEY = jax.random.key(0, impl="unsafe_rbg")  # for any weights: it compiles quickly


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def reference(x, kernel, g, s, p, transposed):
    """Output, and the gradients of its inner product with g, by loops over values and taps."""
    out, dx, dkernel = np.zeros_like(g), np.zeros_like(x), np.zeros_like(kernel)
    small, large = (x.shape[1], g.shape[1]) if transposed else (g.shape[1], x.shape[1])
    for i, t in product(range(small), range(len(kernel))):
        if 0 <= (j := s * i + t - p) < large:
            read, write = (i, j) if transposed else (j, i)
            out[:, write] += x[:, read] @ kernel[t]
            dx[:, read] += g[:, write] @ kernel[t].T
            dkernel[t] += x[:, read].T @ g[:, write]
    return out, dx, dkernel


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), transposed=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_operations_and_their_gradients_equal_loops(data, transposed, seed):
    k, s, length = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 12)))
    p = data.draw(st.integers(0, k - 1))
    n, channels, features = data.draw(st.tuples(*[st.integers(1, 4)] * 3))
    if transposed:
        extra = data.draw(st.integers(0, s - 1))
        end = (length - 1) * s - 2 * p + k + extra
        operation = partial(conv_transpose, stride=s, padding=p, output_padding=(extra,))
    else:
        end = (length + 2 * p - k) // s + 1
        operation = partial(conv, stride=s, padding=p)
    assume(end >= 1)
    x, kernel = normal([seed, 0], n, length, channels), normal([seed, 1], k, channels, features)
    g = normal([seed, 2], n, end, features)
    expected = reference(x, kernel, g, s, p, transposed)
    assert_methods_equal(operation, x, kernel, g, expected, TOLERANCE)


@pytest.mark.parametrize("method", METHODS)
def test_a_signal_is_an_image_of_one_column(method):
    """With the kernel in the middle column of a k x k one: the others meet the border's zeros."""
    x, kernel = normal(0, 2, 11, 3), normal(1, 3, 3, 4)
    square = np.zeros((3, 3, 3, 4))
    square[:, 1] = kernel

    @quickly
    def there_and_back(x, kernel):
        y, none = conv(x, kernel, 1, 1, method=method), (0,) * (x.ndim - 2)
        return y, conv_transpose(y, kernel.swapaxes(-2, -1), 1, 1, none, method=method)

    with jax.enable_x64(True):
        images = there_and_back(x[:, :, None], square)
        for got, image in zip(there_and_back(x, kernel), images, strict=True):
            np.testing.assert_allclose(got, image[:, :, 0], **TOLERANCE)


def autoencode(method):
    """A loss through a convolution and its mirror, of x and two kernels."""

    def loss(x, down, up):
        code = jnp.tanh(conv(x, down, 2, 1, method=method))
        return jnp.sum(conv_transpose(code, up, 2, 1, (0,), method=method) ** 2)

    return loss


@pytest.mark.parametrize("method", METHODS)
def test_forward_mode_agrees_with_reverse_mode(method):
    at = normal(0, 2, 9, 3), 0.3 * normal(1, 3, 3, 4), 0.3 * normal(2, 3, 4, 3)
    along = tuple(normal([seed, 3], *a.shape) for seed, a in enumerate(at))
    with jax.enable_x64(True):
        slope = quickly(lambda at, along: jax.jvp(autoencode(method), at, along)[1])(at, along)
        gradient = quickly(jax.grad(autoencode(method), argnums=(0, 1, 2)))(*at)
        expected = sum(jnp.vdot(g, d) for g, d in zip(gradient, along, strict=True))
    np.testing.assert_allclose(slope, expected, rtol=1e-10)


def test_method_follows_the_platform_that_is_lowered_for():
    """Not the one at hand: two layers, each with a forward pass and two gradients."""
    x, down = jnp.ones((1, 9, 2)), jnp.ones((3, 2, 2))
    gradient = jax.grad(autoencode(None), argnums=(0, 1, 2))
    traced = jax.jit(gradient).trace(x, down, down)
    for platform, count in (("cpu", 0), ("cuda", 0), ("rocm", 0), ("tpu", 6)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == count


def outcome(model, variables, x, train=False):
    own = Noise(noise.root(0), 0, jnp.arange(len(x)))
    return model.apply(variables, batch(x, own=own), train, mutable=["batch_stats"])


@settings(max_examples=12)
@given(
    family=st.sampled_from(["AE", "CAE", "VAE"]),
    shape=st.tuples(st.integers(5, 70), st.integers(1, 3)),
    layers=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4),
    kernel_and_padding=st.sampled_from([(1, 0), (3, 1), (4, 1), (5, 2), (3, 0), (2, 0)]),
    dense_dims=st.sampled_from([(), (4,)]),
)
def test_models_return_the_shape(family, shape, layers, kernel_and_padding, dense_dims):
    """Any length and stride: the decoder comes back to the very same shape."""
    hidden_dims, strides = zip(*layers, strict=True)
    k, p = kernel_and_padding
    lengths = [shape[0]]
    for stride in strides:
        fits = lengths[-1] + 2 * p >= k
        lengths.append((lengths[-1] + 2 * p - k) // stride + 1 if fits else 0)
    settings = Model(
        family,
        "conv",
        hidden_dims,
        latent_dim=2,
        dense_dims=() if family == "CAE" else dense_dims,
        strides=strides,
        kernel_size=k,
        padding=p,
        batch_norm=True,
        dropout=0.3,
    )
    if min(lengths) < 1:
        with pytest.raises(UsageError, match=r"signal shape .* too small for model\.strides"):
            settings.build(Info(shape))
        return
    for length, stride, end in zip(lengths, strides, lengths[1:], strict=False):
        assert end == conv_output_size(length, k, stride, p)
        assert 0 <= output_padding_for(length, k, stride, p) < stride
    model = settings.build(Info(shape))

    def run(x):
        variables = model.init(KEY, batch(x))
        return variables, outcome(model, variables, x, train=True)[0]

    variables, output = jax.eval_shape(run, jnp.zeros((3, *shape)))
    assert output.decoded.shape == (3, *shape)
    assert output.z.shape == (3, *((lengths[-1], hidden_dims[-1]) if family == "CAE" else (2,)))
    first = variables["params"]["encoder"]["Conv_0"]["kernel"]
    assert first.shape == (k, shape[1], hidden_dims[0])


def test_too_short_a_signal_names_the_layer_and_its_length():
    model = Model("CAE", hidden_dims=(4, 8, 8), kernel_size=5, padding=0)
    # 28 -> 12 -> 4, fewer than the kernel's 5.
    with pytest.raises(UsageError, match=r"\(28, 2\).*convolution 3 would see 4 values.*least 5"):
        model.build(Info((28, 2)))


@pytest.mark.parametrize("model", [Model("VAE", "conv"), Model("CAE"), Model("AE", "conv")])
def test_rows_of_a_table_are_refused(model):
    with pytest.raises(UsageError, match=r"'conv': must be 'dense' for examples of shape \(7,\)"):
        model.build(Info((7,)))


def sines(n, length):
    """Signals of two channels: a sine and a cosine of random frequency and phase."""
    frequency, phase = np.random.default_rng(0).uniform(0.1, 1, (2, n, 1))
    angle = frequency * np.arange(length) + 6 * phase
    return jnp.asarray(np.stack([np.sin(angle), np.cos(angle)], axis=-1), jnp.float32)


@pytest.mark.parametrize("family", ["VAE", "CAE"])
def test_models_learn_signals(family):
    """Forty steps more than halve the squared error that they begin with."""
    settings = Model(
        family, "conv", (8, 16), latent_dim=4, kernel_size=4, output="linear", batch_norm=True
    )
    x, model = sines(32, 21), settings.build(Info((21, 2)))
    optimizer = optax.adam(1e-2)

    def loss_of(params, statistics):
        found, updated = outcome(model, {"params": params, "batch_stats": statistics}, x, True)
        recon = jnp.mean(jnp.sum((found.decoded - x) ** 2, axis=(1, 2)))
        return recon + (0 if found.kl is None else 0.1 * jnp.mean(found.kl)), updated

    def step(carry, _):
        params, statistics, state = carry
        (loss, updated), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, statistics)
        with jax.numpy_dtype_promotion("standard"):  # Optax relies on promotion
            updates, state = optimizer.update(gradient, state)
        params = optax.apply_updates(params, updates)
        return (params, updated["batch_stats"], state), loss

    @quickly
    def train():
        variables = model.init(KEY, batch(x))
        params = variables["params"]
        carry = params, variables["batch_stats"], optimizer.init(params)
        return jax.lax.scan(step, carry, None, length=40)[1]

    losses = train()
    assert np.isfinite(losses).all() and losses[-1] < 0.5 * losses[0]


def test_batch_norm_is_over_batch_and_length():
    settings = Model("CAE", hidden_dims=(3,), activation="leaky_relu", batch_norm=True)
    model = settings.build(Info((9, 2)))
    x = 3 + sines(6, 9)

    @quickly
    def run(x):
        variables = model.init(KEY, batch(x))
        return variables, *outcome(model, variables, x, train=True)

    variables, output, updated = run(x)
    layer = variables["params"]["encoder"]["Conv_0"]
    # The bias is 0 at first, and drops out of what is normalised.
    y = np.float64(conv(x, layer["kernel"], 2, 1)).reshape(-1, 3)
    mean, var = y.mean(axis=0), y.var(axis=0)
    normalised = (y - mean) / np.sqrt(var + 1e-5)
    expected = np.where(normalised > 0, normalised, 0.01 * normalised)
    # Sums of 30 float32 terms of about 3, less their mean.
    np.testing.assert_allclose(output.z.reshape(-1, 3), expected, atol=5e-5)
    after = updated["batch_stats"]["encoder"]["Hidden_0"]["BatchNorm_0"]
    np.testing.assert_allclose(after["mean"], 0.1 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(after["var"], 0.9 + 0.1 * y.var(axis=0, ddof=1), rtol=1e-5)
