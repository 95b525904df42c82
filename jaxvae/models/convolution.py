"""Convolution and transposed convolution with PyTorch's geometry, in forms that are fast on a CPU.

Images are (batch, height, width, channels) with kernels (k, k, channels in, channels out), signals
(batch, length, channels) with kernels (k, channels in, channels out); the code knows a number of
spatial axes. Padding is symmetric. Per spatial axis, with pixel i, kernel tap t, stride s and
padding p:

    conv:            out[i]            = sum over t of x[s i + t - p] @ kernel[t]
    conv_transpose:  out[s i + t - p] += x[i] @ kernel[t]

so `conv_transpose` with the kernel's channels swapped is the adjoint of `conv`. A `Conv2d` weight
of PyTorch (out, in, k, k) becomes a kernel by `transpose(2, 3, 1, 0)`, a `ConvTranspose2d` weight
(in, out, k, k) by `transpose(2, 3, 0, 1)`, those of a `Conv1d` and a `ConvTranspose1d` by
`transpose(2, 1, 0)` and `transpose(2, 0, 1)`; none is flipped.

Both methods compute the same numbers. There are two because XLA's CPU backend runs the gradients of
a convolution many times slower than its arithmetic takes, above all inside a loop, and on a GPU the
libraries' kernels for few channels are slower than a matrix product too:

    xla      XLA's convolution and gradients: the choice on a TPU.
    matmul   one matrix product over all taps, and no convolution even in the gradients: the choice
             on CPUs and GPUs. Its products hold k^2 pixels (of a signal k) for each one of the
             smaller image. The transposed convolution is its adjoint. On a CPU rows of taps whose
             length is bad for its caches are a little longer, see `STEP`.

The platform that counts is the one a program is lowered for, which need not be the one at hand.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from itertools import product
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxvae.checks import require

STEP = 128
"""Values, 512 bytes in float32: columns of a matrix whose rows are a multiple of that apart share
few sets of a cache, and the kernel's gradient, for which XLA reads columns, takes 3 times as long
(docs/performance.md)."""
APART = 16
"""Zeros at the end of such rows, in float32 a line of a cache."""

Method = Literal["xla", "matmul"]
Formulation = Callable[[jax.Array, jax.Array], jax.Array]  # of image and kernel
ByProduct = Callable[[jax.Array, jax.Array, int], jax.Array]  # and of zeros after a row of taps


def conv_output_size(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """Height, width or length after `conv`: (size + 2 padding - kernel_size) // stride + 1.

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


_everywhere: ContextVar[Method | None] = ContextVar("everywhere", default=None)


@contextlib.contextmanager
def one_formulation(method: Method) -> Iterator[None]:
    """Convolutions traced meanwhile are of this formulation on every platform: for readers of a
    traced program who know no choice by platform."""
    token = _everywhere.set(method)
    try:
        yield
    finally:
        _everywhere.reset(token)


def conv(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, *, method: Method | None = None
) -> jax.Array:
    """Convolution (cross-correlation): (b, h, w, in), (k, k, in, out) -> (b, h', w', out).

    Of a signal (b, l, in), (k, in, out) -> (b, l', out).
    h' = (h + 2 padding - k) // stride + 1, and so for w' and l'. Method None: by platform.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, an image smaller
            than the kernel, or an unknown method.
    """
    _check_arguments(x, kernel, method)
    for size in x.shape[1:-1]:
        conv_output_size(size, kernel.shape[0], stride, padding)
    return _by(
        method,
        lambda x, kernel: _conv_xla(x, kernel, stride, padding),
        lambda x, kernel, apart: _conv_matmul(x, kernel, stride, padding, apart),
        x,
        kernel,
        channels=kernel.shape[-2],
    )


