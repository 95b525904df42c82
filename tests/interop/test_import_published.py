"""Published PyTorch models, imported by a file of theirs: the same numbers, the same file back."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from jaxvae import Optimizer, runs
from jaxvae.interop import files
from jaxvae.interop.published import PUBLISHED
from jaxvae.models import decoder_mean
from jaxvae.training.load import load
from tests.given import batch
from tests.interop.bits import assert_same_bits
from torch_parity.experiments import EXPERIMENTS

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae.interop.convert import export_torch, import_torch  # noqa: E402
from torch_parity import published  # noqa: E402

pytestmark = pytest.mark.numeric


def randomize(model):
    """Every weight and statistic away from its initial value; small, so that nothing saturates."""
    generator = torch.Generator().manual_seed(0)
    for key, tensor in model.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.fill_(123)
        elif key.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        else:
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 10
            tensor.normal_(0, fan_in**-0.5, generator=generator)
    return model.eval()


class Case(NamedTuple):
    """A published model, the experiment it is imported as, and how to compare the two."""

    model: Callable[[], Any]
    experiment: str
    stored_shape: tuple[int, int, int] = (28, 28, 1)
    outputs: Callable[[Any], tuple] = lambda output: output[:3]
    """Pixels and, of a VAE, mean and logvar among what the model returns."""
    flat: bool = False
    """It takes flat images."""


def ethanluoyc_outputs(output):
    p, q = output
    return p.mean, q.mean, 2 * torch.log(q.stddev)


def burgess_outputs(output):
    return output[0], *output[1]


# By the name of the map.
KINDS = ("pytorch_examples", "antixk")  # dense, and convolutions with BatchNorm
CASES = {
    "pytorch_examples": Case(published.PytorchExamplesVAE, "pytorch_examples_vae"),
    "jackson_kang": Case(published.JacksonKangVAE, "published/jackson_kang", flat=True),
    "ethanluoyc": Case(
        published.EthanluoycVAE, "published/ethanluoyc", outputs=ethanluoyc_outputs, flat=True
    ),
    "pythae_mlp_vae": Case(published.pythae_mlp_vae, "published/pythae_vae"),
    "pythae_mlp_ae": Case(
        published.pythae_mlp_ae, "published/pythae_ae", outputs=lambda output: output[:1]
    ),
    "pythae_conv_vae": Case(published.pythae_conv_vae, "published/pythae_conv_vae"),
    "pythae_conv_ae": Case(
        published.pythae_conv_ae, "published/pythae_conv_ae", outputs=lambda output: output[:1]
    ),
    "antixk": Case(
        published.AntixkVAE,
        "published/antixk_vae",
        (64, 64, 3),
        lambda output: (output[0], *output[2:]),
    ),
    "burgess_32": Case(published.BurgessVAE, "published/burgess_vae", (32, 32, 1), burgess_outputs),
    "burgess_64": Case(
        lambda: published.BurgessVAE((3, 64, 64)),
        "published/burgess_vae",
        (64, 64, 3),
        burgess_outputs,
    ),
}


def experiment_of(name):
    """The experiment of a case, with an optimizer that needs no memory of its own."""
    experiment = runs.load_experiment(EXPERIMENTS / f"{CASES[name].experiment}.py")
    if name == "burgess_64":
        data = replace(experiment.data, resize=(64, 64))
        experiment = replace(
            experiment, data=data, model=replace(experiment.model, hidden_dims=(32,) * 4)
        )
    return replace(experiment, optimizer=Optimizer("sgd"))


@pytest.fixture
def folder(tmp_path):
    """A folder that does not stay: some models have 100 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in KINDS else pytest.mark.slow) for n in CASES]
)
def test_published_models(name, folder, monkeypatch):
    """The map is found by the keys; both compute the same; the file comes back bit for bit."""
    case = CASES[name]
    theirs = randomize(case.model())
    torch.save({"state_dict": theirs.state_dict()}, folder / "model.pt")
    made = import_torch(
        folder / "model.pt", experiment_of(name), folder / "run", stored_shape=case.stored_shape
    )
    assert made["map"] == name
    assert made["parameters"] == sum(p.numel() for p in theirs.parameters())

    trained, step = load(folder / "run")
    assert step == 0
    rng = np.random.default_rng(0)
    x = rng.random((2, *case.stored_shape))
    eps = rng.standard_normal((2, trained.experiment.model.latent_dim))
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trained.variables.model)
        # In eval mode Burgess's model decodes the mean, the others a sample.
        examples = batch(x, None if name.startswith("burgess") else eps)
        ours = jax.jit(trained.model.apply)(double, examples)
        pixels = decoder_mean(ours.decoded, trained.experiment.model.output)
        values = [np.moveaxis(np.asarray(pixels), -1, 1)]
        values += [ours.aux[name] for name in ("mean", "logvar") if name in ours.aux]
    monkeypatch.setattr(torch, "randn_like", lambda _: torch.tensor(eps))
    images = torch.tensor(np.moveaxis(x, -1, 1).copy())
    with torch.no_grad():
        output = theirs.double()(images.flatten(1) if case.flat else images)
    for mine, other in zip(values, case.outputs(output), strict=False):
        # Double precision, sums of at most some 10^4 products, six layers deep.
        other = other.numpy()
        np.testing.assert_allclose(
            np.asarray(mine).reshape(other.shape), other, rtol=0, atol=1e-10 * abs(other).max()
        )
        assert np.ptp(other) > 1e-3  # no comparison of constants

    export_torch(folder / "run", folder / "back.safetensors")
    before, _ = files.read(folder / "model.pt")
    after, _ = files.read(folder / "back.safetensors")
    assert_same_bits(after, before)


def test_every_published_map_and_experiment_is_here():
    assert CASES.keys() == PUBLISHED.keys()
    written = {path.stem for path in (EXPERIMENTS / "published").glob("*.py")}
    assert {Path(case.experiment).stem for case in CASES.values()} == written | {
        "pytorch_examples_vae"
    }
