"""Every experiment becomes a program for NVIDIA, AMD and Google's devices, though none is here.

Lowering stops before the platform's own compiler: it shows that each operation has a form there,
and which one.
"""

import contextlib
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from jaxvae import Experiment, Model, Objective, axis, noise
from jaxvae.batch import Batch, Examples
from jaxvae.data.splits import seen_shape
from jaxvae.evaluation import make_batch_sums, make_evaluate
from jaxvae.info import Info
from jaxvae.noise import Noise
from jaxvae.runs import load_experiment
from jaxvae.training import initial_state, make_advance, make_train_step
from jaxvae.training.devices import WHOLE
from jaxvae.training.step import Resident, metric_names

FILES = sorted(Path(__file__).parents[1].glob("experiments/*.py"))
SLOW = [pytest.mark.slow]
KINDS = {"mnist_vae_bn": [], "mnist_conv_vae": [*SLOW, pytest.mark.ci]}  # the others are of these
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
SHAPE, TRAIN, TEST = (28, 28, 1), 60000, 10000
MESH = AbstractMesh((8,), (axis.NAME,), axis_types=(AxisType.Auto,))


def assert_lowers(function, *args, devices: int, convolutional: bool) -> None:
    """For each platform, on arguments of these shapes, which every device holds."""
    sharding = None if devices == 1 else NamedSharding(MESH, PartitionSpec())
    args = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), args)
    mesh = contextlib.nullcontext() if devices == 1 else jax.sharding.use_abstract_mesh(MESH)
    with mesh:
        traced = jax.jit(function).trace(*args)
        for platform in PLATFORMS:
            text = traced.lower(lowering_platforms=(platform,)).as_text()
            assert f"mhlo.num_partitions = {devices} :" in text
            found = "stablehlo.convolution" in text
            # On a CPU and a GPU a convolution is a matrix product (jaxvae/models/convolution.py).
            assert found == (convolutional and platform == "tpu"), platform


def examples(n: int) -> Examples:
    """Shapes of n examples."""
    numbers = jax.ShapeDtypeStruct((n,), jnp.int32)
    return Examples(jax.ShapeDtypeStruct((n, *SHAPE), jnp.uint8), numbers, numbers)


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 8])
@pytest.mark.parametrize(
    "file",
    [pytest.param(f, id=f.stem, marks=KINDS.get(f.stem, SLOW)) for f in FILES],
)
def test_experiments_lower_for_every_platform(file, devices):
    """The training loop, the evaluation, and images from the prior or, without one, from codes."""
    experiment = load_experiment(file)
    batch_size = experiment.data.batch_size
    steps, info = TRAIN // batch_size, Info(seen_shape(experiment.data, SHAPE), num_examples=TRAIN)
    module = experiment.model.build(info)
    step = make_train_step(experiment, module, info, steps)
    state = jax.eval_shape(lambda: initial_state(experiment, module, info))
    key = jax.eval_shape(lambda: noise.root(0))
    number, count = jax.ShapeDtypeStruct((), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32)
    sums = dict.fromkeys(metric_names(step, state, examples(batch_size), key), number)
    train, test = examples(TRAIN), examples(TEST)
    source = Resident(train.x, train.label, train.index)
    convolutional = experiment.model.network == "conv" or experiment.model.family == "CAE"
    how = {"devices": devices, "convolutional": convolutional}

    advance = make_advance(step, batch_size, steps, experiment.train.chunk_steps)
    assert_lowers(advance, state, sums, source, key, {}, count, **how)
    if devices > 1:  # by the runner that divides batches itself, as in Runner.compile
        mapped = jax.shard_map(advance, mesh=MESH, in_specs=WHOLE, out_specs=WHOLE, check_vma=False)
        assert_lowers(mapped, state, sums, source, key, {}, count, **how)

    evaluate = make_evaluate(make_batch_sums(experiment, module, info), batch_size)
    assert_lowers(evaluate, state.variables, test.x, test.label, key, **how)

    def sample(variables, key):
        label, own = jnp.full(16, -1), Noise(key, 0, jnp.arange(16))
        batch = Batch(jnp.zeros((16, *SHAPE)), None, label, None, own, info)
        method = "prior" if experiment.model.family == "VAE" else "embed"
        codes = module.apply(variables.model, batch, method=method)
        return module.apply(variables.model, codes, batch, method="decode")

    assert_lowers(sample, state.variables, key, **how)


def test_convolutions_along_signals_lower_for_every_platform():
    """The training step of a VAE whose convolutions have one dimension."""
    model, objective = Model("VAE", "conv", (4, 8), output="linear"), Objective("gaussian")
    experiment = Experiment("signals", model=model, objective=objective)
    info = Info((50, 2), num_examples=64, maximum=None)
    module = model.build(info)
    state = jax.eval_shape(lambda: initial_state(experiment, module, info))
    numbers = jax.ShapeDtypeStruct((16,), jnp.int32)
    signals = Examples(jax.ShapeDtypeStruct((16, 50, 2), jnp.float32), numbers, numbers)
    key = jax.eval_shape(lambda: noise.root(0))
    step = make_train_step(experiment, module, info, 4)
    assert_lowers(step, state, signals, key, devices=1, convolutional=True)
