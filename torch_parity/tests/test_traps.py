"""The traps of PyTorch parity, one named test each: ours is equal, and falling into it is noticed.

A mutant is the PyTorch side with one thing altered; it must fail in the quantities named with it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model
from jaxvae.build import build
from jaxvae.info import Info
from jaxvae.objectives import bernoulli_nll
from jaxvae.training.state import dummy

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from jaxvae.interop.maps import heads, reference_map  # noqa: E402
from jaxvae.interop.weights import to_flax, to_torch  # noqa: E402
from torch_parity.comparison import compare  # noqa: E402
from torch_parity.losses import LOSSES  # noqa: E402
from torch_parity.reference import twin  # noqa: E402
from torch_parity.tests.mutants import (  # noqa: E402
    CONVENTION,
    IMAGES,
    MODELS,
    experiment_of,
    failed,
    original,
)
from torch_parity.values import exactly  # noqa: E402

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("name", MODELS)
def test_without_a_mutation_nothing_differs(name):
    assert failed(name) == set()


def test_a_single_weight():
    def mutate(model):
        with torch.no_grad():
            model.encoder.dense_1.weight[3, 5] += 1e-6

    assert {"mean", "logvar", "gradient"} <= failed("dense", mutate)


def test_a_swapped_mean_and_logvar():
    def mutate(model):
        model.mean, model.logvar = model.logvar, model.mean

    assert {"mean", "logvar", "kl"} <= failed("dense", mutate)


class Shifted(nn.Module):
    """What a transposed convolution with 'SAME' padding gives: the right shape, one pixel off."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return torch.roll(self.layer(x), (-1, -1), (2, 3))


def test_trap_1_transposed_convolution():
    def same_padding(model):
        model.decoder.conv_0 = Shifted(model.decoder.conv_0)

    def flipped_kernel(model):
        with torch.no_grad():
            model.decoder.conv_0.weight.copy_(model.decoder.conv_0.weight.flip(2, 3))

    def output_padding(model):
        model.decoder.conv_1.output_padding = (0, 0)
        model.decoder.output_0 = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Sigmoid())

    for mutate in (same_padding, flipped_kernel, output_padding):
        found = failed("conv", mutate)
        assert "pixels" in found and "mean" not in found


def test_trap_2_flatten_order():
    """Without the converter's permutation, a dense layer sees its features in another order."""

    def channels_last(model, x):
        h = model.encoder(x).permute(0, 2, 3, 1).flatten(1)
        mean, logvar = model.mean(h), model.logvar(h)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        return model.decoder(z), mean, logvar

    assert "mean" in failed("conv", forward=channels_last)


def test_trap_3_symmetric_padding():
    """'SAME' with stride 2 pads an even size at its end only."""

    def same_padding(model):
        model.encoder.conv_0.padding = (0, 0)
        model.encoder.conv_0 = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), model.encoder.conv_0)

    assert "mean" in failed("conv", same_padding)


def test_trap_4_batch_norm():
    def norms(model):
        return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d)]

    def momentum(model):
        norms(model)[1].momentum = 0.01  # what Flax's default would be

    def epsilon(model):
        norms(model)[0].eps = 1e-3

    def biased_variance(model):
        before = 0.9 * model.encoder.norm_0.running_var.clone()

        def undo(layer, args, output):
            if layer.training:
                n = len(IMAGES)
                layer.running_var = before + (layer.running_var - before) * (n - 1) / n

        model.encoder.norm_0.register_forward_hook(undo)

    def swapped_statistics(model):
        norm = model.encoder.norm_0
        norm.running_mean, norm.running_var = norm.running_var, norm.running_mean

    assert failed("dense", momentum) == {"running statistics", "evaluation"}
    assert {"pixels", "gradient"} <= failed("dense", epsilon)
    assert failed("dense", biased_variance) == {"running statistics", "evaluation"}
    assert "running statistics" in failed("dense", swapped_statistics)


def test_trap_5_cross_entropy_of_probabilities():
    """PyTorch clamps each logarithm at -100; from logits the loss has no bound and no NaN."""
    logits = jnp.array([[-150.0], [150.0]])
    x = jnp.array([[1.0], [0.0]])
    np.testing.assert_allclose(bernoulli_nll(logits, x), [150, 150], rtol=1e-6)
    clamped = F.binary_cross_entropy(
        torch.sigmoid(torch.tensor([[-150.0], [150.0]])),
        torch.tensor([[1.0], [0.0]]),
        reduction="none",
    )
    np.testing.assert_allclose(clamped.numpy()[:, 0], [100, 100], rtol=1e-6)
    assert np.isfinite(jax.grad(lambda logits: bernoulli_nll(logits, x).sum())(logits)).all()


def test_trap_6_initialisation():
    """Weights are copied for parity; `init="torch"` draws them from PyTorch's distribution."""
    settings = Model(network="conv", hidden_dims=(32, 64), latent_dim=50, init="torch")
    info = Info((28, 28, 1))
    variables = jax.jit(build(settings, info).init)(jax.random.key(0), dummy(info))
    ours = to_torch(variables, reference_map(settings, (28, 28, 1)))
    theirs = twin(settings, (1, 28, 28)).state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        a, b = ours[name], value.numpy()
        if a.size < 500:
            continue  # too few to tell two uniform distributions apart
        # A uniform sample of n entries reaches its bound to within some 10 / n of it, and its
        # deviation scatters by 0.45 / sqrt(n).
        bound = max(abs(a).max(), abs(b).max())
        assert min(abs(a).max(), abs(b).max()) > bound * (1 - 20 / a.size)
        np.testing.assert_allclose(a.std(), b.std(), rtol=5 * 0.45 * 2**0.5 / a.size**0.5)


