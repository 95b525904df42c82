"""Convolutions against loops over every pixel and tap, each other, and the adjoint identity."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jaxvae.models.convolution import (
    APART,
    conv,
    conv_output_size,
    conv_transpose,
    output_padding_for,
)
from tests.models.loops import METHODS, assert_methods_equal

pytestmark = pytest.mark.numeric

# float64 sums of at most 5 * 5 * 9 * 9 * 3 products of numbers of order 1: the rounding error is
# below 1e-11, and a tap or a pixel in the wrong place is an error of order 1.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def touching(small, large, k, s, p):
    """Every (i, s i + t - p, t), in two dimensions, with all three inside their arrays."""
    for i, j, u, v in product(range(small[0]), range(small[1]), range(k), range(k)):
        row, column = s * i + u - p, s * j + v - p
        if 0 <= row < large[0] and 0 <= column < large[1]:
            yield (slice(None), i, j), (slice(None), row, column), (u, v)


def reference(x, kernel, g, s, p, transposed):
    """Output, and the gradients of its inner product with g, by loops over pixels and taps."""
    out, dx, dkernel = np.zeros_like(g), np.zeros_like(x), np.zeros_like(kernel)
    small, large = (x, g) if transposed else (g, x)
    k = kernel.shape[0]
    for near, far, tap in touching(small.shape[1:3], large.shape[1:3], k, s, p):
        read, write = (near, far) if transposed else (far, near)
        out[write] += x[read] @ kernel[tap]
        dx[read] += g[write] @ kernel[tap].T
        dkernel[tap] += x[read].T @ g[write]
    return out, dx, dkernel


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def assert_equal_to_reference(operation, x, kernel, g, s, p, transposed):
    expected = reference(x, kernel, g, s, p, transposed)
    assert_methods_equal(operation, x, kernel, g, expected, TOLERANCE)


@st.composite
def geometries(draw):
    """Kernel size, stride, padding, height and width, channels in and out, batch."""
    k, s = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    p = draw(st.integers(0, k - 1))
    size = st.integers(1, 9)
    channels = st.integers(1, 4)
    return (
        k,
        s,
        p,
        (draw(size), draw(size)),
        draw(channels),
        draw(channels),
        draw(st.integers(1, 3)),
    )


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1))
def test_conv_and_its_gradients_equal_loops(geometry, seed):
    k, s, p, (h, w), channels, features, batch = geometry
    assume(min(h, w) + 2 * p >= k)
    out = ((h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1)
    x, kernel = (
        normal([seed, 0], batch, h, w, channels),
        normal([seed, 1], k, k, channels, features),
    )
    g = normal([seed, 2], batch, *out, features)
    assert_equal_to_reference(
        partial(conv, stride=s, padding=p), x, kernel, g, s, p, transposed=False
    )


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(geometry=geometries(), seed=st.integers(0, 2**32 - 1), data=st.data())
def test_conv_transpose_and_its_gradients_equal_loops(geometry, seed, data):
    k, s, p, (h, w), channels, features, batch = geometry
    extra = tuple(data.draw(st.tuples(*[st.integers(0, s - 1)] * 2), label="output padding"))
    out = tuple((n - 1) * s - 2 * p + k + e for n, e in zip((h, w), extra, strict=True))
    assume(min(out) >= 1)
    x, kernel = (
        normal([seed, 0], batch, h, w, channels),
        normal([seed, 1], k, k, channels, features),
    )
    g = normal([seed, 2], batch, *out, features)
    assert_equal_to_reference(
        partial(conv_transpose, stride=s, padding=p, output_padding=extra),
        *(x, kernel, g, s, p),
        transposed=True,
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("k", "s", "p", "size"), [(3, 2, 1, (8, 5)), (4, 3, 0, (9, 6))])
def test_conv_transpose_is_the_adjoint_of_conv(method, k, s, p, size):
    """<conv(x, kernel), y> = <x, conv_transpose(y, kernel with its channels swapped)>."""
    out = [conv_output_size(n, k, s, p) for n in size]
    extra = tuple(output_padding_for(n, k, s, p) for n in size)
    x, y, kernel = normal(0, 2, *size, 3), normal(1, 2, *out, 4), normal(2, k, k, 3, 4)
    with jax.enable_x64(True):
        left = jnp.vdot(conv(x, kernel, s, p, method=method), y)
        back = conv_transpose(y, kernel.swapaxes(2, 3), s, p, extra, method=method)
        right = jnp.vdot(x, back)
    np.testing.assert_allclose(left, right, **TOLERANCE)


@given(geometry=geometries())
def test_output_padding_returns_to_the_size(geometry):
    k, s, p, (size, _), *_ = geometry
    assume(size + 2 * p >= k)
    # The definition: how many strides fit before the kernel leaves the padded image.
    n = conv_output_size(size, k, s, p)
    assert n == len(range(0, size + 2 * p - k + 1, s))
    extra = output_padding_for(size, k, s, p)
    assert 0 <= extra < s
    assert (n - 1) * s - 2 * p + k + extra == size


def autoencode(method):
    """A loss through a convolution and its mirror, of x and two kernels."""

    def loss(x, down, up):
        code = jnp.tanh(conv(x, down, 2, 1, method=method))
        return jnp.sum(conv_transpose(code, up, 2, 1, (1, 1), method=method) ** 2)

    return loss


def count_convolutions(method):
    x, down = jnp.ones((1, 6, 6, 2)), jnp.ones((3, 3, 2, 2))
    gradient = jax.grad(autoencode(method), argnums=(0, 1, 2))
    jaxpr = jax.make_jaxpr(gradient)(x, down, down.swapaxes(2, 3))
    return str(jaxpr).count("conv_general_dilated")


def test_which_gradients_are_convolutions():
    # Two layers, each with a forward pass and the gradients of x and of the kernel.
    assert count_convolutions("xla") == 6
    assert count_convolutions("matmul") == 0


def traced_gradient(members=()):
    """The gradients by the platform's method, of one model or of several under `vmap`."""
    x, down = jnp.ones((*members, 1, 6, 6, 2)), jnp.ones((*members, 3, 3, 2, 2))
    gradient = jax.grad(autoencode(None), argnums=(0, 1, 2))
    gradient = jax.vmap(gradient) if members else gradient
    return jax.jit(gradient).trace(x, down, down.swapaxes(-1, -2))


