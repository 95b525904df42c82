"""`python -m torch_parity.speed --variant`, `--against`: what they train, and against whom."""

import itertools
import re

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)

from jaxvae import data  # noqa: E402
from jaxvae.checks import UsageError  # noqa: E402
from jaxvae.config import Data  # noqa: E402
from jaxvae.runs import names  # noqa: E402
from torch_parity.experiments import experiment_of  # noqa: E402
from torch_parity.speed import __main__ as speed  # noqa: E402
from torch_parity.speed import ours, pytorch, race, variants  # noqa: E402
from torch_parity.speed.models import MODELS, shaped  # noqa: E402
from torch_parity.speed.report import TOLERANCE  # noqa: E402
from torch_parity.speed.variants import ENTRANTS, TunedVQVAE  # noqa: E402
from torch_parity.speed.workers import Job  # noqa: E402
from torch_parity.variants.vqvae import VQVAE  # noqa: E402


def job_of(name: str, folder, batch: int = 32, images: int = 128) -> Job:
    """A job as a race writes it, on digits."""
    digits = shaped(data.whole(Data("digits"))[0].images[:images], MODELS[name].image_shape)
    return race.write_job(name, digits, batch, 3, str(folder))


def losses(epochs) -> list[float]:
    return [report["loss"] for report in itertools.islice(epochs, 1, 4)]


# Of those that draw nothing the losses are equal to rounding; the others draw their own noise.
@pytest.mark.parametrize(
    ("name", "rtol"),
    [
        pytest.param("vq_vae", 1e-3, marks=pytest.mark.slow),
        pytest.param("factor_vae", TOLERANCE, marks=[pytest.mark.slow, pytest.mark.ci]),
        *(
            pytest.param(name, 1e-3 if name == "fsq_vae" else TOLERANCE, marks=pytest.mark.slow)
            for name in ENTRANTS
            if name not in ("vq_vae", "factor_vae", "cifar_vq_vae")
        ),
    ],
)
def test_a_variant_is_the_same_in_both(name, rtol, tmp_path):
    """Three epochs from the same weights in the same order, as the race compares them.

    With rounding alone between them a code may be another one near a border, for a few of some
    thousand positions.
    """
    job = job_of(name, tmp_path)
    ours_, theirs = losses(ours.train(job, "loop")), losses(pytorch.tuned(job))
    assert ours_[-1] < ours_[0]  # it trains
    np.testing.assert_allclose(ours_, theirs, rtol=rtol)


def test_every_entrant_is_as_its_experiment():
    """Its sizes: of each entrant's weights there are as many as the experiment's settings ask."""
    for name, entrant in ENTRANTS.items():
        experiment = experiment_of(MODELS[name].experiment)
        model = entrant.model()
        if hasattr(model, "codes"):
            assert model.codes.shape[-1] == experiment.model.latent_dim
        elif hasattr(model, "encoder") and entrant.flat:
            hidden, latents = experiment.model.hidden_dims[0], experiment.model.latent_dim
            linear = [x for x in model.encoder.children() if isinstance(x, torch.nn.Linear)]
            heads = {layer.out_features for layer in linear}
            assert heads == {hidden, latents}, name
        assert experiment.optimizer.learning_rate == entrant.rate
        count = sum(p.numel() for group in entrant.parameters(model) for p in group["params"])
        assert count == sum(p.numel() for p in model.parameters()), name


def test_those_that_are_left_out_are_named():
    others = ("", "jobs", "studies", "published")
    family = {item.path.stem for item in names.listed() if item.family not in others}
    assert family & {*re.findall(r"\w+", variants.__doc__)} == family - ENTRANTS.keys()


def test_the_nearest_codes_by_products_are_the_nearest():
    torch.manual_seed(0)
    model, z_e = TunedVQVAE(), torch.randn(3, 5, 5, 16)
    assert torch.equal(model.nearest(z_e), VQVAE.nearest(model, z_e))


def test_images_in_other_shapes_are_framed():
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28, 1)
    found = shaped(images, (32, 32, 3))
    assert found.shape == (2, 32, 32, 3) and found.sum() == 3 * images.astype(int).sum()
    np.testing.assert_array_equal(found[:, :28, :28, 1:2], images)
    np.testing.assert_array_equal(shaped(images, (28, 28, 1)), images)


@pytest.mark.slow
@pytest.mark.ci
def test_two_versions_are_raced(capsys, monkeypatch, tmp_path):
    """The last commit's against what is here: the CAE draws nothing, so the losses are equal."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "empty"))
    with pytest.raises(SystemExit) as exit_:
        speed.main(model=("mnist_cae",), batch=(32,), images=64, rounds=1, against="HEAD")
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "jaxvae, the other version" in text and "PyTorch, " not in text
    found = re.search(r"losses agree: ([\d.]+)% apart", text)
    assert found and float(found[1]) < 0.1


def test_a_commit_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="--against = 'nowhere': must be a commit"):
        speed.checkout("nowhere")