def test_trap_7_leaky_relu():
    def slope(model):
        model.encoder.activation_0.negative_slope = 0.2

    assert {"mean", "pixels"} <= failed("dense", slope)


def test_trap_8_precision():
    """GPUs multiply float32 in TF32 unless told; a comparison tells them."""
    with exactly("float32"):
        product = jax.make_jaxpr(lambda x: x @ x)(jnp.ones((2, 2))).eqns[-1]
    assert product.params["precision"] == (jax.lax.Precision.HIGHEST,) * 2


def test_trap_9_noise():
    """Noise of one's own gives another z; so do dropout masks of one's own."""

    def own_noise(model, x):
        h = model.encoder(x)
        mean, logvar = model.mean(h), model.logvar(h)
        eps = torch.tensor(np.random.default_rng(1).standard_normal(mean.shape))
        return model.decoder(mean + torch.exp(0.5 * logvar) * eps), mean, logvar

    def no_rescaling(model):
        rate = model.encoder.dropout_0.p
        model.encoder.dense_1.register_forward_pre_hook(
            lambda layer, args: (args[0] * (1 - rate),) if layer.training else args
        )

    def no_dropout(model):
        model.decoder.dropout_0.p = 0.0

    assert "pixels" in failed("dense", forward=own_noise)
    assert "mean" not in failed("dense", forward=own_noise)
    assert {"mean", "gradient"} <= failed("dense", no_rescaling)
    assert {"pixels", "gradient"} <= failed("dense", no_dropout)


def test_trap_10_equal_values_with_unequal_gradients():
    """Shapes and a loss prove little: here every value is equal."""

    def detached(model, x):
        h = model.encoder(x).flatten(1)
        mean, logvar = model.mean(h), model.logvar(h)
        z = mean + torch.exp(0.5 * logvar.detach()) * torch.randn_like(mean)
        return model.decoder(z), mean, logvar

    assert failed("dense", forward=detached) == {"gradient"}


def test_trap_11_squared_error_with_and_without_its_half():
    def half(pixels, mean, logvar, x):
        return LOSSES[CONVENTION](pixels, mean, logvar, x) - 0.5 * F.mse_loss(pixels, x)

    assert failed("conv", loss=half) == {"loss", "gradient"}


def test_trap_12_interleaved_heads():
    """One head of 2 L outputs, as (2, L) or as (L, 2): the map must say which."""
    model, weight_map, _ = original("dense")
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    ours = to_flax(state, weight_map, template := _template("dense"))
    others = {n: v for n, v in weight_map.items() if n not in ("mean", "logvar")}
    single = {"head": heads()} | others
    interleaved = single | {"head": heads(interleaved=True)}
    halves = {n: v for n, v in state.items() if not n.startswith(("mean.", "logvar."))}
    for part in ("weight", "bias"):
        halves[f"head.{part}"] = np.concatenate([state[f"mean.{part}"], state[f"logvar.{part}"]])
    jax.tree.map(np.testing.assert_array_equal, to_flax(halves, single, template), ours)
    wrong = to_flax(halves, interleaved, template)
    assert (np.asarray(wrong["params"]["mean"]["kernel"]) != ours["params"]["mean"]["kernel"]).any()
    back = to_torch(wrong, interleaved)
    np.testing.assert_array_equal(back["head.weight"], halves["head.weight"])


def _template(name):
    info = Info((10, 8, 3))
    return jax.eval_shape(build(MODELS[name], info).init, jax.random.key(0), dummy(info))


def scaled(factor, pixels, mean, logvar, x):
    return factor * LOSSES[CONVENTION](pixels, mean, logvar, x)


def kl_with(coefficient, pixels, mean, logvar, x):
    kl = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp())
    return F.mse_loss(pixels, x) + 0.1 * coefficient * kl.mean()


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(LOSSES["antixk_train"], id="sum over the latents instead of the mean"),
        pytest.param(partial(scaled, len(IMAGES)), id="sum over the batch instead of the mean"),
        pytest.param(partial(kl_with, -1), id="sign of the kl"),
        pytest.param(partial(kl_with, 2), id="kl without its half"),
        pytest.param(partial(kl_with, 0), id="no kl"),
    ],
)
def test_a_loss_of_another_reduction(loss):
    assert failed("conv", loss=loss) == {"loss", "gradient"}


def test_exp_of_the_whole_logvar():
    def without_half(model, x):
        h = model.encoder(x).flatten(1)
        mean, logvar = model.mean(h), model.logvar(h)
        return model.decoder(mean + torch.exp(logvar) * torch.randn_like(mean)), mean, logvar

    assert {"pixels", "recon", "loss", "gradient"} <= failed("conv", forward=without_half)


def test_inputs_scaled_otherwise():
    experiment = experiment_of("conv")
    result = compare(
        build(experiment.model, Info((10, 8, 3))),
        original("conv")[0],
        original("conv")[1],
        IMAGES,
        experiment=Experiment(
            "trap",
            data=Data(range=(-1, 1)),
            model=experiment.model,
            objective=experiment.objective,
        ),
        loss=LOSSES[CONVENTION],
    )
    assert not result.passed and "inputs" in result.failed