@pytest.mark.parametrize("members", [(), (3,)])
def test_method_follows_the_platform_that_is_lowered_for(members):
    """Not the one at hand."""
    for platform, count in (("cpu", 0), ("cuda", 0), ("rocm", 0), ("tpu", 6)):
        text = traced_gradient(members).lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.convolution") == count


@pytest.mark.parametrize("members", [(), (3,)])
def test_nothing_of_the_choice_is_left_when_it_is_compiled(members):
    assert "conditional" not in traced_gradient(members).lower().compile().as_text()


@pytest.mark.parametrize(("axes", "channels"), [(2, 8), (1, 32)])
def test_rows_of_taps_stand_apart_on_a_cpu(axes, channels):
    """Where they are of 128 values, and by the platform's choice alone: numbers are the same."""
    x, g = normal(0, 2, *(6,) * axes, channels), normal(1, 2, *(3,) * axes, 5)
    kernel, extra = normal(2, *(4,) * axes, channels, 5), (0,) * axes

    def both(x, kernel, g, method):
        """The convolution, its transpose, and the gradients of each."""
        out, back = jax.vjp(partial(conv, stride=2, padding=1, method=method), x, kernel)
        up = partial(conv_transpose, stride=2, padding=1, output_padding=extra, method=method)
        image, forth = jax.vjp(up, g, kernel.swapaxes(-1, -2))
        return out, back(g), image, forth(x)

    traced = {m: jax.jit(partial(both, method=m)) for m in (None, "matmul")}
    with jax.enable_x64(True):
        jax.tree.map(
            partial(np.testing.assert_allclose, **TOLERANCE),
            *(f(x, kernel, g) for f in traced.values()),
        )

    def longer(method, platform):
        lowered = traced[method].trace(x, kernel, g).lower(lowering_platforms=(platform,))
        products = [s for s in lowered.as_text().splitlines() if "stablehlo.dot_general" in s]
        assert products
        return any(f"{128 + APART}xf" in product for product in products)

    assert longer(None, "cpu")
    assert not longer(None, "cuda") and not longer("matmul", "cpu")
    taps_of_three = jax.jit(partial(conv, stride=2, padding=1)).lower(x, kernel[(slice(3),) * axes])
    assert f"{3**axes * channels + APART}xf" not in taps_of_three.as_text()


