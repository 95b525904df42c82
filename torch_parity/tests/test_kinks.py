"""Kinks of activations: how near inputs come, whose sides they are on, and what that explains."""

from dataclasses import replace

import numpy as np
import pytest

from jaxvae import Experiment, Model, Objective
from jaxvae.build import build
from jaxvae.info import Info

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from jaxvae.interop.maps import dense, reference_map  # noqa: E402
from torch_parity import kinks  # noqa: E402
from torch_parity.comparison import compare, differences_of  # noqa: E402
from torch_parity.losses import LOSSES  # noqa: E402
from torch_parity.reference import twin  # noqa: E402
from torch_parity.report import away_from_kinks, perturbed  # noqa: E402
from torch_parity.values import Counterpart, exactly, torch_values  # noqa: E402

pytestmark = pytest.mark.numeric

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
MODEL = Model(network="conv", hidden_dims=(5, 4), latent_dim=3, activation="leaky_relu")
EXPERIMENT = Experiment("kinks", model=MODEL)
LOSS = LOSSES["flax"]


def counterpart(settings: Model = MODEL) -> Counterpart:
    torch.manual_seed(0)
    model = perturbed(twin(settings, (1, 8, 8))).double()
    return Counterpart(model, reference_map(settings, (8, 8, 1)), LOSS)


def across(inputs, count):
    """The inputs, but in the first layer the `count` nearest to the kink are beyond it."""
    changed = [x.copy() for x in inputs]
    nearest = np.argsort(np.abs(inputs[0]), axis=None)[:count]
    changed[0].reshape(-1)[nearest] *= -1
    return changed


def in_our_layout(inputs):
    return [np.moveaxis(x, 1, -1) if x.ndim == 4 else x for x in inputs]


@pytest.mark.parametrize("count", [1, 3])
def test_gradients_that_differ_by_flips_alone_are_told_apart_and_counted(count):
    """Whoever sees some inputs on the other side has another gradient, which is never equal."""
    c = counterpart()
    with exactly("float64"):
        truth = torch_values(c, IMAGES, EXPERIMENT)

        def of_truth(sides):
            return torch_values(c, IMAGES, EXPERIMENT, sides)

        def row_of(ours, theirs=None):
            found = differences_of(ours, theirs, truth, of_truth, c.weight_map, 1e-10)
            return {d.quantity: d for d in found}["gradient"]

        inputs = across(truth.kinks, count)
        flipped = of_truth([x > 0 for x in inputs])._replace(kinks=inputs)
        ours = flipped._replace(kinks=in_our_layout(inputs))
        row = row_of(ours)
        assert not row.equal and row.kinks == count
        assert f"explained by {count} input" in row.verdict

        equal = truth._replace(kinks=in_our_layout(truth.kinks))
        assert row_of(equal).verdict == "equal"
        row = row_of(equal, theirs=flipped)
        assert row.equal and row.their_kinks == count
        assert "PyTorch is off" in row.verdict and "explained by" in row.verdict

        # Anything else that is wrong is not explained away.
        gradient = dict(flipped.quantities["gradient"])
        gradient["mean.bias"] = 1.01 * gradient["mean.bias"]
        row = row_of(ours._replace(quantities=flipped.quantities | {"gradient": gradient}))
        assert not row.equal and row.kinks == 0 and "explained" not in row.verdict
        # Nor a model of one's own that does not tell what its activations see.
        row = row_of(flipped._replace(kinks=[]))
        assert not row.equal and row.kinks == 0


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "settings",
    [
        MODEL,
        pytest.param(
            Model(hidden_dims=(12, 8), latent_dim=3, batch_norm=True, dropout=0.3),
            marks=pytest.mark.slow,
        ),
        Model(
            family="AE",
            network="conv",
            hidden_dims=(4,),
            dense_dims=(7,),
            latent_dim=3,
            code_activation=True,
            output="relu",
        ),
    ],
)
def test_biases_are_moved_until_no_kink_is_near(settings, dtype):
    """The errors of float32 are measured, and no input comes within twice its error of a kink."""
    logits = settings.output == "logits"
    objective, loss = (Objective(), LOSS) if logits else (Objective("mse"), LOSSES["pythae_ae"])
    experiment = Experiment("moved", model=settings, objective=objective)
    c = counterpart(settings)._replace(loss=loss)
    before = {name: value.clone() for name, value in c.model.state_dict().items()}
    moved = away_from_kinks(c, IMAGES, experiment, dtype)
    found = compare(
        build(settings, Info((8, 8, 1))),
        moved,
        c.weight_map,
        IMAGES,
        experiment=experiment,
        loss=loss,
        dtype=dtype,
    )
    assert found.passed, str(found)
    row = next(d for d in found.differences if d.quantity == "kinks")
    # Of some 10^3 inputs a channel, the widest of the gaps near 0 is about a hundredth of their
    # deviation; float32 is off by a few 1e-7 of it, BatchNorm and dropout included.
    assert row.relative < (1e-3 if dtype == "float32" else 1e-11)
    for name, value in moved.state_dict().items():
        if not name.endswith("bias"):  # nothing else was moved
            torch.testing.assert_close(value.double(), before[name].double(), rtol=1e-6, atol=0)
        elif value.is_floating_point():
            assert torch.isfinite(value).all()


