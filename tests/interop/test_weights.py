"""Maps and layouts: a round trip is exact, a linear map has its adjoint, misfits are all listed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxvae import Model
from jaxvae.checks import UsageError
from jaxvae.data.splits import seen_shape
from jaxvae.info import Info
from jaxvae.interop import maps, published
from jaxvae.interop.maps import Map, reference_map
from jaxvae.interop.weights import WeightsError, problems, to_flax, to_torch, torch_keys
from jaxvae.runs import load_experiment
from jaxvae.training.state import dummy
from tests.interop.bits import assert_same_bits
from torch_parity.experiments import EXPERIMENTS

# map: the experiment whose model it is for, and the shape of its images
PUBLISHED = {
    "pytorch_examples": ("pytorch_examples_vae", (28, 28, 1)),
    "jackson_kang": ("published/jackson_kang", (28, 28, 1)),
    "ethanluoyc": ("published/ethanluoyc", (28, 28, 1)),
    "pythae_mlp_vae": ("published/pythae_vae", (28, 28, 1)),
    "pythae_mlp_ae": ("published/pythae_ae", (28, 28, 1)),
    "pythae_conv_vae": ("published/pythae_conv_vae", (28, 28, 1)),
    "pythae_conv_ae": ("published/pythae_conv_ae", (28, 28, 1)),
    "antixk": ("published/antixk_vae", (218, 178, 3)),
    "burgess_32": ("published/burgess_vae", (28, 28, 1)),
    "gruheshkurra": ("mnist_vae_bn", (28, 28, 1)),
    "sequential": ("fashion_mnist_vae_sgd", (28, 28, 1)),
    "timbmg": ("mnist_vae_2d", (28, 28, 1)),
    "zalandoresearch": ("published/zalandoresearch", (32, 32, 3)),
}


def template_of(model: Model, shape: tuple[int, int, int], learned_variance: bool = False) -> Any:
    """Shapes and dtypes of a model's variables; a learned variance stands among its parameters."""
    info = Info(shape)
    variables = jax.eval_shape(model.build(info).init, jax.random.key(0), dummy(info))
    learned = {"x_logvar": jax.ShapeDtypeStruct((), jnp.float32)} if learned_variance else {}
    return {"batch_stats": {}, **variables, "params": variables["params"] | learned}


def random_state_dict(weight_map: Map, template: Any, seed: int, dtype: str = "float32") -> dict:
    """Any bit patterns of finite numbers: signed zeros, subnormals, the largest."""
    rng = np.random.default_rng(seed)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, dtype), template)
    info: Any = np.finfo(dtype)
    corners = np.array([0.0, -0.0, info.smallest_subnormal * 2, info.max / 2, -info.tiny], dtype)
    arrays = {}
    for key, array in to_torch(zeros, weight_map).items():
        if key.endswith("num_batches_tracked"):
            continue
        values = rng.standard_normal(array.shape).astype(dtype)
        arrays[key] = np.where(rng.random(array.shape) < 0.1, rng.choice(corners), values)
    return arrays


def published_map(name: str, model: Model, shape: tuple[int, int, int]) -> Map:
    weight_map = published.published_map(name, reference_map(model, shape))
    assert weight_map is not None
    return weight_map


def without_counters(arrays: dict) -> dict:
    return {k: a for k, a in arrays.items() if not k.endswith("num_batches_tracked")}


@st.composite
def models(draw: Any) -> tuple[Model, tuple[int, int, int]]:
    """Models of every family and layer kind, small."""
    widths = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
    family = draw(st.sampled_from(["AE", "CAE", "VAE"]))
    network = "conv" if family == "CAE" else draw(st.sampled_from(["dense", "conv"]))
    own_decoder = family != "CAE" and draw(st.booleans())
    kernel_size = draw(st.integers(2, 4))
    fields: dict[str, Any] = {
        "family": family,
        "network": network,
        "hidden_dims": draw(widths),
        "decoder_dims": draw(widths) if own_decoder else None,
        "latent_dim": draw(st.integers(1, 3)),
        "batch_norm": draw(st.booleans()),
    }
    if network == "conv":
        fields |= {"kernel_size": kernel_size, "padding": 1}
        if family != "CAE":
            fields["dense_dims"] = draw(st.just(()) | widths)
            fields["expansion"] = draw(st.sampled_from([None, "linear", "activation", "hidden"]))
        if own_decoder:
            fields["decoder_kernel_size"] = draw(st.integers(2, 4))
            strides = [draw(st.integers(1, 2)) for _ in fields["decoder_dims"]]
            fields["decoder_strides"] = draw(st.sampled_from([(), tuple(strides)]))
    shape = (draw(st.integers(12, 14)), draw(st.integers(12, 14)), draw(st.integers(1, 3)))
    return Model(**fields), shape


