"""Initialisation, BatchNorm and dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from scipy import special, stats

from jaxvae import Model, axis, noise
from jaxvae.checks import UsageError
from jaxvae.info import Info
from jaxvae.models.critics import Critic
from jaxvae.models.layers import (
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Hidden,
    LayerSettings,
    keep_mask,
)
from tests.given import Given, batch

pytestmark = pytest.mark.numeric

KEY = noise.root(0)
# What a rule draws is the same under any generator; this one compiles many times faster.
INIT_KEY = jax.random.key(0, impl="unsafe_rbg")

# A layer, its input's shape, and PyTorch's fan-in; of a transposed convolution it counts the
# output channels. The fan-in of the flax rule is that of the input channels.
LAYERS = [
    (lambda rule: Dense(300, rule), (1, 200), 200, 200),
    (lambda rule: Conv(64, 3, init_rule=rule), (1, 4, 4, 32), 9 * 32, 9 * 32),
    (lambda rule: ConvTranspose(64, 3, init_rule=rule), (1, 4, 4, 32), 9 * 64, 9 * 32),
]
IDS = ["Dense", "Conv", "ConvTranspose"]


@pytest.mark.parametrize("layer, shape, torch_fan_in, flax_fan_in", LAYERS, ids=IDS)
def test_torch_rule_is_uniform_within_its_bound(layer, shape, torch_fan_in, flax_fan_in):
    params = layer("torch").init(INIT_KEY, jnp.zeros(shape))["params"]
    bound = torch_fan_in**-0.5
    for name, value in params.items():
        value = np.asarray(value, np.float64)
        # The bound is itself a float32; the largest of n draws is within 20/n of it, e^-10 apart.
        assert np.abs(value).max() <= bound * (1 + 1e-6), name
        assert np.abs(value).max() >= bound * (1 - 20 / value.size), name
        # Standard deviation of a uniform's sample deviation: sqrt((9/5 - 1) / 4n); five of them.
        assert abs(value.std() / (bound / np.sqrt(3)) - 1) < 5 * np.sqrt(0.2 / value.size), name


@pytest.mark.parametrize("layer, shape, torch_fan_in, flax_fan_in", LAYERS, ids=IDS)
def test_flax_rule_is_lecun_normal_with_zero_biases(layer, shape, torch_fan_in, flax_fan_in):
    params = layer("flax").init(INIT_KEY, jnp.zeros(shape))["params"]
    kernel = np.asarray(params["kernel"], np.float64)
    # A normal's sample deviation deviates by sqrt(1 / 2n) (less when truncated); five of them.
    assert abs(kernel.std() * np.sqrt(flax_fan_in) - 1) < 5 * np.sqrt(0.5 / kernel.size)
    # Truncated at two deviations of the normal that has deviation 1 / 0.8796 before truncation.
    assert np.abs(kernel).max() <= 2 / 0.87962 / np.sqrt(flax_fan_in) * (1 + 1e-4)
    assert (params["bias"] == 0).all()


def test_every_layer_of_a_model_follows_the_rule():
    model = Model(network="conv", hidden_dims=(4,), latent_dim=2, init="torch")
    module = model.build(Info((8, 8, 3)))
    params = module.init(INIT_KEY, batch(jnp.zeros((1, 8, 8, 3))))["params"]
    biases = [value for path, value in jax.tree.leaves_with_path(params) if "bias" in str(path)]
    assert len(biases) == 1 + 2 + 2 and all((bias != 0).all() for bias in biases)


# Activations and critics


@pytest.mark.parametrize(
    "name, formula",
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.3 * x)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("gelu", lambda x: x * stats.norm.cdf(x)),  # not its approximation, off by 5e-4
        ("silu", lambda x: x * special.expit(x)),
        ("tanh", np.tanh),
        ("sigmoid", special.expit),
    ],
)
def test_activations_are_their_formulas(name, formula):
    x = np.linspace(-4, 4, 41)
    slope = {"negative_slope": 0.3} if name == "leaky_relu" else {}
    activate = LayerSettings(name, **slope).activate
    found = activate(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, formula(x), rtol=1e-5, atol=1e-6)
    if name in ("relu", "leaky_relu"):  # the slope at 0 is the one from below, as in PyTorch
        assert float(jax.grad(activate)(0.0)) == np.float32(slope.get("negative_slope", 0))


def test_a_critic_is_dense_layers_with_leaky_relu():
    """Slope 0.2 below 0, and nothing after the last layer."""
    z = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    critic = Critic((5, 4))
    variables = critic.init(INIT_KEY, z)
    h = np.float64(z)
    for i in range(3):
        layer = variables["params"][f"Dense_{i}"]
        h = h @ np.float64(layer["kernel"]) + np.float64(layer["bias"])
        h = np.where(h > 0, h, 0.2 * h) if i < 2 else h
    assert (h < 0).any()
    np.testing.assert_allclose(critic.apply(variables, z), h, rtol=1e-5, atol=1e-5)


# BatchNorm


def test_batch_norm_uses_the_batch_in_training_and_running_statistics_after():
    layer = Hidden(Dense(4), LayerSettings("elu", batch_norm=True))
    x = 3 + 2 * jax.random.normal(INIT_KEY, (50, 6))
    variables = layer.init(INIT_KEY, x)
    params = variables["params"]
    before = variables["batch_stats"]["BatchNorm_0"]
    np.testing.assert_array_equal(before["mean"], np.zeros(4))
    np.testing.assert_array_equal(before["var"], np.ones(4))

    y = np.float64(x) @ np.float64(params["linear"]["kernel"])  # the bias is 0
    mean, var = y.mean(axis=0), y.var(axis=0)  # the biased variance

    def elu(a):
        return np.where(a > 0, a, np.expm1(a))

    out, updated = layer.apply(variables, x, True, mutable=["batch_stats"])
    # Sums of 50 terms in float32, of y around 3 less their mean.
    np.testing.assert_allclose(out, elu((y - mean) / np.sqrt(var + 1e-5)), atol=2e-5)
    after = updated["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(after["mean"], 0.1 * mean, rtol=1e-5, atol=1e-6)
    unbiased = y.var(axis=0, ddof=1)  # as PyTorch keeps it; 2 % larger for 50 examples
    np.testing.assert_allclose(after["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)

    # In evaluation an example's output depends on that example and the statistics alone.
    running = {"params": params, **updated}
    expected = elu((y - 0.1 * mean) / np.sqrt(0.9 + 0.1 * unbiased + 1e-5))
    np.testing.assert_allclose(layer.apply(running, x), expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(layer.apply(running, x[:1]), expected[:1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)], ids=["dense", "map of one pixel"])
def test_batch_norm_refuses_a_single_value_per_feature(shape):
    """x - mean is then 0 whatever x is, and the unbiased variance 0 / 0."""
    layer, x = BatchNorm(), jnp.full(shape, 5.0)
    variables = layer.init(INIT_KEY, x, True)  # shapes alone: any batch will do
    with pytest.raises(
        UsageError, match=r"data\.batch_size = 1: must be at least 2 .* per feature"
    ):
        layer.apply(variables, x, True, mutable=["batch_stats"])
    # Running mean 0 and variance 1.
    np.testing.assert_allclose(layer.apply(variables, x, False), x / np.sqrt(1 + 1e-5), rtol=1e-6)


def test_batch_norm_counts_pixels_and_the_parts_of_other_devices():
    """Two values do: of a map of 1x2 pixels, or of two devices with an example each."""
    layer, rows = BatchNorm(), jnp.array([[1.0, -2.0, 0.0], [3.0, 2.0, 0.5]])
    variables = layer.init(INIT_KEY, rows, False)

    def run(x):
        return layer.apply(variables, x, True, mutable=["batch_stats"])

    # mean 2, 0, 0.25 and standard deviation 1, 2, 0.25, of two values: one above, one below.
    std = np.array([1.0, 2.0, 0.25])
    expected = np.array([[-1.0], [1.0]]) * [1, 1, 1] * std / np.sqrt(std**2 + 1e-5)
    moved = np.array([0.9 + 0.1 * 2 * s**2 for s in std])  # unbiased: 2 / (2 - 1)
    pixels, of_pixels = run(rows.reshape(1, 1, 2, 3))
    devices, of_devices = jax.vmap(run, axis_name=axis.NAME)(rows.reshape(2, 1, 3))
    for out, updated in ((pixels, of_pixels), (devices, jax.tree.map(lambda v: v[0], of_devices))):
        np.testing.assert_allclose(out.reshape(2, 3), expected, rtol=1e-6)
        np.testing.assert_allclose(updated["batch_stats"]["var"], moved, rtol=1e-6)


def test_batch_norm_of_parts_is_that_of_the_whole_batch():
    """Five devices, by `vmap` with the axis's name, whose parts have very different means."""
    layer = BatchNorm()
    x = jax.random.normal(INIT_KEY, (5, 4, 3)) + 10 * jnp.arange(5.0)[:, None, None]
    variables = layer.init(INIT_KEY, x[0], False)

    def train(x):
        return layer.apply(variables, x, True, mutable=["batch_stats"])

    out, updated = train(x.reshape(20, 3))
    parts, updated_parts = jax.vmap(train, axis_name=axis.NAME)(x)
    np.testing.assert_allclose(parts.reshape(20, 3), out, rtol=1e-5, atol=1e-5)
    for name, value in updated["batch_stats"].items():
        for part in updated_parts["batch_stats"][name]:
            np.testing.assert_allclose(part, value, rtol=1e-5)