def conv_transpose(
    x: jax.Array,
    kernel: jax.Array,
    stride: int,
    padding: int,
    output_padding: Sequence[int],
    *,
    method: Method | None = None,
) -> jax.Array:
    """Transposed convolution: (b, h, w, in), (k, k, in, out) -> (b, h', w', out).

    Of a signal (b, l, in), (k, in, out) -> (b, l', out).
    out[b, s i + t - p, co] += sum over ci of x[b, i, ci] kernel[t, ci, co], per spatial axis;
    h' = (h - 1) stride - 2 padding + k + output_padding[0], and so for w' and l', each with its own
    output padding. Method None: by platform.

    Raises:
        ValueError: shapes that do not fit, stride below 1, padding outside 0..k-1, output_padding
            outside 0..stride-1, an empty output, or an unknown method.
    """
    _check_arguments(x, kernel, method)
    k = kernel.shape[0]
    _check_geometry(k, stride, padding)
    sizes_in = x.shape[1:-1]
    one_each = len(output_padding) == len(sizes_in)
    in_range = one_each and all(0 <= extra < stride for extra in output_padding)
    count = "one number" if len(sizes_in) == 1 else "two numbers, each"
    allowed = f"{count} at least 0 and below stride = {stride}"
    require(in_range, "output_padding", output_padding, allowed)
    sizes = [
        (n - 1) * stride - 2 * padding + k + extra
        for n, extra in zip(sizes_in, output_padding, strict=True)
    ]
    for n, size in zip(sizes_in, sizes, strict=True):
        require(size >= 1, "output size", size, f"at least 1 (from {n} with padding = {padding})")
    return _by(
        method,
        lambda x, kernel: _conv_transpose_xla(x, kernel, stride, padding, output_padding),
        lambda x, kernel, apart: _conv_transpose_matmul(x, kernel, stride, padding, sizes, apart),
        x,
        kernel,
        channels=kernel.shape[-1],
    )


def _check_geometry(kernel_size: int, stride: int, padding: int) -> None:
    require(kernel_size >= 1, "kernel_size", kernel_size, "at least 1")
    require(stride >= 1, "stride", stride, "at least 1")
    allowed = f"at least 0 and below kernel_size = {kernel_size}"
    require(0 <= padding < kernel_size, "padding", padding, allowed)


def _check_arguments(x: jax.Array, kernel: jax.Array, method: Method | None) -> None:
    allowed = "(batch, height, width, channels) or (batch, length, channels)"
    require(x.ndim in (3, 4) and x.size > 0, "shape of x", x.shape, allowed)
    axes = x.ndim - 2
    fits = kernel.ndim == x.ndim and kernel.shape[:-1] == (kernel.shape[0],) * axes + x.shape[-1:]
    allowed = f"({'k, ' * axes}{x.shape[-1]}, channels) for x of shape {x.shape}"
    require(fits, "shape of kernel", kernel.shape, allowed)
    require(method in (None, "xla", "matmul"), "method", method, "None, 'xla' or 'matmul'")


