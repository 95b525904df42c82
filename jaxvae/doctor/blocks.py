"""Whether the layers compute right: forward and gradients on the device, against NumPy float64.

The references are written from the formulas and share no code with the layers. Geometries are those
of the experiments.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import noise
from jaxvae.doctor.compare import (
    FLOAT32,
    doubles,
    judged,
    relative,
    with_gradients,
    with_products,
)
from jaxvae.doctor.report import Check, Checks
from jaxvae.models import bottlenecks, layers

CONVOLUTION = 5e-5
"""Allowed of convolutions: cuDNN may choose Winograd's algorithm, some ten times less exact."""

# Kernel, stride, padding, size, channels in and out: of mnist_cae and the published models, at
# their strides of 1 and 2, on images of one channel and feature maps, of even and odd size.
CONVOLUTIONS = ((3, 2, 1, 14, 1, 8), (3, 1, 1, 7, 8, 8), (4, 2, 1, 16, 3, 8), (3, 2, 1, 7, 8, 16))
# Kernel, stride, padding, output padding, size, channels in and out.
TRANSPOSED = (
    (3, 2, 1, (1, 1), 7, 8, 1),
    (3, 2, 1, (0, 0), 4, 16, 8),
    (3, 1, 1, (0, 0), 7, 8, 8),
    (4, 2, 1, (0, 0), 8, 8, 3),
    (4, 2, 1, (1, 1), 3, 8, 8),
    (3, 2, 1, (1, 0), 4, 8, 8),
)
BATCH = 16


class Draws:
    """Float32 noise from a seed, on the host."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return np.asarray(scale * self.rng.standard_normal(shape), np.float32)


def dense(quick: bool) -> list[Check]:
    """x W + b at the size of the default VAE's first layer."""
    draw = Draws(0)
    x, kernel = draw(128, 784), draw(784, 256, scale=784**-0.5)
    bias, g = draw(256), draw(128, 256)
    return with_products(
        "dense layer",
        with_gradients(_applied(layers.Dense(256))),
        (g, x, kernel, bias),
        _exact_dense(*doubles(g, x, kernel, bias)),
    )


def _applied(layer: Any) -> Callable[..., jax.Array]:
    """A layer as a function of x, kernel and bias."""
    return lambda x, kernel, bias: layer.apply({"params": {"kernel": kernel, "bias": bias}}, x)


