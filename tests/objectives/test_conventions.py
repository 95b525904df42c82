"""The named conventions: effective betas, the documentation's table, and their use."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.conventions import conventions, with_convention

pytestmark = pytest.mark.numeric

DOCUMENT = Path(__file__).parents[2] / "docs" / "conventions.md"

BCE, SSE = "BCE, sum", "squared error, sum"
MSE = "squared error, mean over everything"
SUM, MEAN_KL = "sum; batch mean", "mean over latents and batch"

# name: reconstruction and KL as coded, pixels, latents; and what the table of effective betas must
# say (None: no KL; disentanglement_lib is quoted for beta = 1), with the factor c of a batch of 128
# in front of recon + beta_eff kl.
PUBLISHED = {
    "pytorch_examples": (f"{BCE} over everything", "sum over everything", 784, 20, 1.0, 128),
    "jackson_kang": (f"{BCE} over everything", "sum over everything", 784, 200, 1.0, 128),
    "gruheshkurra": (f"{BCE} over everything", "sum over everything", 784, 2, 1.0, 128),
    "ethanluoyc": ("-log N(x; x', 1), sum; batch mean", SUM, 784, 8, 1.0, 1),
    "pythae_vae": (f"half the {SSE}; batch mean", SUM, 784, 10, 1.0, 1),
    "pythae_vae_bce": (f"{BCE}; batch mean", SUM, 784, 10, 1.0, 1),
    "pythae_ae": (f"{SSE}; batch mean", "-", 784, 10, None, 2),
    "flax": (f"{BCE}; batch mean", SUM, 784, 20, 1.0, 1),
    "flax_nnx_toy": ("BCE, mean over everything", f"{MEAN_KL}, x 0.1", 784, 32, 2.45, 1 / 784),
    "lightning_bolts": (MSE, f"{MEAN_KL}, x 0.1", 3072, 256, 0.6, 2 / 3072),
    "antixk_train": (MSE, f"{SUM}, x 0.00025", 12288, 128, 1.536, 2 / 12288),
    "antixk_validation": (MSE, SUM, 12288, 128, 6144.0, 2 / 12288),
    "ssakhash": (MSE, MEAN_KL, 784, 20, 19.6, 2 / 784),
    "disentanglement_lib": (f"{SSE}; batch mean", f"{SUM}, x beta", 4096, 10, 0.5, 2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_effective_beta_and_scale(name):
    _, _, num_pixels, latent_dim, beta_eff, scale = PUBLISHED[name]
    objective = conventions[name]
    # A few float64 roundings.
    assert math.isclose(objective.scale(num_pixels, batch_size=128), scale, rel_tol=1e-12)
    if beta_eff is not None:
        found = objective.beta_eff(num_pixels, latent_dim)
        assert math.isclose(found, beta_eff, rel_tol=1e-12)


def table() -> str:
    """docs/conventions.md's table, from the code."""
    rows = [
        "| name | reconstruction as coded | KL as coded | D | L | beta_eff |",
        "|---|---|---|---|---|---|",
    ]
    for name, (recon, kl, num_pixels, latent_dim, beta_eff, _) in PUBLISHED.items():
        found = conventions[name].beta_eff(num_pixels, latent_dim)
        shown = "-" if beta_eff is None else f"{found:.4g}"
        rows.append(f"| `{name}` | {recon} | {kl} | {num_pixels} | {latent_dim} | {shown} |")
    return "\n".join(rows)


def test_the_documentation_shows_the_codes_values():
    assert set(PUBLISHED) == set(conventions)
    assert table() in DOCUMENT.read_text(), f"docs/conventions.md should hold\n{table()}"


@pytest.mark.parametrize("name", conventions)
@pytest.mark.parametrize("output", ["logits", "sigmoid", "linear"])
def test_any_experiment_takes_any_convention(name, output):
    likelihood = "bernoulli" if output == "logits" else "laplace"
    before = Experiment(
        "any",
        data=Data("digits"),
        model=Model("AE" if name == "pythae_ae" else "VAE", output=output),
        objective=Objective(likelihood, beta=3.0, warmup_steps=7),
    )
    after = with_convention(before, name)
    assert after.objective == replace(conventions[name], warmup_steps=7)
    assert (after.model.output == "logits") == (after.objective.likelihood == "bernoulli")
    if after.objective.likelihood != "bernoulli":  # logits become pixels, others stay
        assert after.model.output == ("sigmoid" if output == "logits" else output)
    same = replace(after, objective=before.objective, model=before.model)
    assert same == before


def test_a_loss_without_a_kl_is_not_for_a_vae():
    with pytest.raises(ValueError, match=r"objective.convention = 'pythae_ae': must be one of"):
        with_convention(Experiment("vae"), "pythae_ae")


def test_an_unknown_convention_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"objective.convention = 'elbo': must be one of .*flax,"):
        with_convention(Experiment("any"), "elbo")
