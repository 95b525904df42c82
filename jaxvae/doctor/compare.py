"""How what a device computes is compared with float64: one measure of error, two precisions."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxvae.doctor.report import RIGHT, WRONG, Check

FLOAT32 = 1e-5
"""Allowed in float32. One rounding is 2^-24 = 6e-8; a sum of n terms collects about sqrt(n) of
them, at worst n: 2e-6 and 5e-5 for 784. Measured from the largest entry, 1e-5 leaves room for any
order of summation, and a hundredth of a per cent on one weight is far above it."""

BY_DEFAULT = {"gpu": ("TF32", 5e-3), "tpu": ("bfloat16", 5e-2)}
"""What JAX rounds the factors of float32 products to by default, and the error this may make: TF32
keeps 10 bits, 5e-4 at each rounding, bfloat16 7, 4e-3; ten times this is a fault."""


def in_float32() -> contextlib.AbstractContextManager[Any]:
    """Matrix products in float32, for what is compiled meanwhile; a CPU has no others."""
    if jax.default_backend() in BY_DEFAULT:
        return jax.default_matmul_precision("highest")
    return contextlib.nullcontext()


def doubles(*arrays: Any) -> Any:
    """The same numbers in NumPy float64, a tuple of arrays."""
    return tuple(np.asarray(array, np.float64) for array in arrays)


def relative(found: Any, exact: Any) -> float:
    """The largest difference in two trees of arrays, each relative to its largest exact entry.

    Infinite where an entry is not finite or a shape differs.
    """
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)
    return max(_difference(np.asarray(a, np.float64), np.asarray(b)) for a, b in pairs)


def _difference(found: np.ndarray, exact: np.ndarray) -> float:
    if found.shape != exact.shape or not np.isfinite(found).all():
        return float("inf")
    largest = np.abs(exact).max()
    return float(np.abs(found - exact).max() / (largest if largest > 0 else 1.0))


def judged(name: str, error: float, allowed: float, note: str = "") -> Check:
    """Right up to what is allowed."""
    return Check(name, error, allowed, RIGHT if error <= allowed else WRONG, note)


def judged_by_default(name: str, error: float, allowed: float, backend: str) -> Check:
    """The same for products as JAX computes them on a backend by default, which is named."""
    kind, rounded = BY_DEFAULT.get(backend, ("", allowed))
    if allowed < error <= rounded:
        return Check(name, error, rounded, f"{RIGHT} ({kind})")
    return judged(name, error, max(allowed, rounded))


def with_products(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    exact: Any,
    allowed: float = FLOAT32,
) -> list[Check]:
    """A function that contains matrix products, in float32 and, where that differs, by default.

    Both in one program, since compiling takes longest.

    Args:
        function: of float32 arrays; it must be a new one each time, or JAX remembers the last.
        args: what it is called with.
        exact: what it returns, in float64.
    """
    backend = jax.default_backend()

    def both(*args: Any) -> tuple[Any, ...]:
        with in_float32():
            highest = function(*args)
        return (highest, function(*args)) if backend in BY_DEFAULT else (highest,)

    highest, *default = jax.jit(both)(*args)
    checks = [judged(name, relative(highest, exact), allowed)]
    for found in default:
        error = relative(found, exact)
        checks.append(judged_by_default(f"{name}, by default", error, allowed, backend))
    return checks


def with_gradients(
    function: Callable[..., Any],
) -> Callable[..., tuple[Any, tuple[Any, ...]]]:
    """`(cotangent, *args) -> value, gradients of sum(value * cotangent)` of a function of args."""

    def value_and_gradients(cotangent: Any, *args: Any) -> tuple[Any, tuple[Any, ...]]:
        value, pullback = jax.vjp(function, *args)
        return value, pullback(cotangent)

    return value_and_gradients