def test_a_bias_goes_to_the_middle_of_the_widest_gap():
    values = np.array([-2.0, -0.05, 0.01, 0.02, 0.14, 2.0])
    width = kinks.WINDOW * values.std()
    assert (
        0.14 > width > 0.1
    )  # 0.14 is out of reach; the widest gap is from 0.02 to the window's end
    np.testing.assert_allclose(kinks._shift(values), -(0.02 + width) / 2, rtol=1e-15)
    assert kinks._shift(np.array([5.0, -5.0])) == 0  # nothing is near
    assert np.isfinite(kinks._shift(np.zeros(3)))


def test_nearness_is_error_over_distance():
    truth = [np.array([1.0, -2.0]), np.array([[0.0, 4.0]])]
    assert kinks.nearness(truth, truth) == (0.0, "")
    ours = [np.array([1.0, -1.5]), np.array([[0.0, 5.0]])]
    assert kinks.nearness(ours, truth) == (0.25, "kink 0[1]")
    assert kinks.nearness([ours[0], np.array([[1e-300, 4.0]])], truth)[0] == np.inf
    assert kinks.flips(ours, truth) == 0
    assert kinks.flips([-truth[0], truth[1]], truth) == 2


def changed(x, function):
    y = x.clone()
    function(y, inplace=True)
    return y


def functions(slope):
    return {
        "torch.relu": (torch.relu, 0.0),
        "F.relu": (F.relu, 0.0),
        "F.relu, in place": (lambda x: F.relu(x.clone(), inplace=True), 0.0),
        "F.relu, in place and its result unused": (lambda x: changed(x, F.relu), 0.0),
        "Tensor.relu_": (lambda x: x.clone().relu_(), 0.0),
        "Tensor.relu": (lambda x: x.relu(), 0.0),
        "nn.ReLU": (nn.ReLU(), 0.0),
        "nn.LeakyReLU": (nn.LeakyReLU(slope), slope),
        "F.leaky_relu": (lambda x: F.leaky_relu(x, slope), slope),
        "F.leaky_relu, named": (lambda x: F.leaky_relu(input=x, negative_slope=slope), slope),
        "abs": (lambda x: abs(x), -1.0),
        "torch.abs": (torch.abs, -1.0),
    }


@pytest.mark.parametrize("name", functions(0.2))
def test_every_way_to_write_a_kink_is_seen_once(name):
    function, slope = functions(0.2)[name]
    x = torch.tensor([-2.0, 3.0], requires_grad=True)
    with kinks.Kinks() as mode:
        function(x)
    assert [list(a) for a in mode.inputs] == [[-2.0, 3.0]]
    with kinks.Kinks([np.array([True, False])]) as mode:
        y = function(x)
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([-2.0, 3.0 * slope]))
    torch.testing.assert_close(x.grad, torch.tensor([1.0, slope]))


def test_smooth_activations_have_no_kink():
    with kinks.Kinks() as mode:
        for function in (nn.ELU(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.Softplus()):
            function(torch.zeros(3))
    assert mode.inputs == []


def test_our_inputs_in_the_layout_of_pytorchs():
    """NHWC and NCHW, flattened feature maps in either order, and activations without a kink."""
    rng = np.random.default_rng(0)
    maps, rows, smooth = rng.random((2, 3, 4, 5)), rng.random((2, 6)), rng.random((2, 6))
    theirs = [np.moveaxis(maps, -1, 1), rows, np.moveaxis(maps, -1, 1).reshape(2, -1)]
    ours = [maps, smooth, rows + 1e-5, maps.reshape(2, -1)]
    weight_map = {"expand": dense("decoder/Dense_0", flat_out=(5, 3, 4))}
    found = kinks.like(ours, theirs, weight_map)
    assert found is not None
    for a, b in zip(found, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert kinks.like(ours[:2], theirs, weight_map) is None
    assert kinks.like(ours[:3], [theirs[1], theirs[0]], weight_map) is None  # in another order


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_at_0_itself_both_take_the_slope_from_below(activation):
    """Behind a black image and a bias that starts at 0, an input is exactly 0: that is no luck."""
    settings = replace(MODEL, activation=activation)
    c = counterpart(settings)
    with torch.no_grad():
        for name, value in c.model.named_parameters():
            if name.endswith("bias"):
                value.zero_()
    images = IMAGES.copy()
    images[:, :5] = 0
    found = compare(
        build(settings, Info((8, 8, 1))),
        c.model,
        c.weight_map,
        images,
        experiment=replace(EXPERIMENT, model=settings),
        loss=LOSS,
    )
    assert found.passed, str(found)
    with exactly("float64"):
        values = torch_values(c, images, EXPERIMENT)
    assert (values.kinks[0] == 0).any()


def test_a_laplace_likelihood_has_its_kink_where_pixels_are_equal():
    settings = replace(MODEL, output="sigmoid")
    experiment = Experiment("laplace", model=settings, objective=Objective("laplace"))

    def loss(pixels, mean, logvar, x):
        kl = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(1)
        nll = (torch.abs(x - pixels) + np.log(2)).flatten(1).sum(1)
        return (nll + kl).mean()

    c = counterpart(settings)
    found = compare(
        build(settings, Info((8, 8, 1))),
        c.model,
        c.weight_map,
        IMAGES,
        experiment=experiment,
        loss=loss,
    )
    assert found.passed and "kinks" in {d.quantity for d in found.differences}, str(found)
