"""Forward-mode derivatives of every layer against reverse mode, along random directions."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import noise
from jaxvae.models.bottlenecks import Gaussian, Vector
from jaxvae.models.categorical import Categorical
from jaxvae.models.convolution import conv, conv_transpose
from jaxvae.models.finite_scalars import FiniteScalars
from jaxvae.models.flows import planar
from jaxvae.models.layers import ACTIVATIONS, BatchNorm, Dense, Dropout, LayerSettings, Residual
from jaxvae.models.residual_quantizer import ResidualQuantizer
from jaxvae.models.vector_quantizer import VectorQuantizer
from jaxvae.noise import Noise

pytestmark = pytest.mark.numeric
OWN = Noise(noise.root(1), 0, jnp.arange(3))


def of_module(module: Any, *args: Any) -> Callable[[jax.Array], Callable[..., Any]]:
    """What a module computes, of its variables and its input."""

    def at(x: jax.Array) -> tuple[Callable[..., Any], Any]:
        variables = module.init(jax.random.key(0), x, *args)
        rest = {name: value for name, value in variables.items() if name != "params"}

        def apply(params: Any, x: jax.Array) -> Any:
            found, _ = module.apply({"params": params, **rest}, x, *args, mutable=[*rest])
            found = getattr(found, "z", found)
            return found

        return apply, variables.get("params", {})

    return at


def of_function(function: Callable[..., Any], *shapes: tuple[int, ...]) -> Any:
    rng = np.random.default_rng(2)
    return lambda x: (
        lambda params, x: function(x, *params),
        [jnp.asarray(rng.normal(size=shape)) for shape in shapes],
    )


def convolution(channels: int, stride: int, method: Any) -> Any:
    return of_function(
        lambda x, kernel: conv(x, kernel, stride, 1, method=method), (3, 3, channels, 2)
    )


def transposed(method: Any) -> Any:
    return of_function(
        lambda x, kernel: conv_transpose(x, kernel, 2, 1, (1, 1), method=method), (3, 3, 2, 1)
    )


MAPS = (3, 6, 6, 2)
CASES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "dense": (of_module(Dense(4)), (3, 5)),
    "dropout": (of_module(Dropout(0.4), OWN.keys("dropout")), (3, 5)),
    "batch_norm": (of_module(BatchNorm(), True), (3, 5)),
    "batch_norm_running": (of_module(BatchNorm(), False), (3, 5)),
    "residual": (of_module(Residual(2, LayerSettings())), MAPS),
    "vector": (of_module(Vector(2), OWN, True), (3, 5)),
    "gaussian": (of_module(Gaussian(2), OWN, True), (3, 5)),
    "categorical": (of_module(Categorical(2, 3), OWN, True, 0.5), (3, 5)),
    "vector_quantizer": (of_module(VectorQuantizer(5, 2), OWN, True), MAPS),
    "learned_codes": (of_module(VectorQuantizer(5, 2, None), OWN, True), MAPS),
    "residual_quantizer": (of_module(ResidualQuantizer(5, 2, 2, 0.9), OWN, True), MAPS),
    "finite_scalars": (of_module(FiniteScalars((4, 3)), OWN, True), MAPS),
    "flow": (of_function(lambda z, u, w, b: planar(z, u, w, b)[0], (5,), (5,), ()), (3, 5)),
    **{
        f"conv_{channels}_{stride}_{method}": (
            convolution(channels, stride, method),
            (3, 6, 6, channels),
        )
        for channels in (1, 2)
        for stride in (1, 2)
        for method in ("matmul", "xla")
    },
    **{f"transposed_{method}": (transposed(method), MAPS) for method in ("matmul", "xla")},
    **{
        name: (of_function(LayerSettings(activation=name).activate), (3, 5))
        for name in (*ACTIVATIONS, "leaky_relu")
    },
}


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_is_the_adjoint_of_reverse_mode(name):
    """<w, J v> = <J^T w, v> for directions v of input and parameters, w of the output.

    In float64: some hundred products of numbers of order 1 are added, 1e-14 each; a derivative that
    is missing is an error of order 1.
    """
    make, shape = CASES[name]
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.normal(size=shape))
        function, params = make(x)
        at = params, x
        v = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), at)

        @jax.jit
        def both(at, v):
            value, forward = jax.jvp(function, at, v)
            w = jnp.cos(jnp.arange(value.size)).reshape(value.shape)
            back = jax.vjp(function, *at)[1](w)
            pairs = zip(jax.tree.leaves(back), jax.tree.leaves(v), strict=True)
            return jnp.vdot(w, forward), sum(jnp.vdot(a, b) for a, b in pairs)

        forward, reverse = map(float, both(at, v))
    assert abs(forward) > 1e-3
    assert forward == pytest.approx(reverse, rel=1e-10, abs=1e-11)
