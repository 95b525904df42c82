"""The geometry that a decoder gives to codes: lengths and geodesics by the pull-back metric.

A decoder g takes codes (n, latents) to examples (n, ...), and is an argument. The length of a curve
of codes is that of its image: ds^2 = dz^T G dz with G = J^T J, J the Jacobian of g (Shao et al.
2017, arXiv:1711.08014; Chen et al. 2018, arXiv:1711.01204). J itself, of all latents and pixels, is
never made.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

Decoder = Callable[[jax.Array], jax.Array]


def speeds(decode: Decoder, z: jax.Array, v: jax.Array) -> jax.Array:
    """|J v|, how fast examples change where codes z move as v, (n, latents) each; (n,)."""
    _, pushed = jax.jvp(decode, (z,), (v,))
    return jnp.sqrt(jnp.sum(jnp.square(pushed.reshape(len(z), -1)), axis=1))


def straight(start: jax.Array, end: jax.Array, segments: int) -> jax.Array:
    """The points of straight lines between codes (n, latents): (n, segments + 1, latents)."""
    t = jnp.linspace(0.0, 1.0, segments + 1)[None, :, None]
    return start[:, None] + (end - start)[:, None] * t  # of equal ends exactly one point


def energies(decode: Decoder, points: jax.Array) -> jax.Array:
    """The sum over segments of |g(z_t+1) - g(z_t)|^2 of polylines (n, points, latents), (n,).

    At least length^2 / segments, by the inequality of Cauchy and Schwarz; equal where all segments
    are equally long.
    """
    return jnp.sum(_squares(decode, points), axis=1)


def lengths(decode: Decoder, points: jax.Array) -> jax.Array:
    """The sum over segments of |g(z_t+1) - g(z_t)| of polylines (n, points, latents), (n,)."""
    return jnp.sum(jnp.sqrt(_squares(decode, points)), axis=1)


def curve_lengths(decode: Decoder, points: jax.Array) -> jax.Array:
    """The integral of |J dz| along polylines (n, points, latents), by the midpoint rule, (n,).

    Chords of the image cut its bends short, so that `lengths` is less with few points.
    """
    n, count, latents = points.shape
    middle = (points[:, 1:] + points[:, :-1]) / 2
    step = points[:, 1:] - points[:, :-1]
    flat = (x.reshape(-1, latents) for x in (middle, step))
    return jnp.sum(speeds(decode, *flat).reshape(n, count - 1), axis=1)


def geodesics(decode: Decoder, points: jax.Array, iterations: int = 200) -> np.ndarray:
    """Polylines (n, points, latents) between the same ends, of the least energy that is found.

    L-BFGS moves the inner points of all at once, from where they are: a local minimum.
    """
    inner = points[:, 1:-1]

    def energy(free: jax.Array) -> jax.Array:
        moved = jnp.concatenate([points[:, :1], free.reshape(inner.shape), points[:, -1:]], axis=1)
        return jnp.sum(energies(decode, moved))

    slope = jax.jit(jax.value_and_grad(energy))

    def both(free: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = slope(jnp.asarray(free, points.dtype))
        return float(value), np.asarray(gradient, np.float64)

    begin = np.asarray(inner, np.float64).ravel()
    options = {"maxiter": iterations, "ftol": 1e-9, "gtol": 1e-7}
    found = minimize(both, begin, jac=True, method="L-BFGS-B", options=options)
    free = found.x.reshape(inner.shape)
    ends = (np.asarray(points[:, :1]), np.asarray(points[:, -1:]))
    return np.concatenate([ends[0], free, ends[1]], axis=1).astype(points.dtype)


def _squares(decode: Decoder, points: jax.Array) -> jax.Array:
    """Squared distances between images of neighbours, (n, points - 1)."""
    n, count, latents = points.shape
    x = decode(points.reshape(-1, latents)).reshape(n, count, -1)
    return jnp.sum(jnp.square(x[:, 1:] - x[:, :-1]), axis=2)