def _by(
    method: Method | None,
    xla: Formulation,
    matmul: ByProduct,
    x: jax.Array,
    kernel: jax.Array,
    channels: int,
) -> jax.Array:
    """The convolution in the formulation of the method; None: in that of the platform.

    `channels` are those of the image whose taps are the rows of the product.
    """

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return matmul(x, kernel, 0)

    def spread(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return matmul(x, kernel, APART)

    method = method or _everywhere.get()
    if method is not None:
        return (xla if method == "xla" else plain)(x, kernel)
    taps = math.prod(kernel.shape[:-2])
    if taps == 1 or taps * channels % STEP:
        return lax.platform_dependent(x, kernel, default=plain, tpu=xla)
    return lax.platform_dependent(x, kernel, default=plain, tpu=xla, cpu=spread)


LAYOUTS = {3: ("NWC", "WIO", "NWC"), 4: ("NHWC", "HWIO", "NHWC")}  # by rank, in XLA's letters


def _conv_xla(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    axes, layout = x.ndim - 2, LAYOUTS[x.ndim]
    pads = [(padding, padding)] * axes
    return lax.conv_general_dilated(x, kernel, (stride,) * axes, pads, dimension_numbers=layout)


def _conv_transpose_xla(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, output_padding: Sequence[int]
) -> jax.Array:
    # A convolution, with the kernel flipped, of x with stride - 1 zeros between its pixels.
    axes, layout = x.ndim - 2, LAYOUTS[x.ndim]
    border = kernel.shape[0] - 1 - padding
    pads = [(border, border + extra) for extra in output_padding]
    kernel, dilation = lax.rev(kernel, tuple(range(axes))), (stride,) * axes
    return lax.conv_general_dilated(
        x, kernel, (1,) * axes, pads, lhs_dilation=dilation, dimension_numbers=layout
    )


def _taps(x: jax.Array, k: int, stride: int, padding: int) -> list[jax.Array]:
    """The pixels x[s i + t - p] that each of the k^2 taps t meets: arrays (b, h', w', in).

    They are windows on the stride^2 sub-pixel images padded[s m + r]. A window is undone by zeros
    around it, the division into sub-pixels by interleaving them: so the adjoint, in which a
    transposed convolution ends, is fast too. Undoing strided slices was not. Signals have k taps,
    and stride sub-pixel signals.
    """
    (batch, *sizes, channels), s = x.shape, stride
    out = [conv_output_size(size, k, s, padding) for size in sizes]
    blocks = [n + (k - 1) // s for n in out]  # sizes of a sub-pixel image
    after = [n * s - size - padding for n, size in zip(blocks, sizes, strict=True)]
    borders = [(0, 0, 0), *((padding, end, 0) for end in after), (0, 0, 0)]  # may cut pixels off
    padded = lax.pad(x, jnp.zeros((), x.dtype), borders)
    padded = padded.reshape(batch, *(n for size in blocks for n in (size, s)), channels)
    divided = tuple(range(2, padded.ndim, 2))
    images = [image.squeeze(divided) for image in _split(padded, s, divided)]
    by_remainder = dict(zip(product(range(s), repeat=len(sizes)), images, strict=True))

    def window(tap: tuple[int, ...]) -> jax.Array:
        image = by_remainder[tuple(t % s for t in tap)]
        return image[:, *(slice(t // s, t // s + n) for t, n in zip(tap, out, strict=True))]

    return [window(tap) for tap in product(range(k), repeat=len(sizes))]


def _split(x: jax.Array, parts: int, axes: tuple[int, ...]) -> Iterator[jax.Array]:
    """All parts of x, of which each of the axes is split into so many; the last varies fastest."""
    if not axes:
        yield x
        return
    for part in jnp.split(x, parts, axis=axes[0]):
        yield from _split(part, parts, axes[1:])


def _conv_matmul(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, apart: int
) -> jax.Array:
    k, features = kernel.shape[0], kernel.shape[-1]
    taps, rows = _taps(x, k, stride, padding), kernel.reshape(-1, features)
    if apart:
        taps.append(jnp.zeros((*taps[0].shape[:-1], apart), x.dtype))
        rows = jnp.concatenate([rows, jnp.zeros((apart, features), kernel.dtype)])
    patches = jnp.concatenate(taps, axis=-1)
    # Reshaped to rows because XLA's CPU backend is slower at products of arrays with more axes.
    out = patches.reshape(-1, patches.shape[-1]) @ rows
    return out.reshape(*patches.shape[:-1], features)


def _conv_transpose_matmul(
    x: jax.Array, kernel: jax.Array, stride: int, padding: int, sizes: Sequence[int], apart: int
) -> jax.Array:
    image = jax.ShapeDtypeStruct((x.shape[0], *sizes, kernel.shape[-1]), x.dtype)
    adjoint = jax.linear_transpose(
        lambda y: _conv_matmul(y, kernel.swapaxes(-2, -1), stride, padding, apart), image
    )
    return adjoint(x)[0]
