"""Each variant of ours equals its PyTorch model, in a batch and in a training.

That this can fail is for test_variant_faults.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from jaxvae.runs.names import experiments

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from jaxvae.interop.maps import parameter  # noqa: E402
from jaxvae.interop.weights import to_flax, to_torch  # noqa: E402
from torch_parity.tests.small_variants import (  # noqa: E402
    compile_quickly,  # noqa: F401  # a fixture
    failed,
    small,
    theirs,
)
from torch_parity.values import exactly  # noqa: E402
from torch_parity.variants.compare import (  # noqa: E402
    differences,
    our_training,
    their_training,
)
from torch_parity.variants.recipes import VARIANTS  # noqa: E402

pytestmark = pytest.mark.numeric


ONE_OF_EACH = ("free_bits_vae", "dreg", "factor_vae", "vq_vae", "flow_vae")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in ONE_OF_EACH)) for n in VARIANTS],
)
def test_a_batch(name):
    """`make parity` compares each at its own size."""
    assert failed(name) == set()
    quantities = theirs(name)
    assert {"minimised", "loss", "recon", "kl"} <= quantities["terms"].keys()
    assert {"logits", "decoded"} & quantities["outputs"].keys()
    for parameter_name, gradient in quantities["gradient"].items():
        assert np.abs(gradient).max() > 0, parameter_name
    if name == "vq_vae":
        assert len(np.unique(quantities["outputs"]["indices"])) >= 5  # of 8
        assert quantities["collections"].keys() == {"codes", "sums", "counts"}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("beta_tc_vae", {"estimator": "mss"}),
        ("beta_tc_vae", {"estimator": "plain", "mi_weight": 2.0, "dw_weight": 0.5}),
        ("joint_vae", {"discrete_capacity": 2.0}),
        ("dreg", {"beta": 0.25}),
    ],
)
def test_a_batch_with_other_settings(name, settings):
    """Those that the files and `SMALL` leave out."""
    assert failed(name, **settings) == set()


LONG = [name for name in VARIANTS if name not in ("factor_vae", "vq_vae")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow, *[pytest.mark.ci] * (n not in LONG)])
        for n in VARIANTS
    ],
)
def test_a_training(name):
    """Two optimizers and a moving codebook; what the others have besides is in their gradients."""
    pair = small(name)
    with exactly("float64"):
        ours, theirs = our_training(pair), their_training(pair)
    found = differences(name, ours, theirs)
    assert found.passed, str(found)
    losses = theirs["training losses"]["loss"]
    assert len(losses) == 50 and losses[-10:].mean() < 0.99 * losses[:10].mean()  # it learns


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iwae", "capacity_vae", "factor_vae", "aae"])
def test_a_training_in_parts(name):
    """Batches of 16 in parts of 4: a loss per example, a mean that is held, and two critics."""
    whole = small(name)
    train = replace(whole.experiment.train, sub_batch=4)
    pair = whole._replace(experiment=replace(whole.experiment, train=train))
    with exactly("float64"):
        found = differences(name, our_training(pair), their_training(pair))
    assert found.passed, str(found)


@pytest.mark.slow
@pytest.mark.ci
def test_optimizers_of_other_settings_are_noticed():
    """Adam does not see a factor of a gradient, so gradients are compared too; but its own rate."""
    pair = small("factor_vae")

    def altered(**critic):
        def optimizers(model):
            settings = {"lr": 1e-4, "betas": (0.5, 0.9)} | critic
            return [
                torch.optim.Adam(model.autoencoder_parameters(), lr=1e-3),
                torch.optim.Adam(model.critic_parameters(), **settings),
            ]

        return their_training(pair._replace(variant=pair.variant._replace(optimizers=optimizers)))

    with exactly("float64"):
        ours = our_training(pair)
        assert differences("", ours, altered()).passed
        for critic in ({"lr": 1e-3}, {"betas": (0.9, 0.999)}):
            assert "final weights" in differences("", ours, altered(**critic)).failed


def test_every_variant_has_its_recipe():
    folders = ("published", "jobs", "studies")
    own = [name.rpartition("/") for name in experiments() if "/" in name]
    assert {last for folder, _, last in own if folder not in folders} == VARIANTS.keys()


def test_images_of_a_parameter_are_rows_in_the_order_of_pytorch():
    """(K, height, width, channels) here, (K, channels x height x width) there."""
    ours = {"params": {"u": np.random.default_rng(0).random((2, 4, 5, 3))}}
    weight_map = {"rows": parameter("u", flat_out=(3, 4, 5))}
    rows = to_torch(ours, weight_map)["rows"]
    np.testing.assert_array_equal(rows, np.moveaxis(ours["params"]["u"], -1, 1).reshape(2, -1))
    back = to_flax({"rows": rows}, weight_map, ours)
    np.testing.assert_array_equal(back["params"]["u"], ours["params"]["u"])