def _exact_dense(g: np.ndarray, x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> Any:
    return x @ kernel + bias, (g @ kernel.T, x.T @ g, g.sum(axis=0))


def convolution(quick: bool) -> list[Check]:
    """Every geometry of the experiments in one program."""
    draw, functions, args, exact = Draws(1), [], [], []
    for k, stride, padding, size, channels, features in CONVOLUTIONS[: 2 if quick else None]:
        out = (size + 2 * padding - k) // stride + 1
        g, x = draw(BATCH, out, out, features), draw(BATCH, size, size, channels)
        kernel, bias = draw(k, k, channels, features, scale=1 / k), draw(features)
        functions.append(with_gradients(_applied(layers.Conv(features, k, stride, padding))))
        args.append((g, x, kernel, bias))
        exact.append(_exact_conv(doubles(g, x, kernel, bias), stride, padding))
    return with_products("convolution", _each(functions), (args,), exact, CONVOLUTION)


def transposed_convolution(quick: bool) -> list[Check]:
    """Every stride, padding and output padding of the experiments in one program."""
    draw, functions, args, exact = Draws(2), [], [], []
    for k, stride, padding, extra, size, channels, features in TRANSPOSED[: 2 if quick else None]:
        height, width = ((size - 1) * stride - 2 * padding + k + more for more in extra)
        g, x = draw(BATCH, height, width, features), draw(BATCH, size, size, channels)
        kernel, bias = draw(k, k, channels, features, scale=1 / k), draw(features)
        layer = layers.ConvTranspose(features, k, stride, padding, extra)
        functions.append(with_gradients(_applied(layer)))
        args.append((g, x, kernel, bias))
        exact.append(_exact_transposed(doubles(g, x, kernel, bias), stride, padding))
    return with_products("transposed convolution", _each(functions), (args,), exact, CONVOLUTION)


def _each(functions: list[Callable[..., Any]]) -> Callable[..., list[Any]]:
    return lambda args: [f(*own) for f, own in zip(functions, args, strict=True)]


def _exact_conv(arrays: tuple[np.ndarray, ...], s: int, p: int) -> Any:
    """out[i] = sum over taps t of x[s i + t - p] @ kernel[t], and the gradients, tap by tap."""
    g, x, kernel, bias = arrays
    h, w = g.shape[1:3]
    padded = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
    out, d_padded, d_kernel = np.zeros_like(g), np.zeros_like(padded), np.zeros_like(kernel)
    for u, v in np.ndindex(kernel.shape[:2]):
        met = np.s_[:, u : u + s * h : s, v : v + s * w : s]
        out += padded[met] @ kernel[u, v]
        d_padded[met] += g @ kernel[u, v].T
        d_kernel[u, v] = np.tensordot(padded[met], g, axes=((0, 1, 2), (0, 1, 2)))
    dx = d_padded[:, p : p + x.shape[1], p : p + x.shape[2]]
    return out + bias, (dx, d_kernel, g.sum(axis=(0, 1, 2)))


def _exact_transposed(arrays: tuple[np.ndarray, ...], s: int, p: int) -> Any:
    """out[s i + t - p] += x[i] @ kernel[t], and the gradients, tap by tap."""
    g, x, kernel, bias = arrays
    (h, w), (height, width) = x.shape[1:3], g.shape[1:3]
    g_padded = np.pad(g, ((0, 0), (p, p), (p, p), (0, 0)))
    padded, dx, d_kernel = np.zeros_like(g_padded), np.zeros_like(x), np.zeros_like(kernel)
    for u, v in np.ndindex(kernel.shape[:2]):
        met = np.s_[:, u : u + s * h : s, v : v + s * w : s]
        padded[met] += x @ kernel[u, v]
        dx += g_padded[met] @ kernel[u, v].T
        d_kernel[u, v] = np.tensordot(x, g_padded[met], axes=((0, 1, 2), (0, 1, 2)))
    out = padded[:, p : p + height, p : p + width]
    return out + bias, (dx, d_kernel, g.sum(axis=(0, 1, 2)))


def batch_norm(quick: bool) -> list[Check]:
    """While training, with the running statistics it leaves, and with them afterwards."""
    draw = Draws(3)
    g, x = draw(32, 8), 3 + draw(32, 8, scale=2)
    scale, bias, mean, var = draw(8), draw(8), draw(8), draw(8) ** 2
    layer = layers.BatchNorm()

    def function(g: Any, x: Any, scale: Any, bias: Any, mean: Any, var: Any) -> Any:
        stats = {"mean": mean, "var": var}

        def trained(x: Any, scale: Any, bias: Any) -> Any:
            variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": stats}
            y, updated = layer.apply(variables, x, True, mutable=["batch_stats"])
            left = updated["batch_stats"]
            return y, (left["mean"], left["var"], layer.apply(variables, x, False))

        y, pullback, more = jax.vjp(trained, x, scale, bias, has_aux=True)
        return y, pullback(g), more

    found = jax.jit(function)(g, x, scale, bias, mean, var)
    exact = _exact_batch_norm(*doubles(g, x, scale, bias, mean, var))
    return [judged("BatchNorm with its statistics", relative(found, exact), FLOAT32)]


def _exact_batch_norm(
    g: np.ndarray,
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
) -> Any:
    n = len(x)
    mean, var = x.mean(axis=0), x.var(axis=0)
    std = np.sqrt(var + 1e-5)
    normal = (x - mean) / std
    dx = scale / std * (g - g.mean(axis=0) - normal * (g * normal).mean(axis=0))
    left = 0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.1 * var * n / (n - 1)
    later = (x - running_mean) / np.sqrt(running_var + 1e-5) * scale + bias
    return (
        normal * scale + bias,
        (dx, (g * normal).sum(axis=0), g.sum(axis=0)),
        (*left, later),
    )


def dropout(quick: bool) -> list[Check]:
    """What is kept is divided by 1 - rate, its gradient too; and the right share is kept."""
    rate, draw = 0.3, Draws(4)
    g, x = draw(64, 256), 1 + abs(draw(64, 256))
    layer = layers.Dropout(rate)

    def function(g: Any, x: Any) -> Any:
        keys = noise.Noise(noise.root(0), 3, jnp.arange(64)).keys("dropout")
        y, pullback = jax.vjp(lambda x: layer.apply({}, x, keys), x)
        return y, pullback(g)[0]

    y, dx = map(np.asarray, jax.jit(function)(g, x))
    kept = y != 0
    exact = tuple(kept * array / (1 - rate) for array in doubles(x, g))
    sigma = (rate * (1 - rate) / kept.size) ** 0.5
    share = abs(float(kept.mean()) - (1 - rate))
    return [
        judged("dropout", relative((y, dx), exact), FLOAT32),
        judged("dropout, share that is kept", share, 5 * sigma),
    ]


def sampled_posterior(quick: bool) -> list[Check]:
    """z = mean + exp((h W + b) / 2) eps: a product, a bias and a factor, which XLA likes to fuse.

    One version lost the factor of the bias on some GPUs: https://github.com/jax-ml/jax/issues/39336
    """
    draw = Draws(5)
    g, h, eps = draw(128, 20), draw(128, 256), draw(128, 20)
    kernels, biases = draw(2, 256, 20, scale=1 / 16), draw(2, 20)
    layer = _applied(layers.Dense(20))

    def sample(h: Any, kernels: Any, biases: Any) -> Any:
        mean, logvar = (layer(h, kernels[i], biases[i]) for i in range(2))
        return bottlenecks.reparameterize(mean, logvar, jnp.asarray(eps))

    return with_products(
        "posterior and its sample",
        with_gradients(sample),
        (g, h, kernels, biases),
        _exact_sample(*doubles(g, h, kernels, biases, eps)),
    )


def _exact_sample(
    g: np.ndarray, h: np.ndarray, kernels: np.ndarray, biases: np.ndarray, eps: np.ndarray
) -> Any:
    mean, logvar = (h @ kernels[i] + biases[i] for i in range(2))
    noise = np.exp(logvar / 2) * eps
    deltas = g, g * noise / 2
    dh = sum(delta @ kernel.T for delta, kernel in zip(deltas, kernels, strict=True))
    d_kernels = np.stack([h.T @ delta for delta in deltas])
    return mean + noise, (dh, d_kernels, np.stack([delta.sum(axis=0) for delta in deltas]))


def bfloat16_products(quick: bool) -> list[Check]:
    """`compute = "bfloat16"`: factors and result are rounded to 8 bits, 2e-3 each time."""
    draw = Draws(6)
    args = draw(64, 256), draw(64, 784), draw(784, 256, scale=784**-0.5), draw(256)
    layer = layers.Dense(256, compute="bfloat16")
    found = jax.jit(with_gradients(_applied(layer)))(*args)
    rounded = [array.astype(jnp.bfloat16) for array in args[:3]]
    value, (dx, d_kernel, _) = _exact_dense(*doubles(*rounded, args[3]))
    exact = value, (dx, d_kernel, args[0].sum(axis=0))
    return [judged("bfloat16 products", relative(found, exact), 1e-2)]


CHECKS: Checks = {
    "dense layer": dense,
    "convolution": convolution,
    "transposed convolution": transposed_convolution,
    "BatchNorm with its statistics": batch_norm,
    "dropout": dropout,
    "posterior and its sample": sampled_posterior,
    "bfloat16 products": bfloat16_products,
}
