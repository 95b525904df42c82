"""How many images are evaluated at once."""

from dataclasses import replace

import pytest

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.evaluation.at_once import (
    evaluated_at_once,
    most_at_once,
    most_decoded,
    widest_map,
)
from jaxvae.info import Info
from jaxvae.runs import load_experiment
from jaxvae.variants.samples import IWAE, PIWAE


class Own(Objective):
    pass


@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("mnist_conv_vae", 28 * 28 * 64, 16),  # fewer than 16 have 2^18 values
        ("mnist_cae", 14 * 14 * 16, 83),
        ("mnist_vae", 0, None),
    ],
)
def test_feature_maps_bound_the_images(name, values, most):
    experiment, info = load_experiment(name), Info((28, 28, 1))
    module = experiment.model.build(info)
    assert widest_map(module, info) == values
    assert most_at_once(experiment, module, info, on_cpu=True) == most
    assert most_at_once(experiment, module, info, on_cpu=False) is None
    fields = {"likelihood": experiment.objective.likelihood}
    own = replace(experiment, data=Data(), objective=Own(**fields))
    assert most_at_once(own, module, info, on_cpu=True) is None


@pytest.mark.parametrize(
    ("objective", "model", "images"),
    [
        # 2^20 values are 1337 decoded images of 784 pixels, 2^18 are 83 maps of the CAE.
        (IWAE(samples=50), Model(), 26),
        (IWAE(samples=5), Model(), 267),
        (PIWAE(samples=4, repeats=8), Model(), 41),
        (IWAE(samples=1), Model(), None),
        (IWAE(samples=5), Model(network="conv", hidden_dims=(16, 32)), 16),
        (IWAE(samples=500), Model(network="conv", hidden_dims=(16, 32)), 1),
    ],
)
def test_several_draws_of_an_image_count_each(objective, model, images):
    info = Info((28, 28, 1))
    experiment = Experiment("own", model=model, objective=objective)
    module = model.build(info)
    assert most_at_once(experiment, module, info, on_cpu=True) == images
    assert most_at_once(experiment, module, info, on_cpu=False) is None
    # What draws by itself, as the bound does, counts decoded codes.
    conv = model.network == "conv"
    assert most_decoded(experiment, module, info, on_cpu=True) == (83 if conv else None)


def test_batches_of_an_evaluation_are_the_trainings_within_the_bounds():
    assert [evaluated_at_once(n, 83, False) for n in (1, 16, 64, 83, 1024)] == [16, 16, 64, 83, 83]
    assert [evaluated_at_once(n, None, False) for n in (4, 128, 1024)] == [4, 128, 1024]
    assert [evaluated_at_once(n, 16, True) for n in (4, 64)] == [4, 64]
