"""Models with a codebook and conditional ones: to our runs and back, collections included."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Optimizer, runs
from jaxvae.checks import UsageError
from jaxvae.interop import files
from jaxvae.interop.maps import reference_map
from jaxvae.interop.weights import expected_shapes
from jaxvae.training import initial_state
from jaxvae.training.load import load
from jaxvae.variants.codebooks import VQ, Quantisation
from jaxvae.variants.labels import Conditional
from tests.given import batch
from tests.interop.bits import assert_same_bits

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from jaxvae.interop.convert import Reading, export_torch, import_torch, write_map  # noqa: E402
from torch_parity.published_codes import TimbmgVAE, ZalandoresearchVQVAE  # noqa: E402

pytestmark = pytest.mark.numeric

SHAPE = (12, 8, 3)
ACCEPT = Reading(accept=True)


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def randomize(model):
    """Every weight away from its initial value."""
    generator = torch.Generator().manual_seed(0)
    for key, tensor in model.state_dict().items():
        fan_in = tensor[0].numel() if tensor.ndim > 1 else 10
        tensor.normal_(0, fan_in**-0.5, generator=generator)
        if key.endswith("size") or key.endswith("count"):
            tensor.abs_()
    return model.eval()


def doubled(run):
    trained, step = load(run)
    assert step == 0
    double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trained.variables.model)
    return trained, double


def assert_comes_back(folder, source, **options):
    """Exported, it is the file that was imported; and imported again, the same run."""
    before, _ = files.read(source)
    export_torch(folder / "run", folder / "back.safetensors", **options)
    after, _ = files.read(folder / "back.safetensors")
    assert_same_bits(after, before)


def zalandoresearch(averages):
    experiment = runs.load_experiment("zalandoresearch")
    model = replace(
        experiment.model,
        hidden_dims=(4, 8),
        residual_dim=3,
        latent_dim=5,
        codes=7,
        decay=0.99 if averages else None,
    )
    return replace(experiment, model=model, optimizer=Optimizer("sgd"))


@pytest.mark.slow
@pytest.mark.parametrize("averages", [pytest.param(True, marks=pytest.mark.ci), False])
def test_a_published_vq_vae(averages, tmp_path):
    """The same pixels, codes and loss, by either kind of codebook, and the same file back."""
    theirs = randomize(ZalandoresearchVQVAE(averages, 8, 3, 2, 5, 7))
    x = np.random.default_rng(0).random((6, *SHAPE)) - 0.5
    theirs._vq_vae._embedding.weight.data.copy_(
        features(theirs, channels_first(x).float())[::5][:7]
    )
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    experiment = zalandoresearch(averages)
    made = import_torch(tmp_path / "model.pth", experiment, tmp_path / "run", stored_shape=SHAPE)
    assert made["map"] == "zalandoresearch"
    with jax.enable_x64(True):
        trained, double = doubled(tmp_path / "run")
        ours = jax.jit(trained.model.apply)(double, batch(x))
        terms = experiment.objective.terms(ours, batch(x), {})
    with torch.no_grad():
        of_codes, pixels, perplexity = theirs.double()(channels_first(x))
        squared = float(F.mse_loss(pixels, channels_first(x)))
    assert len(np.unique(ours.aux["indices"])) > 3
    np.testing.assert_allclose(np.moveaxis(ours.decoded, -1, 1), pixels.numpy(), atol=1e-12)
    assert float(terms["perplexity"]) == pytest.approx(float(perplexity), rel=1e-8)
    # Ours is a Gaussian of their variance in nats per image, P/2 times mean / variance, and sums
    # over the 3 x 2 positions of 5 numbers.
    pixels_of, numbers_of, variance = math.prod(SHAPE), 3 * 2 * 5, 0.2516**2
    recon = 0.5 * pixels_of * (squared / variance + math.log(2 * math.pi * variance))
    distance = float(of_codes) / (0.25 if averages else 1.25) * numbers_of
    assert np.asarray(terms["recon"]).mean() == pytest.approx(recon, rel=1e-10)
    weight = experiment.objective.commitment + (not averages)  # of what moves codes: Adam's rate
    assert np.asarray(terms["loss"]).mean() == pytest.approx(recon + weight * distance, rel=1e-10)
    assert experiment.objective.commitment == 0.25 * 3072 / (2 * 8 * 8 * 64)
    assert_comes_back(tmp_path, tmp_path / "model.pth")


class ColourImages:
    """Of two channels, so that the order of pixels matters, and of three classes."""

    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (30, 4, 5, 2), np.uint8)
    labels = np.arange(30) % 3


CONDITIONAL = Experiment(
    "conditional",
    data=Data(ColourImages.stored, ColourImages.labels, batch_size=8),
    model=Conditional(hidden_dims=(9,), latent_dim=2),
    optimizer=Optimizer("sgd"),
)


def test_a_published_conditional_vae(tmp_path, monkeypatch):
    """Behind an image of two channels is the label; without it the function is another."""
    theirs = randomize(TimbmgVAE(40, 9, 2, num_labels=3))
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    x, label = ColourImages.stored[:6] / 255, ColourImages.labels[:6]
    flat = torch.tensor(np.moveaxis(x, -1, 1).copy()).flatten(1)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    with torch.no_grad():
        pixels, mean, logvar = theirs.double()(flat, torch.tensor(label))
    arrays = {"images": flat.float().numpy(), "outputs": pixels.float().numpy()}
    np.savez(tmp_path / "check.npz", **arrays, labels=label)
    np.savez(tmp_path / "without.npz", **arrays)
    np.savez(tmp_path / "wrong.npz", **arrays, labels=label + 1)

    def take(check):
        run = tmp_path / "run"
        source = tmp_path / "model.pth"
        return import_torch(source, CONDITIONAL, run, check_with=tmp_path / check)

    with pytest.raises(UsageError, match=r"looks at labels needs them in the file, as `labels`"):
        take("without.npz")
    with pytest.raises(UsageError, match=r"labels: must be 6 whole numbers in 0\.\.2"):
        take("wrong.npz")
    made = take("check.npz")
    assert made["map"] == "timbmg" and made["checked"]["largest_difference"] < 1e-6
    with jax.enable_x64(True):
        trained, double = doubled(tmp_path / "run")
        given = replace(batch(x), label=jnp.asarray(label))
        ours = jax.jit(trained.model.apply)(double, given)
        decoded = np.asarray(jax.nn.sigmoid(ours.decoded))
    np.testing.assert_allclose(
        np.moveaxis(decoded, -1, 1).reshape(6, 40), pixels.numpy(), atol=1e-12
    )
    for name, other in (("mean", mean), ("logvar", logvar)):
        np.testing.assert_allclose(ours.aux[name], other.numpy(), atol=1e-12)
    assert_comes_back(tmp_path, tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        pytest.param(
            "vq_vae",
            {"residual_blocks": 2, "residual_dim": 3, "batch_norm": True},
            marks=pytest.mark.slow,
        ),
        ("vq_vae_gradient", {"residual_blocks": 1, "residual_dim": 3}),
        ("residual_vq_vae", {"levels": 2}),
        ("fsq_vae", {"levels": (4, 3)}),
        ("conditional_vae", {}),
    ],
)
def test_of_our_own_names_everything_comes_back(name, fields, tmp_path):
    """Codes, sums and counts too, whatever their values."""
    experiment = runs.load_experiment(name)
    small = {"hidden_dims": (4,) if name == "conditional_vae" else (4, 6), "latent_dim": 3}
    experiment = replace(
        experiment, model=replace(experiment.model, **small, **fields), optimizer=Optimizer("sgd")
    )
    shape = (28, 28, 1)
    info = replace(batch(np.zeros((1, *shape))).info, num_classes=10)
    module = experiment.model.build(info)
    template = jax.eval_shape(lambda: initial_state(experiment, module, info)).variables.model
    rng = np.random.default_rng(0)
    keys = expected_shapes(reference_map(experiment.model, shape), template)
    arrays = {key: np.abs(rng.standard_normal(s)).astype(np.float32) for key, s in keys.items()}
    files.write(tmp_path / "a.safetensors", arrays)
    import_torch(tmp_path / "a.safetensors", experiment, tmp_path / "run")
    trained, _ = load(tmp_path / "run")
    if "counts" in arrays:
        for key in ("codes", "sums", "counts"):
            assert (np.asarray(trained.variables.model["codebook"][key]) == arrays[key]).all()
    export_torch(tmp_path / "run", tmp_path / "b.safetensors")
    after, _ = files.read(tmp_path / "b.safetensors")
    counters = {key for key in after if key.endswith("num_batches_tracked")}
    assert_same_bits({k: v for k, v in after.items() if k not in counters}, arrays)


def features(model, x):
    """What a model of `ZalandoresearchVQVAE` quantises, as rows."""
    kept = []
    hook = model._pre_vq_conv.register_forward_hook(lambda *given: kept.append(given[-1]))
    with torch.no_grad():
        model(x)
    hook.remove()
    return kept[0].movedim(1, -1).reshape(-1, kept[0].shape[1])


class Their(nn.Module):
    """A VQ-VAE without residual blocks, its layers under names of nobody."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(3, 4, 4, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 4, 2, 1), nn.ReLU()
        )
        self.proj = nn.Conv2d(6, 5, 1)
        self.codebook = nn.Module()
        self.codebook.register_buffer("embedding", torch.zeros(7, 5))
        self.codebook.register_buffer("ema_count", torch.zeros(7))
        self.codebook.register_buffer("ema_weight", torch.zeros(7, 5))
        self.up = nn.Sequential(
            nn.ConvTranspose2d(5, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        )

    def forward(self, x):
        z, codes = self.proj(self.down(x)).movedim(1, -1), self.codebook.embedding
        index = torch.cdist(z.reshape(-1, 5), codes).argmin(1)
        return self.up(codes[index].reshape(z.shape).movedim(-1, 1))


THEIRS = Experiment(
    "theirs",
    model=VQ(
        network="conv", hidden_dims=(4, 6), kernel_size=4, latent_dim=5, codes=7, output="linear"
    ),
    objective=Quantisation("mse"),
    optimizer=Optimizer("sgd"),
)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_codes_and_sums_are_told_apart_by_their_names(suffix, tmp_path):
    model = randomize(Their())
    state = model.state_dict()
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    source = tmp_path / f"model{suffix}"
    files.write(source, arrays)
    with pytest.raises(UsageError) as error:
        import_torch(source, THEIRS, tmp_path / "run", stored_shape=SHAPE)
    message = str(error.value)
    assert 'codebook.ema_count: (7,)  ->  parameter("counts", collection="codebook")' in message
    assert "codebook.embedding is taken for the codes, codebook.ema_weight for the sums" in message
    import_torch(source, THEIRS, tmp_path / "run", ACCEPT, SHAPE)
    x = np.random.default_rng(0).random((2, *SHAPE))
    with jax.enable_x64(True):
        trained, double = doubled(tmp_path / "run")
        ours = jax.jit(trained.model.apply)(double, batch(x)).decoded
    with torch.no_grad():
        pixels = model.double()(torch.tensor(np.moveaxis(x, -1, 1).copy())).numpy()
    np.testing.assert_allclose(np.moveaxis(ours, -1, 1), pixels, atol=1e-12)
    assert_comes_back(tmp_path, source)


def test_a_map_with_codes_is_written_and_read(tmp_path):
    state = randomize(Their()).state_dict()
    torch.save(state, tmp_path / "model.pth")
    written = write_map(tmp_path / "model.pth", THEIRS, tmp_path / "own.py", stored_shape=SHAPE)
    assert written["complete"]
    reading = Reading(map=str(tmp_path / "own.py"))
    import_torch(tmp_path / "model.pth", THEIRS, tmp_path / "run", reading, SHAPE)
    assert_comes_back(tmp_path, tmp_path / "model.pth", map_name=str(tmp_path / "own.py"))


def test_an_embedding_is_a_parameter(tmp_path):
    """`nn.Embedding` has a weight alone, and averages may be left to --model.decay None."""
    state = randomize(Their()).state_dict()
    state["codebook.weight"] = state.pop("codebook.embedding")
    averages = {"codebook.ema_count", "codebook.ema_weight"}
    state = {key: tensor for key, tensor in state.items() if key not in averages}
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(
        UsageError, match=r"without averages are parameters \(--model\.decay None\)"
    ):
        import_torch(tmp_path / "model.pth", THEIRS, tmp_path / "run", ACCEPT, SHAPE)
    gradient = replace(THEIRS, model=replace(THEIRS.model, decay=None))
    import_torch(tmp_path / "model.pth", gradient, tmp_path / "run", ACCEPT, SHAPE)
    trained, _ = load(tmp_path / "run")
    codes = np.asarray(trained.variables.model["params"]["codes"])
    assert (codes == state["codebook.weight"].numpy()).all()
    assert_comes_back(tmp_path, tmp_path / "model.pth")


def test_a_codebook_of_another_size_is_refused(tmp_path):
    torch.save(randomize(ZalandoresearchVQVAE(True, 8, 3, 2, 5, 9)).state_dict(), tmp_path / "m.pt")
    with pytest.raises(UsageError) as error:
        import_torch(tmp_path / "m.pt", zalandoresearch(True), tmp_path / "run", stored_shape=SHAPE)
    for line in (
        "_vq_vae._embedding.weight: (9, 5) in the state dict, (7, 5) expected",
        "_vq_vae._ema_w: (9, 5) in the state dict, (7, 5) expected",
        "_vq_vae._ema_cluster_size: (9,) in the state dict, (7,) expected",
    ):
        assert line in str(error.value)


def test_an_unconditional_file_is_no_conditional_model(tmp_path):
    torch.save(TimbmgVAE(40, 9, 2).state_dict(), tmp_path / "m.pt")
    with pytest.raises(
        UsageError, match=r"MLP\.L0\.weight: \(9, 40\) in the state dict, \(9, 43\)"
    ):
        import_torch(tmp_path / "m.pt", CONDITIONAL, tmp_path / "run")
