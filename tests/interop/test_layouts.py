"""PyTorch's layers and published models in NumPy, by their documentation, against ours.

A round trip cannot tell that both ways are wrong alike. None of this needs PyTorch.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.batch import dummy
from jaxvae.data.splits import seen_shape
from jaxvae.info import Info
from jaxvae.interop import maps
from jaxvae.interop.maps import Map
from jaxvae.interop.published import PUBLISHED
from jaxvae.interop.weights import to_flax
from jaxvae.models.layers import BatchNorm, Conv, ConvTranspose, Dense
from jaxvae.runs import load_experiment
from tests.given import batch
from torch_parity.experiments import EXPERIMENTS

RNG = np.random.default_rng(0)
# Sums of up to 800 products of numbers of about 1, in float32 here and in float64 there.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """out[n, o, i, j] = b[o] + sum of w[o, c, u, v] x[n, c, s i + u - p, s j + v - p]; NCHW."""
    k, p = w.shape[-1], padding
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))).astype(np.float64)
    height, width = ((n - k) // stride + 1 for n in x.shape[2:])
    out = np.zeros((len(x), len(w), height, width)) + b[:, None, None]
    for i, j in np.ndindex(height, width):
        window = x[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
        out[:, :, i, j] += np.einsum("ncuv,ocuv->no", window, w)
    return out


def conv_transpose2d(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, stride: int, padding: int
) -> np.ndarray:
    """out[n, o, s i + u - p, s j + v - p] += x[n, c, i, j] w[c, o, u, v], from b[o] on."""
    k, (height, width) = w.shape[-1], x.shape[2:]
    full = ((height - 1) * stride + k, (width - 1) * stride + k)
    out = np.zeros((len(x), w.shape[1], *full)) + b[:, None, None]
    for i, j in np.ndindex(height, width):
        part = np.einsum("nc,couv->nouv", x[:, :, i, j].astype(np.float64), w)
        out[:, :, i * stride : i * stride + k, j * stride : j * stride + k] += part
    return out[:, :, padding : full[0] - padding, padding : full[1] - padding]


def ours(layer: Any, of_theirs: Any, state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """What our layer makes of x with the weights of their module "layer"."""
    shapes = jax.eval_shape(layer.init, jax.random.key(0), jnp.asarray(x))
    template = {name: {"own": variables} for name, variables in shapes.items()}
    state = {f"layer.{name}": array for name, array in state.items()}
    found = to_flax(state, {"layer": of_theirs}, {"batch_stats": {}, **template})
    variables = {name: found[name]["own"] for name in template}
    return np.asarray(jax.jit(layer.apply)(variables, jnp.asarray(x)))


def test_layout_of_a_convolution():
    w, b, x = random(3, 3, 4, 4), random(3), random(2, 3, 9, 7)
    found = ours(
        Conv(3, 4, 2, 1), maps.conv("own"), {"weight": w, "bias": b}, np.moveaxis(x, 1, -1)
    )
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), conv2d(x, w, b, 2, 1), **CLOSE)


def test_layout_of_a_transposed_convolution():
    """With as many channels after as before, so that no shape tells which axis is which."""
    w, b, x = random(3, 3, 4, 4), random(3), random(2, 3, 4, 5)
    state = {"weight": w, "bias": b}
    layer = ConvTranspose(3, 4, 2, 1)
    found = ours(layer, maps.conv_transpose("own"), state, np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), conv_transpose2d(x, w, b, 2, 1), **CLOSE)


def test_layout_of_a_final_convolution_that_is_a_transposed_one():
    w, b, x = random(3, 3, 3, 3), random(3), random(2, 3, 5, 6)
    state = {"weight": w, "bias": b}
    found = ours(ConvTranspose(3, 3), maps.flipped_conv("own"), state, np.moveaxis(x, 1, -1))
    np.testing.assert_allclose(np.moveaxis(found, -1, 1), conv2d(x, w, b, 1, 1), **CLOSE)


def test_layout_of_a_dense_layer_behind_a_feature_map():
    """PyTorch flattens (channels, height, width)."""
    w, b, x = random(5, 24), random(5), random(2, 4, 2, 3)
    rows = np.moveaxis(x, 1, -1).reshape(2, -1)
    state = {"weight": w, "bias": b}
    found = ours(Dense(5), maps.dense("own", flat_in=(4, 2, 3)), state, rows)
    np.testing.assert_allclose(found, x.reshape(2, -1).astype(np.float64) @ w.T + b, **CLOSE)


def test_layout_of_a_dense_layer_that_is_told_a_label():
    """torch.cat([x.flatten(1), one_hot], dim=1)."""
    w, b, x = random(5, 24 + 3), random(5), random(3, 4, 2, 3)
    label = np.eye(3, dtype=np.float32)
    rows = np.concatenate([np.moveaxis(x, 1, -1).reshape(3, -1), label], axis=1)
    state = {"weight": w, "bias": b}
    found = ours(Dense(5), maps.dense("own", flat_in=(4, 2, 3), labelled=True), state, rows)
    theirs = np.concatenate([x.reshape(3, -1), label], axis=1).astype(np.float64)
    np.testing.assert_allclose(found, theirs @ w.T + b, **CLOSE)


def test_layout_of_batch_norm():
    """(x - running_mean) / sqrt(running_var + 1e-5) weight + bias."""
    state = {name: random(4) for name in ("weight", "bias", "running_mean", "running_var")}
    state["running_var"] = np.square(state["running_var"]) + 0.1
    x = random(6, 4)

    class Evaluated(BatchNorm):
        def __call__(self, x):
            return super().__call__(x, False)

    found = ours(Evaluated(), maps.batch_norm("own"), state, x)
    scaled = (x - state["running_mean"]) / np.sqrt(state["running_var"] + 1e-5)
    np.testing.assert_allclose(found, scaled * state["weight"] + state["bias"], **CLOSE)


# Published models


def published(name: str, weight_map: Map, stored: tuple[int, ...], shapes: dict) -> Any:
    """Our module of an experiment, its variables with random weights of theirs, and these."""
    experiment = load_experiment(EXPERIMENTS / f"{name}.py")
    info = Info(seen_shape(experiment.data, stored))
    module = experiment.model.build(info)
    template = jax.eval_shape(module.init, jax.random.key(0), dummy(info))
    state = {}
    for key, shape in shapes.items():
        fan_in = int(np.prod(shape[1:]))
        state[f"{key}.weight"] = random(*shape) / np.float32(np.sqrt(fan_in))
        state[f"{key}.bias"] = random(shape[0])
    found = to_flax(state, weight_map, {"batch_stats": {}, **template})
    variables = {name: found[name] for name in template}
    return module, variables, {key: np.float64(array) for key, array in state.items()}


def map_of(name: str, experiment: str, shape: tuple[int, ...], **changed: Any) -> Map:
    """The map of a published model, for the model of an experiment."""
    model = replace(load_experiment(EXPERIMENTS / f"{experiment}.py").model, **changed)
    return PUBLISHED[name](maps.reference_map(model, shape))


def linear(state: dict[str, np.ndarray], key: str, x: np.ndarray) -> np.ndarray:
    return x @ state[f"{key}.weight"].T + state[f"{key}.bias"]


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def test_pytorch_examples_in_numpy():
    """encode: fc21 and fc22 of relu(fc1 x) are mu and logvar; decode: fc4 of relu(fc3 z)."""
    sizes = {"fc1": (400, 784), "fc21": (20, 400), "fc22": (20, 400), "fc3": (400, 20)}
    module, variables, state = published(
        "pytorch_examples_vae",
        map_of("pytorch_examples", "pytorch_examples_vae", (28, 28, 1)),
        (28, 28, 1),
        sizes | {"fc4": (784, 400)},
    )
    x = np.random.default_rng(1).random((3, 28, 28, 1), np.float32)
    output = jax.jit(module.apply)(variables, batch(jnp.asarray(x)))
    h = relu(linear(state, "fc1", x.reshape(3, -1)))
    mu, logvar = linear(state, "fc21", h), linear(state, "fc22", h)
    np.testing.assert_allclose(output.aux["mean"], mu, **CLOSE)
    np.testing.assert_allclose(output.aux["logvar"], logvar, **CLOSE)
    logits = linear(state, "fc4", relu(linear(state, "fc3", mu)))
    np.testing.assert_allclose(output.decoded, logits.reshape(x.shape), **CLOSE)


def test_a_head_of_log_sigma_is_half_a_logvar():
    """ethanluoyc: sigma = exp(enc_log_sigma(h))."""
    layers = {
        "encoder.linear1": "encoder/Dense_0",
        "encoder.linear2": "encoder/Dense_1",
        "encoder.enc_mu": "mean",
        "encoder.enc_log_sigma": "logvar",
        "decoder.linear1": "decoder/Dense_0",
        "decoder.linear2": "decoder/Dense_1",
    }
    own = map_of("ethanluoyc", "published/ethanluoyc", (28, 28, 1))
    assert own.keys() == layers.keys()
    experiment = load_experiment(EXPERIMENTS / "published" / "ethanluoyc.py")
    info = Info((28, 28, 1))
    shapes = jax.eval_shape(experiment.model.build(info).init, jax.random.key(0), dummy(info))
    sizes = {}
    for theirs, path in layers.items():
        at = shapes["params"]
        for part in path.split("/"):
            at = at[part]
        sizes[theirs] = at["kernel"].shape[::-1]
    module, variables, state = published("published/ethanluoyc", own, (28, 28, 1), sizes)
    x = np.random.default_rng(1).random((3, 28, 28, 1), np.float32)
    output = jax.jit(module.apply)(variables, batch(jnp.asarray(x)))
    h = relu(
        linear(state, "encoder.linear2", relu(linear(state, "encoder.linear1", x.reshape(3, -1))))
    )
    np.testing.assert_allclose(output.aux["mean"], linear(state, "encoder.enc_mu", h), **CLOSE)
    log_sigma = linear(state, "encoder.enc_log_sigma", h)
    np.testing.assert_allclose(output.aux["logvar"], 2 * log_sigma, **CLOSE)


def test_what_is_flattened_and_how_heads_lie():
    """AntixK flattens 512 maps of 2x2 before its heads; Burgess et al. view one head as (L, 2)."""
    own = map_of("antixk", "published/antixk_vae", (64, 64, 3))
    for name in ("fc_mu", "fc_var"):
        assert own[name].flat_in == (512, 2, 2)
    assert own["decoder_input"].flat_out == (512, 2, 2)
    assert own["final_layer.3"].flipped
    for size, dims in ((32, (32,) * 3), (64, (32,) * 4)):
        own = map_of(f"burgess_{size}", "published/burgess_vae", (size, size, 1), hidden_dims=dims)
        assert own["encoder.mu_logvar_gen"].interleaved
        assert own["encoder.mu_logvar_gen"].paths == ("mean", "logvar")
