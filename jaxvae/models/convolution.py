"""Convolution and transposed convolution with PyTorch's geometry, in forms that are fast on a CPU.

Images are NHWC, kernels (k, k, channels in, channels out), padding is symmetric. Per spatial axis,
with pixel i, kernel tap t, stride s and padding p:

    conv:            out[i]            = sum over t of x[s i + t - p] @ kernel[t]
    conv_transpose:  out[s i + t - p] += x[i] @ kernel[t]

so `conv_transpose` with the kernel's channels swapped is the adjoint of `conv`. A `Conv2d` weight
of PyTorch (out, in, k, k) becomes a kernel by `transpose(2, 3, 1, 0)`, a `ConvTranspose2d` weight
(in, out, k, k) by `transpose(2, 3, 0, 1)`; neither is flipped.

All methods compute the same numbers. They exist because XLA's CPU backend runs the gradients of a
convolution many times slower than its arithmetic takes, above all inside a loop:

    xla      XLA's convolution and gradients: the choice on a GPU or TPU.
    matmul   one matrix product over all taps, and no convolution even in the gradients: the choice
             on a CPU for narrow layers. Its products hold k^2 pixels for each one of the smaller
             image. The transposed convolution is its adjoint.
    hybrid   XLA's convolution (the transposed one as a convolution per sub-pixel), each the other's
             gradient, and the gradient of the kernel as a matrix product: the choice on a CPU for
             wide layers. Reverse-mode derivatives only.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxvae.config import require

Method = Literal["xla", "matmul", "hybrid"]
Pair = tuple[int, int]  # height, width

WIDE = 32  # channels, both in and out, from which hybrid was measured to be faster than matmul


def conv_output_size(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Height or width after `conv`: (size + 2 padding - kernel_size) // stride + 1.

    Raises:
        ValueError: stride below 1, padding outside 0..kernel_size-1, or the padded image is smaller
            than the kernel.
    """
    _check_geometry(kernel_size, stride, padding)
    least = max(1, kernel_size - 2 * padding)
    allowed = f"at least {least} for kernel_size = {kernel_size} and padding = {padding}"
    require(size >= least, "image size", size, allowed)
    return (size + 2 * padding - kernel_size) // stride + 1


def output_padding_for(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """The output padding, in 0..stride-1, with which `conv_transpose` returns to `size`.

    Raises:
        ValueError: as `conv_output_size`.
    """
    n = conv_output_size(size, kernel_size, stride, padding)
    return size - ((n - 1) * stride - 2 * padding + kernel_size)


def conv(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, *, method: Method | None = None
) -> jax.Array:
    """Convolution (cross-correlation): (b, h, w, in), (k, k, in, out) -> (b, h', w', out).

    h' = (h + 2 padding - k) // stride + 1, and so for w'. Method None: by backend and channels.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, an image smaller
            than the kernel, or an unknown method.
    """
    method = _checked_method(x, kernel, method)
    for size in x.shape[1:3]:
        conv_output_size(size, kernel.shape[0], stride, padding)
    if method == "xla":
        return _conv_xla(x, kernel, stride, padding)
    if method == "matmul":
        return _conv_matmul(x, kernel, stride, padding)
    return _conv_hybrid(x, kernel, stride, padding)


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    stride: int,
    padding: int,
    output_padding: Pair,
    *,
    method: Method | None = None,
) -> jax.Array:
    """Transposed convolution: (b, h, w, in), (k, k, in, out) -> (b, h', w', out).

    out[b, s i + t - p, co] += sum over ci of x[b, i, ci] kernel[t, ci, co], per spatial axis;
    h' = (h - 1) stride - 2 padding + k + output_padding[0], and so for w'. Method None: by backend
    and channels.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, output_padding
            outside 0..stride-1, an empty output, or an unknown method.
    """
    method = _checked_method(x, kernel, method)
    k = kernel.shape[0]
    _check_geometry(k, stride, padding)
    in_range = len(output_padding) == 2 and all(0 <= extra < stride for extra in output_padding)
    allowed = f"two numbers, each at least 0 and below stride = {stride}"
    require(in_range, "output_padding", output_padding, allowed)
    for n, extra in zip(x.shape[1:3], output_padding, strict=True):
        size = (n - 1) * stride - 2 * padding + k + extra
        require(size >= 1, "output size", size, f"at least 1 (from {n} with padding = {padding})")
    if method == "xla":
        return _conv_transpose_xla(x, kernel, stride, padding, output_padding)
    if method == "matmul":
        return _conv_transpose_matmul(x, kernel, stride, padding, output_padding)
    return _conv_transpose_hybrid(x, kernel, stride, padding, output_padding)


def _check_geometry(kernel_size: int, stride: int, padding: int) -> None:
    require(kernel_size >= 1, "kernel_size", kernel_size, "at least 1")
    require(stride >= 1, "stride", stride, "at least 1")
    allowed = f"at least 0 and below kernel_size = {kernel_size}"
    require(0 <= padding < kernel_size, "padding", padding, allowed)


def _checked_method(x: jax.Array, kernel: jax.Array, method: Method | None) -> Method:
    require(x.ndim == 4 and x.size > 0, "shape of x", x.shape, "(batch, height, width, channels)")
    fits = kernel.ndim == 4 and kernel.shape[:3] == (kernel.shape[0],) * 2 + x.shape[3:]
    allowed = f"(k, k, {x.shape[3]}, channels) for x of shape {x.shape}"
    require(fits, "shape of kernel", kernel.shape, allowed)
    allowed = "None, 'xla', 'matmul' or 'hybrid'"
    require(method in (None, "xla", "matmul", "hybrid"), "method", method, allowed)
    if method is not None:
        return method
    if jax.default_backend() != "cpu":
        return "xla"
    return "hybrid" if min(kernel.shape[2:]) >= WIDE else "matmul"


