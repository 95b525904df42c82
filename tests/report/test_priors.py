"""What a page says of a model's prior is what the model draws, whatever its posterior is."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Model
from jaxvae.build import networks
from jaxvae.evaluation import labels_for
from jaxvae.evaluation.trained import from_prior, has_gaussian, has_standard_prior
from jaxvae.models import VAE
from jaxvae.report import contents
from jaxvae.report.blobs import Blobs
from jaxvae.report.looks import HELD
from jaxvae.report.priors import prior_of
from jaxvae.variants.labels import Conditional, ConditionalVAE
from tests.evaluation import subjects
from tests.report import made
from tests.variants import small

OTHERS = {
    **dict.fromkeys(("two_layer_vae", "vamp_prior_vae")),
    **dict.fromkeys(("gumbel_vae", "joint_vae"), "categories"),
    **dict.fromkeys(("vq_vae", "vq_vae_restart", "vq_vae_gradient", "cifar_vq_vae"), "codes"),
    **dict.fromkeys(("residual_vq_vae", "fsq_vae"), "codes"),
}
"""Of all other variants the prior is N(0, I)."""
DRAWS = 4000


@pytest.mark.parametrize("name", small.MOSTLY_SLOW)
def test_what_is_said_is_what_is_drawn(name):
    """Means, variances and covariances within 5 of their standard errors; codes used alike."""
    trained = made.jiggled(subjects.trained(small.small(name), small.dataset()))
    said = prior_of(trained)
    assert said == OTHERS.get(name, "standard normal")
    assert has_standard_prior(trained) == (said == "standard normal")
    z = np.asarray(from_prior(trained, labels_for(trained, DRAWS, None), seed=1)[1])
    rows = z.reshape(-1, z.shape[-1])
    off = np.abs(np.cov(rows.T) - np.eye(z.shape[-1])) * np.sqrt(len(rows))
    standard = np.abs(rows.mean(0)).max() * np.sqrt(len(rows)) < 5 and off.max() < 5 * np.sqrt(2)
    assert standard == (said == "standard normal")
    if said == "categories":
        before = 3 if name == "joint_vae" else 0
        one_hot = z[:, before:]
        error = np.sqrt(0.25 * 0.75 / DRAWS)
        assert {*one_hot.ravel()} == {0, 1} and np.abs(one_hot.mean(0) - 0.25).max() < 5 * error
    if said == "codes":
        number = {"residual_vq_vae": 25, "fsq_vae": 12}.get(name, 5)
        _, counts = np.unique(rows.round(5), axis=0, return_counts=True)
        share = 1 / number
        error = np.sqrt(share * (1 - share) / len(rows))
        assert len(counts) == number and np.abs(counts / len(rows) - share).max() < 5 * error


class Shifted(VAE, kw_only=True):
    def prior(self, batch: Any) -> Any:
        return 1.0 + super().prior(batch)


@dataclass(frozen=True)
class ShiftedModel(Model):
    def build(self, info: Any) -> Shifted:
        return Shifted(**networks(self, info), latent_dim=self.latent_dim)


def test_the_prior_is_not_told_from_the_posterior():
    """Of a Gaussian posterior with a KL of each latent the prior may be another."""
    trained = made.trained(ShiftedModel(hidden_dims=(8,), latent_dim=2))
    assert has_gaussian(trained) and not has_standard_prior(trained)
    assert prior_of(trained) is None


class ByClass(ConditionalVAE, kw_only=True):
    def prior(self, batch: Any) -> Any:
        return jnp.float32(batch.label)[:, None] + super().prior(batch)


@dataclass(frozen=True)
class ByClassModel(Conditional):
    def build(self, info: Any) -> ByClass:
        classes = {"num_classes": info.num_classes}
        return ByClass(**networks(self, info), latent_dim=self.latent_dim, **classes)


def test_a_page_holds_draws_of_another_prior(tmp_path):
    """Not where they are of one class each: the page decodes a code as any class."""
    for model, held in ((ShiftedModel, True), (ByClassModel, False)):
        trained = made.trained(model(hidden_dims=(8,), latent_dim=2))
        found = contents(made.reported(tmp_path, trained), kept := Blobs())
        assert found["prior"] is None and "samples" in found
        assert ("drawn" in found) == held
        if held:
            codes = kept.read(found["drawn"])
            assert codes.shape == (HELD, 2) and codes.dtype == np.float16
            assert (np.abs(codes.mean(0) - 1) < 5 / np.sqrt(HELD)).all()
            assert (np.abs(codes.std(0) - 1) < 5 / np.sqrt(2 * HELD)).all()


@pytest.mark.parametrize("name", ["gelu_ae", "cae"])
def test_an_autoencoder_has_none(name):
    trained = made.trained(made.MODELS[name])
    assert not has_standard_prior(trained) and prior_of(trained) is None