@pytest.mark.parametrize("method", METHODS)
def test_forward_mode_agrees_with_reverse_mode(method):
    at = normal(0, 2, 7, 6, 3), 0.2 * normal(1, 3, 3, 3, 4), 0.2 * normal(2, 3, 3, 4, 3)
    along = tuple(normal([seed, 3], *a.shape) for seed, a in enumerate(at))
    with jax.enable_x64(True):
        _, slope = jax.jvp(autoencode(method), at, along)
        gradient = jax.grad(autoencode(method), argnums=(0, 1, 2))(*at)
        expected = sum(jnp.vdot(g, d) for g, d in zip(gradient, along, strict=True))
    np.testing.assert_allclose(slope, expected, rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_stays_bfloat16(method):
    x, down, up = normal(0, 2, 7, 6, 3), normal(1, 3, 3, 3, 4), normal(2, 3, 3, 4, 3)
    half = [jnp.asarray(a, jnp.bfloat16) for a in (x, 0.2 * down, 0.2 * up)]
    single = [a.astype(jnp.float32) for a in half]
    gradient = jax.jit(jax.grad(autoencode(method), argnums=(0, 1, 2)))
    for low, high in zip(gradient(*half), gradient(*single), strict=True):
        assert low.dtype == jnp.bfloat16
        # 8 bits of mantissa (2^-9 per rounding), some 20 roundings of the largest terms.
        scale = float(jnp.max(jnp.abs(high)))
        np.testing.assert_allclose(low.astype(jnp.float32), high, rtol=0, atol=0.04 * scale)


X, KERNEL = np.ones((1, 4, 5, 2), np.float32), np.ones((3, 3, 2, 1), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv_output_size(4, 0, 1, 0), "kernel_size = 0: must be at least 1"),
        (lambda: conv_output_size(4, 3, 0, 1), "stride = 0: must be at least 1"),
        (lambda: output_padding_for(4, 3, 1, 3), "padding = 3: .*below kernel_size = 3"),
        (lambda: conv_output_size(2, 5, 1, 1), "image size = 2: must be at least 3"),
        (lambda: conv(X, KERNEL, 0, 1), "stride = 0: must be at least 1"),
        (lambda: conv(X, KERNEL, 1, -1), "padding = -1: must be at least 0"),
        (lambda: conv(X[:, :2], KERNEL, 1, 0), "image size = 2: must be at least 3"),
        (lambda: conv(X[0, 0], KERNEL, 1, 1), "shape of x = .*must be \\(batch, height.*length"),
        (lambda: conv(X[0], KERNEL, 1, 1), "shape of kernel = .*must be \\(k, 2, channels\\)"),
        (lambda: conv(X[:0], KERNEL, 1, 1), "shape of x = \\(0, 4, 5, 2\\)"),
        (lambda: conv(X, KERNEL[:2], 1, 1), "shape of kernel = .*must be \\(k, k, 2, channels\\)"),
        (lambda: conv(X, KERNEL[:, :, :1], 1, 1), "shape of kernel = .*must be \\(k, k, 2"),
        (lambda: conv(X, KERNEL, 1, 1, method="im2col"), "method = 'im2col': must be None"),
        (lambda: conv_transpose(X, KERNEL, 0, 1, (0, 0)), "stride = 0: must be at least 1"),
        (lambda: conv_transpose(X, KERNEL, 2, 3, (0, 0)), "padding = 3: .*below kernel_size = 3"),
        (
            lambda: conv_transpose(X, KERNEL, 2, 1, (2, 0)),
            "output_padding = \\(2, 0\\): .*stride = 2",
        ),
        (lambda: conv_transpose(X, KERNEL, 2, 1, (1,)), "output_padding = \\(1,\\): must be two"),
        (
            lambda: conv_transpose(X[0], KERNEL[0], 2, 1, (1, 0)),
            "output_padding = \\(1, 0\\): must be one number at least 0 and below stride = 2",
        ),
        (lambda: conv_transpose(X[:, :1], KERNEL, 2, 2, (0, 0)), "output size = -1: .*at least 1"),
    ],
)
def test_errors_name_the_argument_its_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