def _conv_xla(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    pads = [(padding, padding)] * 2
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride,) * 2, pads, dimension_numbers=layout)


def _conv_transpose_xla(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: Pair
) -> jax.Array:
    # A convolution, with the kernel flipped, of x with stride - 1 zeros between its pixels.
    border = kernel.shape[0] - 1 - padding
    pads = [(border, border + extra) for extra in output_padding]
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel[::-1, ::-1], (1, 1), pads, lhs_dilation=(stride,) * 2, dimension_numbers=layout
    )


def _taps(x: jax.Array, k: int, stride: int, padding: int) -> list[jax.Array]:
    """The pixels x[s i + t - p] that each of the k^2 taps t meets: arrays (b, h', w', in)."""
    h, w = (conv_output_size(size, k, stride, padding) for size in x.shape[1:3])
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = (h - 1) * stride + 1, (w - 1) * stride + 1
    return [
        padded[:, u : u + rows : stride, v : v + columns : stride]
        for u in range(k)
        for v in range(k)
    ]


def _conv_matmul(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    k, _, _, features = kernel.shape
    patches = jnp.concatenate(_taps(x, k, stride, padding), axis=-1)
    # Reshaped to rows because XLA's CPU backend is slower at products of arrays with more axes.
    out = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, features)
    return out.reshape(*patches.shape[:3], features)


def _transposed_size(size: int, k: int, stride: int, padding: int, extra: int) -> int:
    return (size - 1) * stride - 2 * padding + k + extra


def _conv_transpose_matmul(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: Pair
) -> jax.Array:
    k, features = kernel.shape[0], kernel.shape[3]
    height, width = (
        _transposed_size(size, k, stride, padding, extra)
        for size, extra in zip(x.shape[1:3], output_padding, strict=True)
    )
    image = jax.ShapeDtypeStruct((x.shape[0], height, width, features), x.dtype)
    adjoint = jax.linear_transpose(
        lambda y: _conv_matmul(y, kernel.swapaxes(2, 3), stride, padding), image
    )
    return adjoint(x)[0]


def _conv_transpose_phases(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: Pair
) -> jax.Array:
    """A convolution for each of the stride^2 sub-pixels (r, q) of the output, interleaved.

    Per axis, out[s m + r - p] = sum over j of x[m - j] @ kernel[s j + r].
    """
    (batch, *sizes, _), k, features = x.shape, kernel.shape[0], kernel.shape[3]
    missing = max(stride - k, 0)  # each sub-pixel has a tap, if only one of zeros
    kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
    height, width = (
        _transposed_size(size, k, stride, padding, extra)
        for size, extra in zip(sizes, output_padding, strict=True)
    )
    rows, columns = (-(-(size + padding) // stride) for size in (height, width))  # of each m
    layout = ("NHWC", "HWIO", "NHWC")

    def phase(r: int, q: int) -> jax.Array:
        taps = kernel[r::stride, q::stride][::-1, ::-1]
        pads = [
            (taps.shape[axis] - 1, count - sizes[axis])
            for axis, count in enumerate((rows, columns))
        ]
        return lax.conv_general_dilated(x, taps, (1, 1), pads, dimension_numbers=layout)

    phases = [jnp.stack([phase(r, q) for q in range(stride)], axis=3) for r in range(stride)]
    out = jnp.stack(phases, axis=2).reshape(batch, rows * stride, columns * stride, features)
    return out[:, padding : padding + height, padding : padding + width]


def _kernel_gradient(x: jax.Array, g: jax.Array, k: int, stride: int, padding: int) -> jax.Array:
    """Gradient, (k, k, in, out), of the inner product of conv(x, kernel) and g."""
    patches = jnp.concatenate(_taps(x, k, stride, padding), axis=-1)
    gradient = patches.reshape(-1, patches.shape[-1]).T @ g.reshape(-1, g.shape[-1])
    return gradient.reshape(k, k, x.shape[-1], g.shape[-1])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv_hybrid(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    return _conv_xla(x, kernel, stride, padding)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv_transpose_hybrid(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: Pair
) -> jax.Array:
    return _conv_transpose_phases(x, kernel, stride, padding, output_padding)


# The gradient of x is written out as the other of the two, because JAX's own derivative of a
# strided convolution takes several times as long inside a loop on a CPU.


def _conv_backward(
    stride: int, padding: int, inputs: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = inputs
    k = kernel.shape[0]
    height, width = (output_padding_for(size, k, stride, padding) for size in x.shape[1:3])
    dx = _conv_transpose_phases(g, kernel.swapaxes(2, 3), stride, padding, (height, width))
    return dx, _kernel_gradient(x, g, k, stride, padding)


def _conv_transpose_backward(
    stride: int,
    padding: int,
    output_padding: Pair,
    inputs: tuple[jax.Array, jax.Array],
    g: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = inputs
    dx = _conv_xla(g, kernel.swapaxes(2, 3), stride, padding)
    return dx, _kernel_gradient(g, x, kernel.shape[0], stride, padding).swapaxes(2, 3)


_conv_hybrid.defvjp(lambda *args: (_conv_xla(*args), args[:2]), _conv_backward)
_conv_transpose_hybrid.defvjp(
    lambda *args: (_conv_transpose_phases(*args), args[:2]), _conv_transpose_backward
)
