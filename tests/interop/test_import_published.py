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
    """A published model, the experiment it is imported as, and how to compare the two.

    `map` is the name of its map, where the case has another one; `changed` are fields of the
    experiment's model, and `size` is that of its images, where they are not the experiment's.
    """

    model: Callable[[], Any]
    experiment: str
    stored_shape: tuple[int, int, int] = (28, 28, 1)
    outputs: Callable[[Any], tuple] = lambda output: output[:3]
    """Pixels and, of a VAE, mean and logvar among what the model returns."""
    flat: bool = False
    """It takes flat images."""
    map: str | None = None
    changed: dict[str, Any] = {}  # noqa: RUF012  # of a tuple, and nobody changes it
    size: tuple[int, int] | None = None


def ethanluoyc_outputs(output):
    p, q = output
    return p.mean, q.mean, 2 * torch.log(q.stddev)


def burgess_outputs(output):
    return output[0], *output[1]


# By the name of the map.
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
        changed={"hidden_dims": (32,) * 4},
        size=(64, 64),
    ),
    "gruheshkurra": Case(published.GruheshkurraVAE, "mnist_vae_bn", flat=True),
    "sequential": Case(published.SsakhashVAE, "fashion_mnist_vae_sgd", flat=True),
}
# The same maps at other depths, widths and sizes: small, so that they are quick.
OTHERS = {
    "pytorch_examples, latents": Case(
        lambda: published.PytorchExamplesVAE(5),
        "pytorch_examples_vae",
        map="pytorch_examples",
        changed={"latent_dim": 5},
    ),
    "jackson_kang, widths and pixels": Case(
        lambda: published.JacksonKangVAE(5 * 6 * 3, 7, 4),
        "published/jackson_kang",
        (5, 6, 3),
        flat=True,
        map="jackson_kang",
        changed={"hidden_dims": (7, 7), "latent_dim": 4},
    ),
    "ethanluoyc, widths": Case(
        lambda: published.EthanluoycVAE(784, 9, 3),
        "published/ethanluoyc",
        outputs=ethanluoyc_outputs,
        flat=True,
        map="ethanluoyc",
        changed={"hidden_dims": (9, 9), "decoder_dims": (9,), "latent_dim": 3},
    ),
    "pythae_mlp, colours": Case(
        lambda: published.pythae_mlp_vae(4, (3, 14, 12)),
        "published/pythae_vae",
        (14, 12, 3),
        map="pythae_mlp_vae",
        changed={"latent_dim": 4},
    ),
    "pythae_conv, three layers of other widths": Case(
        lambda: published.pythae_conv_vae(4, (5, 6, 7)),
        "published/pythae_conv_vae",
        map="pythae_conv_vae",
        changed={"hidden_dims": (5, 6, 7), "decoder_dims": (7, 6, 5), "latent_dim": 4},
    ),
    "antixk, 4-8-16-32 at 32x32": Case(
        lambda: published.AntixkVAE(6, (4, 8, 16, 32), 32),
        "published/antixk_vae",
        (32, 32, 3),
        lambda output: (output[0], *output[2:]),
        map="antixk",
        changed={
            "hidden_dims": (4, 8, 16, 32),
            "decoder_dims": (32, 16, 8, 4, 4),
            "decoder_strides": (2, 2, 2, 2, 1),
            "latent_dim": 6,
        },
        size=(32, 32),
    ),
    "antixk, 3-5 at 16x16": Case(
        lambda: published.AntixkVAE(2, (3, 5), 16),
        "published/antixk_vae",
        (16, 16, 3),
        lambda output: (output[0], *output[2:]),
        map="antixk",
        changed={
            "hidden_dims": (3, 5),
            "decoder_dims": (5, 3, 3),
            "decoder_strides": (2, 2, 1),
            "latent_dim": 2,
        },
        size=(16, 16),
    ),
    "burgess, widths": Case(
        lambda: published.BurgessVAE((3, 32, 32), 4, width=6, hidden_dim=9),
        "published/burgess_vae",
        (32, 32, 3),
        burgess_outputs,
        map="burgess_32",
        changed={"hidden_dims": (6,) * 3, "dense_dims": (9, 9), "latent_dim": 4},
    ),
    "gruheshkurra, widths and latents": Case(
        lambda: published.GruheshkurraVAE(784, 12, 5),
        "mnist_vae_bn",
        flat=True,
        map="gruheshkurra",
        changed={"hidden_dims": (12, 6), "latent_dim": 5},
    ),
    "ssakhash, latents": Case(
        lambda: published.SsakhashVAE(784, 3),
        "fashion_mnist_vae_sgd",
        flat=True,
        map="sequential",
        changed={"latent_dim": 3},
    ),
}
CASES_OF_ALL = CASES | OTHERS
QUICK = {"gruheshkurra", "antixk, 3-5 at 16x16"}  # dense, and convolutions with BatchNorm
QUICK |= {name for name in OTHERS if not name.startswith(("antixk", "burgess", "pythae_conv"))}


def experiment_of(name):
    """The experiment of a case, with an optimizer that needs no memory of its own."""
    case = CASES_OF_ALL[name]
    experiment = runs.load_experiment(EXPERIMENTS / f"{case.experiment}.py")
    if case.size is not None:
        experiment = replace(experiment, data=replace(experiment.data, resize=case.size))
    model = replace(experiment.model, **case.changed)
    return replace(experiment, model=model, optimizer=Optimizer("sgd"))


@pytest.fixture
def folder(tmp_path):
    """A folder that does not stay: some models have 100 MB."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in CASES_OF_ALL],
)
def test_published_models(name, folder, monkeypatch):
    """The map is found by the keys; both compute the same; the file comes back bit for bit."""
    case = CASES_OF_ALL[name]
    theirs = randomize(case.model())
    torch.save({"state_dict": theirs.state_dict()}, folder / "model.pt")
    made = import_torch(
        folder / "model.pt", experiment_of(name), folder / "run", stored_shape=case.stored_shape
    )
    assert made["map"] == (case.map or name)
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
            np.asarray(mine).reshape(other.shape), other, rtol=0, atol=1e-12 * abs(other).max()
        )
        assert np.ptp(other) > 1e-3  # no comparison of constants

    export_torch(folder / "run", folder / "back.safetensors")
    before, _ = files.read(folder / "model.pt")
    after, _ = files.read(folder / "back.safetensors")
    assert_same_bits(after, before)


def test_every_published_map_and_experiment_is_here():
    """But for those with labels and codes, which are in test_import_codes.py."""
    assert CASES.keys() | {"timbmg", "zalandoresearch"} == PUBLISHED.keys()
    written = {path.stem for path in (EXPERIMENTS / "published").glob("*.py")}
    assert {Path(case.experiment).stem for case in CASES.values()} | {
        "zalandoresearch"
    } == written | {
        "pytorch_examples_vae",
        "mnist_vae_bn",
        "fashion_mnist_vae_sgd",
    }
