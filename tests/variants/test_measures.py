"""Every group of measures on every variant: numbers, or one line that says why there are none."""

import json
import math

import pytest

import jaxvae
from jaxvae.checks import UsageError
from jaxvae.evaluation.evaluate import has_recon_across
from jaxvae.evaluation.importance import nll
from tests.variants.small import INFO, SLOW, small

SHORT = {"epochs": 1, "limit": 256, "resize": (8, 8), "figures_every": None, "quiet": True}


@pytest.mark.parametrize("name", SLOW)
def test_every_group(name):
    run = jaxvae.train(small(name), **SHORT)
    found = run.evaluate("all", num_samples=3, generated=64, normal=(1,))
    json.dumps(found, allow_nan=False)
    assert {"elbo", "reconstruction"} <= found.keys()
    for group, values in found.items():
        for value, number in values.items():
            assert number is None or math.isfinite(number), (group, value)
    # Where the variance follows from a batch's errors no example has a likelihood.
    assert (name == "optimal_sigma_vae") == ("recon" not in found["elbo"])
    assert ("nll" in found) == ("elbo" in found["elbo"])


def test_without_a_likelihood_of_its_own_an_example_has_no_bound():
    """The variance of other images would be another: of one image alone it would be its own."""
    experiment = small("optimal_sigma_vae")
    run = jaxvae.train(experiment, **SHORT)
    assert has_recon_across(experiment, experiment.model.build(INFO), INFO)
    assert not has_recon_across(small("sigma_vae"), small("sigma_vae").model.build(INFO), INFO)
    with pytest.raises(UsageError, match=r"recon of an example depends on the others of its batch"):
        nll(run.trained, run.dataset.test, 2)
