"""Random architectures and their PyTorch twins: values, all gradients, statistics, evaluation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from jaxvae import Experiment, Model
from jaxvae.build import build
from jaxvae.checks import UsageError
from jaxvae.conventions import conventions, with_convention
from jaxvae.info import Info

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop.maps import reference_map  # noqa: E402
from torch_parity.comparison import compare  # noqa: E402
from torch_parity.losses import LOSSES  # noqa: E402
from torch_parity.reference import twin  # noqa: E402
from torch_parity.report import away_from_kinks, perturbed  # noqa: E402
from torch_parity.values import Counterpart  # noqa: E402

pytestmark = pytest.mark.numeric

# Each example compiles two programs, so there are few of them.
few = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),  # to shrink one would compile hundreds
)

ACTIVATIONS = ["relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid"]
KL_FREE = ["pythae_ae"]


@st.composite
def images(draw):
    shape = draw(st.tuples(st.integers(5, 12), st.integers(5, 12), st.integers(1, 3)))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    return rng.integers(0, 256, (draw(st.integers(2, 5)), *shape), np.uint8)


@st.composite
def layers(draw):
    activation = draw(st.sampled_from(ACTIVATIONS))
    return {
        "activation": activation,
        "negative_slope": 0.2 if activation == "leaky_relu" else 0.01,
        "batch_norm": draw(st.booleans()),
        "dropout": draw(st.sampled_from([0.0, 0.4])),
        "latent_dim": draw(st.integers(1, 4)),
    }


widths = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(lambda numbers: tuple(numbers))

expansions = st.sampled_from([None, "linear", "activation", "hidden"])


@st.composite
def dense_models(draw):
    family = draw(st.sampled_from(["AE", "VAE"]))
    return Model(
        family=family,
        hidden_dims=draw(widths),
        decoder_dims=draw(st.none() | widths),
        code_activation=family == "AE" and draw(st.booleans()),
        **draw(layers()),
    )


@st.composite
def conv_models(draw):
    family = draw(st.sampled_from(["AE", "CAE", "VAE"]))
    dims, kernel_size = draw(widths), draw(st.integers(1, 5))
    own_decoder = {}
    if family != "CAE" and draw(st.booleans()):
        decoder_dims = draw(widths)
        strides = st.lists(
            st.integers(1, 2), min_size=len(decoder_dims), max_size=len(decoder_dims)
        )
        own_decoder = {
            "decoder_dims": decoder_dims,
            "decoder_strides": tuple(draw(strides)),
            "decoder_kernel_size": draw(st.integers(2, 4)),
        }
    smallest = min(kernel_size, own_decoder.get("decoder_kernel_size", kernel_size))
    strides = st.lists(st.integers(1, 3), min_size=len(dims), max_size=len(dims))
    return Model(
        family=family,
        network="conv",
        hidden_dims=dims,
        kernel_size=kernel_size,
        strides=tuple(draw(strides)),
        padding=draw(st.integers(0, smallest - 1)),
        dense_dims=() if family == "CAE" else draw(st.just(()) | widths),
        expansion=None if family == "CAE" else draw(expansions),
        **own_decoder,
        **draw(layers()),
    )


def check(model: Model, batch: np.ndarray, convention: str, dtype: str = "float64") -> None:
    height, width, channels = batch.shape[1:]
    try:
        module = build(model, Info((height, width, channels)))
    except UsageError:
        assume(False)  # too small for these strides
    experiment = with_convention(Experiment("random", model=model), convention)
    model = experiment.model
    module = build(model, Info((height, width, channels)))
    torch_model = perturbed(twin(model, (channels, height, width)))
    if dtype == "float32":  # in float64 the chance that an input is within rounding is some 1e-10
        weight_map = reference_map(model, (height, width, channels))
        counterpart = Counterpart(torch_model, weight_map, LOSSES[convention])
        torch_model = away_from_kinks(counterpart, batch, experiment, dtype)
    result = compare(
        module,
        torch_model,
        reference_map(model, (height, width, channels)),
        batch,
        experiment=experiment,
        loss=LOSSES[convention],
        dtype=dtype,
    )
    assert result.passed, str(result)
    quantities = {d.quantity for d in result.differences}
    assert {"pixels", "recon", "loss", "gradient", "evaluation"} <= quantities
    assert ("running statistics" in quantities) == model.batch_norm


with_kl = st.sampled_from([name for name in conventions if name not in KL_FREE])


@pytest.mark.slow
@pytest.mark.ci
@few
@given(dense_models(), images(), with_kl)
def test_dense(model, batch, convention):
    check(model, batch, convention if model.family == "VAE" else "pythae_ae")


@pytest.mark.slow
@pytest.mark.ci
@few
@given(conv_models(), images(), with_kl)
def test_convolutional(model, batch, convention):
    check(model, batch, convention if model.family == "VAE" else "pythae_ae")


@pytest.mark.slow
@pytest.mark.ci
def test_float32():
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (4, 9, 8, 2), np.uint8)
    dense = Model(hidden_dims=(12, 8), latent_dim=3, batch_norm=True, dropout=0.3)
    check(dense, batch, "flax", "float32")
    conv = Model(
        network="conv", hidden_dims=(5, 4), latent_dim=3, dense_dims=(6,), expansion="activation"
    )
    check(conv, batch, "antixk_train", "float32")
    check(replace(conv, family="CAE", dense_dims=(), expansion=None), batch, "pythae_ae", "float32")
