"""Signals: the operations, the reference models and their weights, against PyTorch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.conventions import conventions
from jaxvae.info import Info
from jaxvae.interop.convert import export_torch, import_torch
from jaxvae.models.convolution import conv, conv_transpose

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop import files  # noqa: E402
from jaxvae.interop.maps import reference_map  # noqa: E402
from jaxvae.training.load import load  # noqa: E402
from torch_parity.comparison import compare  # noqa: E402
from torch_parity.losses import LOSSES  # noqa: E402
from torch_parity.reference import twin  # noqa: E402
from torch_parity.report import perturbed  # noqa: E402

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(("k", "s", "p", "extra"), [(3, 2, 1, 1), (4, 3, 0, 2), (5, 1, 2, 0)])
def test_operations_are_those_of_torch(k, s, p, extra):
    """Values and gradients; sums of some 100 products of order 1 are within 1e-12."""
    rng = np.random.default_rng(k)
    x = rng.normal(size=(2, 14, 3))
    down, up = rng.normal(size=(4, 3, k)), rng.normal(size=(3, 4, k))  # as PyTorch has them
    functional = torch.nn.functional
    cases = [
        (
            lambda x, w: conv(x, w, s, p),
            lambda x, w: functional.conv1d(x, w, None, s, p),
            (down, (2, 1, 0)),
        ),
        (
            lambda x, w: conv_transpose(x, w, s, p, (extra,)),
            lambda x, w: functional.conv_transpose1d(x, w, None, s, p, extra),
            (up, (2, 0, 1)),
        ),
    ]
    for ours, theirs, (weight, axes) in cases:
        their_x = torch.tensor(x).movedim(-1, 1).requires_grad_()
        their_weight = torch.tensor(weight, requires_grad=True)
        expected = theirs(their_x, their_weight)
        g = rng.normal(size=expected.shape)
        expected.backward(torch.tensor(g))

        def value_and_gradients(x, kernel, g, ours=ours):
            out, pullback = jax.vjp(ours, x, kernel)
            return out, *pullback(g)

        with jax.enable_x64(True):
            quickly = {"xla_backend_optimization_level": 0}
            compiled = jax.jit(value_and_gradients, compiler_options=quickly)
            out, dx, dkernel = compiled(x, weight.transpose(axes), np.moveaxis(g, 1, -1))
            assert out.dtype == jnp.float64
        found = [np.moveaxis(out, -1, 1), np.moveaxis(dx, -1, 1)]
        found += [np.asarray(dkernel).transpose(np.argsort(axes))]
        wanted = [expected.detach(), their_x.grad, their_weight.grad]
        for a, b in zip(found, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


MODELS = [
    Model("CAE", "conv", (3, 4), strides=(2, 3), output="linear", batch_norm=True, dropout=0.3),
    pytest.param(
        Model(
            "VAE",
            "conv",
            (3, 4),
            decoder_dims=(5, 2),
            decoder_strides=(1, 2),
            dense_dims=(6,),
            latent_dim=2,
            kernel_size=4,
            output="linear",
            batch_norm=True,
            dropout=0.3,
        ),
        marks=[pytest.mark.slow, pytest.mark.ci],
    ),
]


@pytest.mark.parametrize("model", MODELS)
def test_models_of_signals_equal_their_twins(model):
    """Values, every gradient, statistics, evaluation, with BatchNorm and dropout."""
    batch = np.random.default_rng(0).normal(size=(5, 17, 2)).astype(np.float32)
    convention = "pythae_vae" if model.family == "VAE" else "pythae_ae"
    experiment = Experiment("signals", model=model, objective=conventions[convention])
    result = compare(
        model.build(Info((17, 2), maximum=None)),
        perturbed(twin(model, (2, 17))),
        reference_map(model, (17, 2)),
        batch,
        experiment=experiment,
        loss=LOSSES[convention],
        inputs=lambda signals: signals,
    )
    assert result.passed, str(result)
    quantities = {d.quantity for d in result.differences}
    assert {"pixels", "gradient", "running statistics", "evaluation", "kinks"} <= quantities


def test_weights_go_to_a_run_and_back(tmp_path):
    values = np.random.default_rng(0).normal(size=(40, 17, 2)).astype(np.float32)
    np.savez(tmp_path / "signals.npz", values=values)
    model = Model("VAE", "conv", (3, 4), latent_dim=2, output="linear")
    experiment = Experiment(
        "signals",
        data=Data(str(tmp_path / "signals.npz"), batch_size=4),
        model=model,
        objective=Objective("gaussian"),
    )
    theirs = perturbed(twin(model, (2, 17)))
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    made = import_torch(tmp_path / "model.pth", experiment, tmp_path / "run")
    assert made["map"] == "reference"
    assert load(tmp_path / "run")[0].stored_shape == (17, 2)
    export_torch(tmp_path / "run", tmp_path / "back.pth")
    before, after = (files.read(tmp_path / name)[0] for name in ("model.pth", "back.pth"))
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name], err_msg=name)
