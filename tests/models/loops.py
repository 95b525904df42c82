"""Every method of a convolution against what loops over pixels and taps give."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

METHODS = ("xla", "matmul")

quickly = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""One compilation of all methods per example, and a quick one, keeps such tests fast."""


def assert_methods_equal(operation, x, kernel, g, expected, tolerance):
    """Output and gradients of its inner product with g, in float64, by each method."""

    @quickly
    def values_and_gradients(x, kernel, g):
        results = {}
        for method in METHODS:
            out, pullback = jax.vjp(partial(operation, method=method), x, kernel)
            results[method] = (out, *pullback(g))
        return results

    with jax.enable_x64(True):
        for method, results in values_and_gradients(x, kernel, g).items():
            for got, wanted in zip(results, expected, strict=True):
                assert got.dtype == jnp.float64
                np.testing.assert_allclose(got, wanted, **tolerance, err_msg=method)
