"""How fast the device is, how fast it trains, and what share of its own limit that is."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import Examples
from jaxvae.config import Experiment, Parallel
from jaxvae.doctor import recipes
from jaxvae.doctor.report import Speed
from jaxvae.info import Info
from jaxvae.training import initial_state
from jaxvae.training import program as programs
from jaxvae.training.step import make_train_step

ADAM_BYTES = 7 * 4  # per parameter: reads it, its gradient and two moments, writes all but one
SIDE = 28
STEPS_PER_EPOCH = 8


def measure(quick: bool) -> list[Speed]:
    """Rates of products and memory, and the steps per second of the models (of one, if quick)."""
    seconds = 0.1 if quick else 0.5
    rate = product_rate(jnp.float32, seconds)
    reached = [Speed("matrix products, float32", rate / 1e9, "Gflop/s", _precision())]
    if not quick:
        half = product_rate(jnp.bfloat16, seconds)
        reached.append(Speed("matrix products, bfloat16", half / 1e9, "Gflop/s"))
    memory = bandwidth(seconds)
    reached.append(Speed("memory", memory / 1e9, "GB/s", "reads and writes of long arrays"))
    for experiment in recipes.MODELS[: 1 if quick else None]:
        steps = steps_per_second(experiment, 2 * seconds)
        flops, parameters = cost(experiment)
        limit = flops / rate + ADAM_BYTES * parameters / memory
        batch = experiment.data.batch_size
        share = f"{100 * steps * limit:.0f} % of the machine's limit (estimate)"
        reached.append(Speed(f"{experiment.name}, batch {batch}", steps, "steps/s", share))
    return reached


def _precision() -> str:
    kind = {"gpu": "in TF32 where the GPU has it", "tpu": "in bfloat16"}
    settings: Any = jax.config
    if (given := settings.jax_default_matmul_precision) is not None:
        return f"in the precision {given}, as configured"
    return kind.get(jax.default_backend(), "")


def product_rate(dtype: Any, seconds: float) -> float:
    """Floating-point operations per second of the best of some products, those of models too."""
    large = 1024 if jax.default_backend() == "cpu" else 8192
    product = jax.jit(jnp.matmul)
    best = 0.0
    for m, k, n in ((large, large, large), (128, 784, 256), (128 * 49, 576, 64)):
        a, b = jnp.ones((m, k), dtype), jnp.ones((k, n), dtype)
        best = max(best, 2 * m * k * n / seconds_of(product, (a, b), seconds / 3))
    return best


def bandwidth(seconds: float) -> float:
    """Bytes per second that one operation over long arrays reads and writes."""
    number = 2**24 if jax.default_backend() == "cpu" else 2**26
    add = jax.jit(lambda a, b: 0.5 * a + b, donate_argnums=0)  # no new memory for the result
    b = jnp.ones(number)

    def run(a: jax.Array) -> jax.Array:
        return add(a, b)

    a = jnp.ones(number)
    a = run(a).block_until_ready()
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(4):
            a = run(a)
        a.block_until_ready()
        best = min(best, (time.perf_counter() - began) / 4)
    return 3 * 4 * number / best


def seconds_of(function: Callable[..., jax.Array], args: tuple[Any, ...], seconds: float) -> float:
    """The least mean time of some calls, by repeating them for so many seconds.

    Several calls are under way at once, so that a device need not wait for the host.
    """
    function(*args).block_until_ready()
    began = time.perf_counter()
    function(*args).block_until_ready()
    calls = max(1, min(100, int(seconds / 5 / (time.perf_counter() - began))))
    best, until = math.inf, time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(calls):
            result = function(*args)
        result.block_until_ready()
        best = min(best, (time.perf_counter() - began) / calls)
    return best


def steps_per_second(experiment: Experiment, seconds: float) -> float:
    """Of the package's compiled loop on one device, over images that lie there."""
    dataset = recipes.dataset(STEPS_PER_EPOCH, experiment.data.batch_size, SIDE)
    program, state = programs.build(experiment, dataset, Parallel("jit", 1))
    source, _ = next(program.chunks(0, 1))
    sums = program.sums()

    def time_of(steps: int) -> float:
        nonlocal state
        began = time.perf_counter()
        state, found = program.advance(state, sums, source, steps)
        if not np.isfinite(float(found["loss"])):
            raise ArithmeticError(f"{experiment.name}: the loss is {float(found['loss'])}")
        return (time.perf_counter() - began) / steps

    time_of(1)
    steps = max(1, int(seconds / 3 / time_of(2)))
    return 1 / min(time_of(steps) for _ in range(3))


def cost(experiment: Experiment) -> tuple[int, int]:
    """Floating-point operations of a step's products, and the number of parameters."""
    shape, batch_size = (SIDE, SIDE, 1), experiment.data.batch_size
    info = Info(shape)
    model = experiment.model.build(info)
    state = jax.eval_shape(lambda: initial_state(experiment, model, info))
    step = make_train_step(experiment, model, info, STEPS_PER_EPOCH)
    number = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
    images = jax.ShapeDtypeStruct((batch_size, *shape), jnp.uint8)
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    jaxpr = jax.make_jaxpr(step)(state, Examples(images, number, number), key)
    return product_flops(jaxpr.jaxpr), sum(x.size for x in jax.tree.leaves(state.params))


def product_flops(jaxpr: Any) -> int:
    """Two for each product of two numbers in a program's matrix products and convolutions."""
    flops = 0
    for equation in jaxpr.eqns:
        leaves = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_jaxpr)
        inner = [product_flops(getattr(x, "jaxpr", x)) for x in leaves if _is_jaxpr(x)]
        # Of branches, such as the formulations of a convolution for each platform, one is taken.
        flops += max(inner) if equation.primitive.name == "cond" else sum(inner)
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            flops += 2 * out.size * math.prod(left[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel = equation.invars[1].aval
            features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
            # Zeros between the pixels, of transposed convolutions, are no work.
            zeros = math.prod(equation.params["lhs_dilation"])
            flops += 2 * out.size * kernel.size // features // zeros
    return flops


def _is_jaxpr(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")
