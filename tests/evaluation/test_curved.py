"""Group `geometry`: a linear decoder has no curvature, any other has some."""

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation import Trained, groups, views
from jaxvae.evaluation.subject import Measuring, Subject
from jaxvae.info import Info
from jaxvae.metrics import geometry
from jaxvae.training import initial_state
from tests.evaluation import subjects

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(20, 5)).astype(np.float32)


def subject(n=20, **model):
    experiment = Experiment(
        "rows",
        data=Data(standardise=False),
        model=Model(
            **{"family": "AE", "hidden_dims": (), "latent_dim": 2, "output": "linear"} | model
        ),
        objective=Objective("gaussian", beta=0.0 if model.get("family", "AE") == "AE" else 1.0),
    )
    info = Info((5,), maximum=None)
    module = experiment.model.build(info)
    variables = jax.tree.map(lambda x: 2 * x, initial_state(experiment, module, info).variables)
    trained = Trained(experiment, module, variables, (5,), info)
    return Subject(trained, Split(ROWS[:n], None), lambda: None, Measuring())


def values_of(given):
    return groups.examine(given, ["geometry"]).found["geometry"].values


def test_a_linear_decoder_is_flat():
    found = values_of(subject())
    assert found["length_ratio"] == pytest.approx(1, abs=1e-5)
    for name in ("straight_length", "geodesic_length"):
        assert found[name] == pytest.approx(found["chord"], rel=1e-5)


def test_geodesics_are_between_the_chord_and_the_straight_line():
    found = values_of(subject(hidden_dims=(16,), activation="tanh", family="VAE"))
    assert found["chord"] <= found["geodesic_length"] < found["straight_length"]
    assert 0.5 < found["length_ratio"] < 0.9999
    assert found == values_of(subject(hidden_dims=(16,), activation="tanh", family="VAE"))


def test_few_images():
    assert "length_ratio_se" not in values_of(subject(n=2))
    with pytest.raises(UsageError, match="--metrics geometry: one image: a line needs two"):
        values_of(subject(n=1))


@pytest.mark.slow
def test_images_are_corrupted_as_in_the_other_groups(monkeypatch):
    """By where they are in the split: the ends of the lines are codes of the whole split."""
    data = Data(batch_size=16, corruption="gaussian", corruption_level=0.5)
    experiment = Experiment("noisy", data=data, model=Model(hidden_dims=(8,), latent_dim=2))
    given, seen, straight = subjects.subject(experiment), [], geometry.straight
    monkeypatch.setattr(
        geometry, "straight", lambda a, b, n: seen.extend((a, b)) or straight(a, b, n)
    )
    values_of(given)
    codes = views.views(given.trained, given.split).codes
    ends = np.concatenate(seen)
    assert len(ends) == 30
    nearest = np.abs(ends[:, None] - codes).max(axis=2).min(axis=1)
    np.testing.assert_allclose(nearest, 0, atol=1e-5)
