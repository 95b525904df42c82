"""Encoders that say nothing, or no number: each group has finite numbers, or one line why not."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model
from jaxvae.checks import UsageError
from jaxvae.evaluation import classifier, groups
from jaxvae.evaluation.groups import GROUPS
from jaxvae.evaluation.subject import Findings, Subject
from tests.evaluation.subjects import dataset, images, subject
from tests.variants.small import small

VAE = Experiment("vae", data=Data(batch_size=16), model=Model(hidden_dims=(8,), latent_dim=3))
AE = replace(VAE, name="ae", model=replace(VAE.model, family="AE"))
CONSTANT, NAN = 0.5, np.nan


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(classifier, "STEPS", 60)


def of_encoder(experiment: Experiment, value: float) -> Subject:
    """Kernels of the encoder are 0 and biases `value`, or all are NaN: so is every code.

    The images have two factors, which of three stripes and one of four numbers.
    """
    split = images(60)
    numbers = np.arange(60, dtype=np.int32) // 3 % 4
    split = split._replace(factors={"stripe": split.labels, "number": numbers})
    given = subject(experiment, dataset(split, split), num_samples=3, normal=(0,))

    def broken(path: tuple, x: jax.Array) -> jax.Array:
        if path[0].key == "decoder":
            return x
        kernel = path[-1].key == "kernel"
        return jnp.full_like(x, 0.0 if kernel and np.isfinite(value) else value)

    model = given.trained.variables.model
    params = jax.tree.map_with_path(broken, model["params"])
    variables = given.trained.variables._replace(model={**model, "params": params})
    return replace(given, trained=given.trained._replace(variables=variables))


def found_or_why(name: str, given: Subject) -> Findings | str:
    """What a group comes to, of numbers that JSON has; or why it does not apply, in one line."""
    try:
        examined = groups.examine(given, [name])
    except UsageError as error:
        why = str(error).removeprefix(f"--metrics {name}: ")
        assert "\n" not in why and "Traceback" not in why
        return why
    json.dumps(examined.as_json(), allow_nan=False)
    return examined.found[name]


SAME = {
    "probes": "all training examples have the same code",
    "clusters": "all images have the same code",
}
"""Why groups do not apply to codes that are all the same."""
NO_NUMBER = {
    **dict.fromkeys(("elbo", "anomaly", "reconstruction"), "not finite: loss, recon, kl, "),
    "nll": "log p(x) is not finite for some examples: a weight overflows, or is no number",
    "decomposition": "q(z|x) is not finite for some examples",
    **dict.fromkeys(("units", "probes", "clusters", "geometry"), "codes are not finite"),
    **dict.fromkeys(("disentanglement", "dci"), "codes are not finite"),
}
"""Why they do not apply to NaN; samples are decoded without an encoder."""
COMPILED_LONG = ("decomposition", "anomaly", "samples", "geometry")
"""Those whose programs take more than a second to compile, where they come to numbers."""


SLOW = [pytest.mark.slow, pytest.mark.ci]
CASES = [(name, NAN, NO_NUMBER.get(name)) for name in GROUPS if name != "samples"]
CASES += [(name, CONSTANT, SAME.get(name)) for name in GROUPS if name not in COMPILED_LONG]
CASES += [pytest.param(name, CONSTANT, None, marks=SLOW) for name in COMPILED_LONG]
CASES += [pytest.param("samples", NAN, None, marks=SLOW)]


@pytest.mark.parametrize(("name", "value", "refused"), CASES)
def test_each_group_has_numbers_or_says_why_not(name, value, refused):
    found = found_or_why(name, of_encoder(VAE, value))
    if refused:
        assert isinstance(found, str) and found.startswith(refused)
    else:
        assert isinstance(found, Findings) and found.values


@pytest.mark.parametrize("name", ["disentanglement", "dci"])
def test_one_code_knows_of_no_factor(name):
    """Every score is 0, but for rounding and those of guesses: which of two factors is shared, of
    5000 draws (within four standard errors), and the accuracy of the trees."""
    values = found_or_why(name, of_encoder(VAE, CONSTANT)).values
    guessed = {n for n in values if n.startswith(("beta_vae_score", "dci_informativeness"))}
    assert [values[n] for n in {*values} - guessed] == pytest.approx(
        [0] * (len(values) - 2), abs=1e-9
    )
    if name == "disentanglement":
        assert values["beta_vae_score"] == pytest.approx(0.5, abs=4 * 0.5 / 5000**0.5)


def test_latents_without_numbers_are_not_called_unused():
    """NaN is above no threshold; two layers have no KL per latent that would be NaN too."""
    assert found_or_why("units", of_encoder(small("two_layer_vae"), NAN)) == "codes are not finite"


def test_a_posterior_that_is_the_prior_has_an_elbo():
    """Its KL is 0, as is what stands for that of a model without a posterior."""
    values = found_or_why("elbo", of_encoder(VAE, 0.0)).values
    assert values["kl"] == 0 and values["elbo"] == pytest.approx(-values["recon"], rel=1e-6)
    assert "elbo" not in found_or_why("elbo", of_encoder(AE, 0.0)).values


@pytest.mark.slow
@pytest.mark.parametrize("value", [CONSTANT, NAN])
@pytest.mark.parametrize("name", ["ae", "two_layer_vae", "flow_vae", "vq_vae"])
def test_other_models_too(name, value):
    given = of_encoder(AE if name == "ae" else small(name), value)
    found = {group: found_or_why(group, given) for group in GROUPS}
    of_images = {isinstance(found[group], Findings) for group in ("elbo", "reconstruction")}
    assert of_images == {np.isfinite(value)}


@pytest.mark.slow
def test_one_code_of_two_latents_has_its_evidence_on_a_grid():
    """Which the bound is below, as the ELBO is below the bound."""
    two = replace(VAE, model=replace(VAE.model, latent_dim=2))
    found = found_or_why("nll", of_encoder(two, CONSTANT)).values
    assert found["grid_elbo"] < found["grid_bound"] < found["grid_log_p"]