def test_batch_norm_adds_epsilon_to_the_variance():
    """Where a channel hardly varies: 1 / sqrt(v + eps) and 1 / (sqrt(v) + eps) differ by far."""
    layer = BatchNorm()
    variables = layer.init(INIT_KEY, jnp.ones((1, 1)), False)
    variables["batch_stats"]["var"] = jnp.full(1, 1e-5)
    variables["params"] = {"scale": jnp.full(1, 3.0), "bias": jnp.full(1, -1.0)}
    out = layer.apply(variables, jnp.full((1, 1), 0.01), False)
    np.testing.assert_allclose(out, 3 * 0.01 / np.sqrt(2e-5) - 1, rtol=1e-5)


# Dropout


def dropout_keys(n: int, step: int = 0) -> jax.Array:
    return noise.example_keys(noise.stream(KEY, "dropout"), step, jnp.arange(n))


@pytest.mark.parametrize("rate", [0.2, 0.75])
def test_dropout_keeps_the_rate_and_the_mean(rate):
    x = jnp.ones((100, 20, 20))
    out = np.asarray(Dropout(rate).apply({}, x, dropout_keys(100)))
    kept = out != 0
    np.testing.assert_allclose(out[kept], 1 / (1 - rate), rtol=1e-6)
    # Binomial: the kept fraction deviates by sqrt(r (1 - r) / n), the mean by that / (1 - r).
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    assert abs(out.mean() - 1) < 5 * deviation / (1 - rate)