@given(models(), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_round_trip_of_reference_models_is_exact(drawn, learned_variance, seed):
    model, shape = drawn
    template = template_of(model, shape, learned_variance)
    weight_map = reference_map(model, shape, learned_variance)
    theirs = random_state_dict(weight_map, template, seed)
    ours = to_flax(theirs, weight_map, template)
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, template)
    assert_same_bits(without_counters(to_torch(ours, weight_map)), theirs)


@pytest.mark.parametrize("name", PUBLISHED)
def test_round_trip_of_published_models_is_exact(name):
    experiment = load_experiment(EXPERIMENTS / f"{PUBLISHED[name][0]}.py")
    shape = seen_shape(experiment.data, PUBLISHED[name][1])
    template = template_of(experiment.model, shape)
    weight_map = published_map(name, experiment.model, shape)
    theirs = random_state_dict(weight_map, template, seed=1)
    ours = to_flax(theirs, weight_map, template)
    assert_same_bits(without_counters(to_torch(ours, weight_map)), theirs)


def test_every_published_map_is_here_and_known_by_its_keys():
    assert set(published.PUBLISHED) == set(PUBLISHED) | {"burgess_64"}
    keys = [frozenset(torch_keys(published_map("burgess_64", BURGESS, (64, 64, 3))))]
    for name, (file, stored_shape) in PUBLISHED.items():
        experiment = load_experiment(EXPERIMENTS / f"{file}.py")
        shape = seen_shape(experiment.data, stored_shape)
        keys.append(frozenset(torch_keys(published_map(name, experiment.model, shape))))
    assert len(set(keys)) == len(keys)


BURGESS = Model(
    network="conv", hidden_dims=(32,) * 4, dense_dims=(256, 256), latent_dim=2, kernel_size=4
)


@pytest.mark.parametrize("name", ["ethanluoyc", "burgess_64"])
def test_gradients_go_back_by_the_adjoint(name):
    """<g, to_flax(d)> = <to_torch(g, gradient), d> for every direction d of their weights."""
    model, shape = BURGESS, (64, 64, 3)
    if name != "burgess_64":
        model, shape = load_experiment(EXPERIMENTS / "published" / f"{name}.py").model, (28, 28, 1)
    template = template_of(model, shape)
    weight_map, rng = published_map(name, model, shape), np.random.default_rng(0)
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape), template)  # float64
    shapes = without_counters(to_torch(template, weight_map))
    direction = {key: rng.standard_normal(array.shape) for key, array in shapes.items()}
    ours = flatten_dict(to_flax(direction, weight_map, template)["params"])
    gradient = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape), template)
    theirs = to_torch({"params": gradient["params"]}, weight_map, gradient=True)
    left = sum((flatten_dict(gradient["params"])[path] * ours[path]).sum() for path in ours)
    right = sum((theirs[key] * direction[key]).sum() for key in theirs)
    # A sum of a million products of order 1: its rounding is far below 1e-8.
    assert abs(left - right) < 1e-8
    assert abs(left) > 1


def test_gradients_have_no_buffers():
    model = Model(hidden_dims=(3,), latent_dim=2, batch_norm=True)
    template, weight_map = template_of(model, (2, 2, 1)), reference_map(model, (2, 2, 1))
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    gradient = to_torch(zeros, weight_map, gradient=True)
    state = to_torch(zeros, weight_map, num_batches=7)
    buffers = {key for key in state if "running" in key or "num_batches" in key}
    assert set(state) - set(gradient) == buffers and len(buffers) == 6
    counter = state["encoder.norm_0.num_batches_tracked"]
    assert (counter.dtype, counter.shape, int(counter)) == (np.int64, (), 7)


