"""Convolution and transposed convolution with PyTorch's geometry, in forms that are fast on a CPU.

Images are NHWC, kernels (k, k, channels in, channels out), padding is symmetric. Per spatial axis,
with pixel i, kernel tap t, stride s and padding p:

    conv:            out[i]            = sum over t of x[s i + t - p] @ kernel[t]
    conv_transpose:  out[s i + t - p] += x[i] @ kernel[t]

so `conv_transpose` with the kernel's channels swapped is the adjoint of `conv`. A `Conv2d` weight
of PyTorch (out, in, k, k) becomes a kernel by `transpose(2, 3, 1, 0)`, a `ConvTranspose2d` weight
(in, out, k, k) by `transpose(2, 3, 0, 1)`; neither is flipped.

Both methods compute the same numbers. There are two because XLA's CPU backend runs the gradients of
a convolution many times slower than its arithmetic takes, above all inside a loop, and on a GPU the
libraries' kernels for few channels are slower than a matrix product too:

    xla      XLA's convolution and gradients: the choice on a TPU.
    matmul   one matrix product over all taps, and no convolution even in the gradients: the choice
             on CPUs and GPUs. Its products hold k^2 pixels for each one of the smaller image. The
             transposed convolution is its adjoint.

The platform that counts is the one a program is lowered for, which need not be the one at hand.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxvae.checks import require

Method = Literal["xla", "matmul"]
Pair = tuple[int, int]  # height, width
Formulation = Callable[[jax.Array, jax.Array], jax.Array]  # of image and kernel


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

    h' = (h + 2 padding - k) // stride + 1, and so for w'. Method None: by platform.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, an image smaller
            than the kernel, or an unknown method.
    """
    _check_arguments(x, kernel, method)
    for size in x.shape[1:3]:
        conv_output_size(size, kernel.shape[0], stride, padding)
    return _by(
        method,
        lambda x, kernel: _conv_xla(x, kernel, stride, padding),
        lambda x, kernel: _conv_matmul(x, kernel, stride, padding),
        x,
        kernel,
    )


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
    h' = (h - 1) stride - 2 padding + k + output_padding[0], and so for w'. Method None: by
    platform.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, output_padding
            outside 0..stride-1, an empty output, or an unknown method.
    """
    _check_arguments(x, kernel, method)
    k = kernel.shape[0]
    _check_geometry(k, stride, padding)
    in_range = len(output_padding) == 2 and all(0 <= extra < stride for extra in output_padding)
    allowed = f"two numbers, each at least 0 and below stride = {stride}"
    require(in_range, "output_padding", output_padding, allowed)
    sizes = [
        (n - 1) * stride - 2 * padding + k + extra
        for n, extra in zip(x.shape[1:3], output_padding, strict=True)
    ]
    for n, size in zip(x.shape[1:3], sizes, strict=True):
        require(size >= 1, "output size", size, f"at least 1 (from {n} with padding = {padding})")
    return _by(
        method,
        lambda x, kernel: _conv_transpose_xla(x, kernel, stride, padding, output_padding),
        lambda x, kernel: _conv_transpose_matmul(x, kernel, stride, padding, sizes),
        x,
        kernel,
    )


def _check_geometry(kernel_size: int, stride: int, padding: int) -> None:
    require(kernel_size >= 1, "kernel_size", kernel_size, "at least 1")
    require(stride >= 1, "stride", stride, "at least 1")
    allowed = f"at least 0 and below kernel_size = {kernel_size}"
    require(0 <= padding < kernel_size, "padding", padding, allowed)


def _check_arguments(x: jax.Array, kernel: jax.Array, method: Method | None) -> None:
    require(x.ndim == 4 and x.size > 0, "shape of x", x.shape, "(batch, height, width, channels)")
    fits = kernel.ndim == 4 and kernel.shape[:3] == (kernel.shape[0],) * 2 + x.shape[3:]
    allowed = f"(k, k, {x.shape[3]}, channels) for x of shape {x.shape}"
    require(fits, "shape of kernel", kernel.shape, allowed)
    require(method in (None, "xla", "matmul"), "method", method, "None, 'xla' or 'matmul'")


def _by(
    method: Method | None, xla: Formulation, matmul: Formulation, x: jax.Array, kernel: jax.Array
) -> jax.Array:
    """The convolution in the formulation of the method; None: in that of the platform."""
    if method is None:
        return lax.platform_dependent(x, kernel, default=matmul, tpu=xla)
    return (xla if method == "xla" else matmul)(x, kernel)


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
    """The pixels x[s i + t - p] that each of the k^2 taps t meets: arrays (b, h', w', in).

    They are windows on the stride^2 sub-pixel images padded[s m + r]. A window is undone by zeros
    around it, the division into sub-pixels by interleaving them: so the adjoint, in which a
    transposed convolution ends, is fast too. Undoing strided slices was not.
    """
    (batch, *sizes, channels), s = x.shape, stride
    h, w = (conv_output_size(size, k, s, padding) for size in sizes)
    rows, columns = (n + (k - 1) // s for n in (h, w))  # of a sub-pixel image
    below, right = (n * s - size - padding for n, size in zip((rows, columns), sizes, strict=True))
    borders = ((0, 0, 0), (padding, below, 0), (padding, right, 0), (0, 0, 0))  # may cut pixels off
    blocks = lax.pad(x, jnp.zeros((), x.dtype), borders)
    blocks = blocks.reshape(batch, rows, s, columns, s, channels)
    images = [
        [image.squeeze((2, 4)) for image in jnp.split(row, s, axis=4)]
        for row in jnp.split(blocks, s, axis=2)
    ]
    return [
        images[u % s][v % s][:, u // s : u // s + h, v // s : v // s + w]
        for u in range(k)
        for v in range(k)
    ]


def _conv_matmul(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    k, _, _, features = kernel.shape
    patches = jnp.concatenate(_taps(x, k, stride, padding), axis=-1)
    # Reshaped to rows because XLA's CPU backend is slower at products of arrays with more axes.
    out = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, features)
    return out.reshape(*patches.shape[:3], features)


def _conv_transpose_matmul(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, sizes: Sequence[int]
) -> jax.Array:
    image = jax.ShapeDtypeStruct((x.shape[0], *sizes, kernel.shape[3]), x.dtype)
    adjoint = jax.linear_transpose(
        lambda y: _conv_matmul(y, kernel.swapaxes(2, 3), stride, padding), image
    )
    return adjoint(x)[0]