def test_dropout_without_keys_is_the_identity():
    x = jax.random.normal(INIT_KEY, (5, 30))
    np.testing.assert_array_equal(Dropout(0.5).apply({}, x, None), x)
    np.testing.assert_array_equal(Dropout(0.0).apply({}, x, dropout_keys(5)), x)


@pytest.fixture(scope="module")
def dropped():
    """A VAE with dropout 0.5 after four layers of 64 sigmoids, which are never 0 by themselves."""
    model = Model(hidden_dims=(64, 64), latent_dim=2, dropout=0.5, activation="sigmoid").build(
        Info((3, 3, 1))
    )
    x = jax.random.uniform(INIT_KEY, (16, 3, 3, 1))
    variables = model.init(INIT_KEY, batch(x))

    def is_dropout(module: nn.Module, method: str) -> bool:
        return isinstance(module, Dropout)

    @jax.jit
    def apply(x, index, step=0):
        """The codes are the means, so that dropout alone is random."""
        own = Given(KEY, step, index, eps=jnp.zeros((len(index), 2)))
        examples = batch(x, own=own)
        return model.apply(
            variables, examples, train=True, mutable=True, capture_intermediates=is_dropout
        )

    return model, variables, x, apply


INDEX = jnp.arange(16)


def masks(intermediates) -> list[np.ndarray]:
    leaves = jax.tree.leaves(intermediates["intermediates"])
    return [np.asarray(leaf) != 0 for leaf in leaves]


def test_masks_differ_between_layers_examples_and_steps(dropped):
    *_, x, apply = dropped
    layers = masks(apply(x, INDEX)[1])
    assert len(layers) == 4
    layers += masks(apply(x, INDEX, step=1)[1])
    flat = np.stack([layer.ravel() for layer in layers])  # 8 masks of 1024 entries
    flat = np.concatenate([flat, layers[0][[1, 0, *range(2, 16)]].reshape(1, -1)])
    agreement = (flat[:, None] == flat[None]).mean(axis=-1)
    # Independent fair masks agree on half of 1024 entries, deviation 1/64; the last one is the
    # first with two examples exchanged, so it agrees on the other 14 and on half of those two.
    independent = agreement[:8, :8][~np.eye(8, dtype=bool)]
    assert np.abs(independent - 0.5).max() < 5 / 64
    assert abs(agreement[8, 0] - 15 / 16) < 5 / 64 / 2


def test_masks_are_those_of_the_stream_dropout(dropped):
    """Of no other draw of the batch, which may be drawn anew while the masks stay."""
    *_, x, apply = dropped
    found = masks(apply(x, INDEX, step=3)[1])
    paths = [f"{side}/Hidden_{i}/Dropout_0" for side in ("decoder", "encoder") for i in (0, 1)]
    for mask, path in zip(found, paths, strict=True):
        np.testing.assert_array_equal(mask, keep_mask(dropout_keys(16, 3), path, (64,), 0.5))


def test_masks_belong_to_examples_whatever_the_layout_of_the_batch(dropped):
    *_, x, apply = dropped
    permuted = np.random.default_rng(0).permutation(16)
    output, inner = apply(x, INDEX)
    moved, moved_inner = apply(x[permuted], INDEX[permuted])
    for mask, moved_mask in zip(masks(inner), masks(moved_inner), strict=True):
        np.testing.assert_array_equal(moved_mask, mask[permuted])
    # Matrix products of the same rows at other places: sums of 64 terms may be ordered anew.
    np.testing.assert_allclose(moved.decoded, output.decoded[permuted], rtol=1e-5, atol=1e-6)


def test_without_noise_and_without_training_nothing_is_dropped(dropped):
    model, variables, x, apply = dropped
    plain = model.apply(variables, batch(x)).decoded
    np.testing.assert_array_equal(plain, model.apply(variables, batch(x), train=True).decoded)
    drawn = model.apply(variables, batch(x, jnp.zeros((16, 2))))  # as in evaluation
    np.testing.assert_array_equal(plain, drawn.decoded)
    assert (np.asarray(apply(x, INDEX)[0].decoded) != plain).all()