def test_heads_in_halves_or_interleaved_and_images_of_several_channels():
    """By the index: what each number of one Linear of 2 L outputs is."""
    model = Model(hidden_dims=(), latent_dim=2, decoder_dims=())
    template = template_of(model, (2, 3, 2))
    flat = (2, 2, 3)
    decoder = {"out": maps.dense("decoder/Dense_0", flat_out=flat)}
    theirs = {
        "h.weight": np.arange(48, dtype=np.float32).reshape(4, 12),
        "h.bias": np.arange(4, dtype=np.float32),
        "out.weight": np.arange(24, dtype=np.float32).reshape(12, 2),
        "out.bias": np.arange(12, dtype=np.float32),
    }
    for interleaved, rows in ((False, [[0, 1], [2, 3]]), (True, [[0, 2], [1, 3]])):
        weight_map = {"h": maps.heads(interleaved=interleaved, flat_in=flat), **decoder}
        ours = to_flax(theirs, weight_map, template)["params"]
        for head, outputs in zip(("mean", "logvar"), rows, strict=True):
            assert ours[head]["bias"].tolist() == outputs
            for y, x, c, output in np.ndindex(2, 3, 2, 2):
                kernel = ours[head]["kernel"].reshape(2, 3, 2, 2)
                expected = theirs["h.weight"].reshape(4, 2, 2, 3)[outputs[output], c, y, x]
                assert kernel[y, x, c, output] == expected
        for y, x, c in np.ndindex(2, 3, 2):
            bias = ours["decoder"]["Dense_0"]["bias"].reshape(2, 3, 2)
            assert bias[y, x, c] == theirs["out.bias"].reshape(2, 2, 3)[c, y, x]


def test_every_misfit_is_listed_at_once():
    model = Model(hidden_dims=(4,), latent_dim=3)
    template = template_of(model, (2, 2, 1))
    weight_map = dict(reference_map(model, (2, 2, 1)))
    theirs = random_state_dict(weight_map, template, seed=0)
    theirs["encoder.dense_0.weight"] = theirs["encoder.dense_0.weight"].T[:, :3]
    theirs["mean.bias"] = np.zeros(3, np.int64)
    theirs["logvar.bias"] = np.array([0, np.nan, 1], np.float32)
    theirs["decoder.dense_0.bias"] = np.array([0, 1e300, 1, 2])  # too large for float32
    theirs["extra.weight"] = np.zeros((1, 5), np.float32)
    del theirs["decoder.dense_1.bias"]
    weight_map["gone"] = maps.dense("encoder/Dense_7")
    weight_map["mean"] = maps.dense("mean", flat_in=(2, 3, 3))
    del weight_map["decoder.dense_0"]
    weight_map["twice"] = weight_map["logvar"]
    theirs["twice.weight"], theirs["twice.bias"] = theirs["logvar.weight"], np.zeros(3, np.float32)

    expected = [
        "encoder.dense_0.weight: (4, 3) in the state dict, (4, 4) expected",
        "logvar.bias: has values that are not finite",
        "decoder.dense_1.bias: missing in the state dict, (4,) expected",
        "decoder.dense_0.bias: (4,) in the state dict, but the map does not name it",
        "extra.weight: (1, 5) in the state dict, but the map does not name it",
        "gone.weight: the model has no params/encoder/Dense_7/kernel",
        "mean.weight: the map flattens (channels, height, width) = (2, 3, 3), 18 numbers, where"
        " the model has 4",
        "mean.bias: int64 in the state dict, floating point expected",
        "params/decoder/Dense_0/kernel: no array of the map fills it",
        "params/decoder/Dense_0/bias: no array of the map fills it",
        "params/logvar/bias: more than one array of the map fills it",
    ]
    with pytest.raises(WeightsError) as error:
        to_flax(theirs, weight_map, template)
    assert isinstance(error.value, UsageError)
    for line in expected:
        assert f"\n  {line}" in str(error.value)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), template)
    with pytest.raises(WeightsError) as error:
        to_torch(zeros, weight_map)
    for line in (expected[5], expected[6], expected[8], expected[10]):
        assert f"\n  {line}" in str(error.value)


def test_what_overflows_by_the_factor_is_not_finite():
    model = load_experiment(EXPERIMENTS / "published" / "ethanluoyc.py").model
    template = template_of(model, (28, 28, 1))
    weight_map = published_map("ethanluoyc", model, (28, 28, 1))
    theirs = random_state_dict(weight_map, template, seed=0)
    assert problems(theirs, weight_map, template) == []
    theirs["encoder.enc_log_sigma.bias"][0] = 2e38  # logvar would be 4e38
    found = problems(theirs, weight_map, template)
    assert found == ["encoder.enc_log_sigma.bias: has values that are not finite"]


def test_the_dtype_is_the_templates():
    model = Model(hidden_dims=(), latent_dim=1)
    template, weight_map = template_of(model, (1, 2, 1)), reference_map(model, (1, 2, 1))
    theirs = random_state_dict(weight_map, template, seed=0, dtype="float64")
    theirs = {key: np.clip(array, -9, 9) for key, array in theirs.items()}
    ours = to_flax(theirs, weight_map, template)
    assert {array.dtype for array in jax.tree.leaves(ours)} == {np.dtype(np.float32)}
    double = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, np.float64), template)
    ours = to_flax(theirs, weight_map, double)
    assert_same_bits(to_torch(ours, weight_map), theirs)
