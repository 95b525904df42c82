"""How many images are evaluated at once."""

from dataclasses import replace

import pytest

from jaxvae import Data, Objective
from jaxvae.evaluation.at_once import evaluated_at_once, most_at_once, widest_map
from jaxvae.info import Info
from jaxvae.runs import load_experiment


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


def test_batches_of_an_evaluation_are_the_trainings_within_the_bounds():
    assert [evaluated_at_once(n, 83, False) for n in (1, 16, 64, 83, 1024)] == [16, 16, 64, 83, 83]
    assert [evaluated_at_once(n, None, False) for n in (4, 128, 1024)] == [4, 128, 1024]
    assert [evaluated_at_once(n, 16, True) for n in (4, 64)] == [4, 64]
