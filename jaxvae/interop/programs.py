"""What a trained model does as programs that run without its code: encode, decode and sample."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.data.preprocess import to_given, to_unit
from jaxvae.evaluation import Trained
from jaxvae.evaluation.trained import has_gaussian, has_prior, is_images, knows_labels
from jaxvae.models import decoder_mean
from jaxvae.models.convolution import one_formulation
from jaxvae.noise import Noise

PLATFORMS = ("cpu", "cuda", "tpu")
ABSENT = (
    "--format onnx: needs jax2onnx, which is not installed: pip install onnx onnx-ir; pip install"
    " --no-deps jax2onnx (by itself it asks for an older Orbax)"
)
LABEL = ("label", (), np.int32)

Argument = tuple[str, tuple[int, ...], Any]
"""A name, the shape of one example, and a dtype."""


class Program(NamedTuple):
    """A function of arrays whose first axis counts examples; but `key`, two numbers."""

    function: Callable[..., Any]
    arguments: tuple[Argument, ...]
    says: str


def programs(trained: Trained) -> dict[str, Program]:
    """What the model can do, by name; functions of batches of any size.

    Images have pixels in [0, 1] and the size that the model sees; other values are in their units.
    Where the model looks at labels, they are the last argument, (n,).
    """
    label = (LABEL,) if knows_labels(trained) else ()
    example = ("x", tuple(trained.info.shape), np.float32)

    def encode(x: jax.Array, label: Any = None) -> Any:
        batch = _of(trained, x, label)
        if has_gaussian(trained):
            aux = _apply(trained, batch).aux
            return aux["mean"], aux["logvar"]
        return _apply(trained, batch, method="embed")

    def decode(z: Any, label: Any = None) -> jax.Array:
        return _decoded(trained, z, label)

    def sample(key: jax.Array, index: jax.Array, label: Any = None) -> jax.Array:
        own = Noise(jax.random.wrap_key_data(key, impl="threefry2x32"), 0, index)
        batch = Batch(None, None, label, None, own, trained.info)
        return _decoded(trained, _apply(trained, batch, method="prior"), label)

    gaussian = has_gaussian(trained)
    out = "mean and logvar of q(z|x)" if gaussian else "the code"
    found = {"encode": Program(encode, (example, *label), f"x to {out}")}
    one = jax.ShapeDtypeStruct((1, *trained.info.shape), np.float32)
    labels = [jax.ShapeDtypeStruct((1,), np.int32)] if label else []
    code = jax.eval_shape(encode, one, *labels)
    z = code[0] if gaussian else next(iter(code.values())) if isinstance(code, dict) else code
    codes = (("z", z.shape[1:], z.dtype), *label)
    found["decode"] = Program(decode, codes, "z to the mean of p(x|z)")
    if has_prior(trained):
        drawn = (("key", (2,), np.uint32), ("index", (), np.int32), *label)
        says = "a key (such as 0 and a seed) and the numbers of the samples to samples"
        found["sample"] = Program(sample, drawn, says)
    return found


def _of(trained: Trained, x: jax.Array, label: Any) -> Batch:
    """The batch that the model sees: images in the range that it was trained on."""
    info, data, observed = trained.info, trained.experiment.data, None
    if is_images(trained):
        low, high = data.range
        x = x * (high - low) + low
    elif info.center:
        x = (x - np.asarray(info.center, np.float32)) / np.asarray(info.scale, np.float32)
    if info.missing:
        observed = ~jnp.isnan(x)
        x = jnp.where(observed, x, 0.0)
    return Batch(x, x, label, observed, None, info)


def _decoded(trained: Trained, z: Any, label: Any) -> jax.Array:
    batch = Batch(None, None, label, None, None, trained.info)
    x = decoder_mean(_apply(trained, z, batch, method="decode"), trained.model.output)
    if not is_images(trained):
        return to_given(trained.info, x)
    return jnp.clip(to_unit(trained.experiment.data, x), 0, 1)


def _apply(trained: Trained, *args: Any, method: str | None = None) -> Any:
    return trained.model.apply(trained.variables.model, *args, method=method)


def axes(name: str, shape: tuple[int, ...]) -> list[int | str]:
    """Of an argument: n, any number of examples, before those of one; but a key is one."""
    return [*shape] if name == "key" else ["n", *shape]


def as_stablehlo(program: Program) -> bytes:
    """The program for batches of any size and for CPU, CUDA and TPU, as `jax.export` has it.

    `jax.export.deserialize(content).call(*arguments)` runs it, with JAX alone.
    """
    (size,) = export.symbolic_shape("n")
    arguments = [
        jax.ShapeDtypeStruct([size if a == "n" else a for a in axes(name, shape)], dtype)
        for name, shape, dtype in program.arguments
    ]
    exported = export.export(jax.jit(program.function), platforms=PLATFORMS)(*arguments)
    return bytes(exported.serialize())


def as_onnx(name: str, program: Program) -> bytes:
    """The program for batches of any size as ONNX has it, by jax2onnx.

    Raises:
        UsageError: jax2onnx is not installed.
    """
    try:
        from jax2onnx import to_onnx
    except ModuleNotFoundError as error:
        raise UsageError(ABSENT) from error
    (size,) = export.symbolic_shape("n")
    arguments = [
        jax.ShapeDtypeStruct((size, *shape), dtype) for _, shape, dtype in program.arguments
    ]
    with one_formulation("xla"):
        model = to_onnx(program.function, inputs=arguments, model_name=name)
    content: bytes = model.SerializeToString()
    return content
