"""Whole trainings in both: optimisers, schedules, an epoch; and mutants of them."""

from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from jaxvae import Data, Experiment, Model, Optimizer, Train, noise
from jaxvae.build import build
from jaxvae.conventions import conventions
from jaxvae.data import Split, load
from jaxvae.evaluation import make_batch_sums, make_evaluate
from jaxvae.info import Info
from jaxvae.training import Variables

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch.optim import SGD, Adam, AdamW  # noqa: E402
from torch.optim.lr_scheduler import (  # noqa: E402
    CosineAnnealingLR,
    ExponentialLR,
    ReduceLROnPlateau,
)

from jaxvae.interop.maps import reference_map  # noqa: E402
from torch_parity.experiments import experiment_of  # noqa: E402
from torch_parity.losses import LOSSES  # noqa: E402
from torch_parity.noise import shared_noise  # noqa: E402
from torch_parity.recipes import RECIPES, Recipe  # noqa: E402
from torch_parity.reference import twin  # noqa: E402
from torch_parity.trajectory import (  # noqa: E402
    Trainings,
    compare_training,
    train_both,
    train_flax,
    train_torch,
)
from torch_parity.values import exactly, flax_variables  # noqa: E402

pytestmark = pytest.mark.numeric

MODEL = Model(hidden_dims=(16,), latent_dim=3, batch_norm=True, activation="tanh")
MAP = reference_map(MODEL, (28, 28, 1))
STEPS, EPOCHS = 10, 5

# name: ours, PyTorch's optimiser and scheduler, and mutants of the two
ADAM = Optimizer("adam", learning_rate=1e-2, schedule="exponential", decay=0.5)
SGDM = Optimizer("sgd", 0.02, options={"momentum": 0.9})
# So slow that no epoch improves by 1e-4, relative: the rate falls after every second one.
PLATEAU = Optimizer("adam", 1e-7, schedule="plateau", decay=0.3, patience=1)
ADAMW = Optimizer("adamw", 1e-2, options={"weight_decay": 0.1}, schedule="cosine")


def plateau(optimizer, **changed):
    return ReduceLROnPlateau(optimizer, **({"factor": 0.3, "patience": 1} | changed))


def cosine(optimizer):
    return CosineAnnealingLR(optimizer, STEPS * EPOCHS)


CASES: dict[str, Any] = {
    "adam, exponential": (ADAM, lambda p: Adam(p, 1e-2), lambda o: ExponentialLR(o, 0.5), {}),
    "sgd with momentum": (
        SGDM,
        lambda p: SGD(p, 0.02, momentum=0.9),
        None,
        {
            "nesterov": (lambda p: SGD(p, 0.02, momentum=0.9, nesterov=True), None),
            "dampening": (lambda p: SGD(p, 0.02, momentum=0.9, dampening=0.1), None),
        },
    ),
    "adam, plateau": (
        PLATEAU,
        lambda p: Adam(p, 1e-7),
        plateau,
        {"patience": (lambda p: Adam(p, 1e-7), lambda o: plateau(o, patience=2))},
    ),
    "adamw, cosine": (
        ADAMW,
        lambda p: AdamW(p, 1e-2, weight_decay=0.1),
        cosine,
        {  # trap 7: PyTorch's Adam adds its weight decay to the gradient
            "weight decay in the gradient": (lambda p: Adam(p, 1e-2, weight_decay=0.1), cosine),
            "epsilon": (lambda p: AdamW(p, 1e-2, eps=1e-3, weight_decay=0.1), cosine),
        },
    ),
}


@cache
def digits():
    """160 images to train on, and 70 to validate on: not a multiple of the batch (trap 13)."""
    dataset = load(Data("digits"))
    train = Split(dataset.train.images[: 16 * STEPS], None)
    held_out = Split(dataset.validation.images[:70], None)
    return dataset._replace(train=train, validation=held_out, test=held_out)


LONG = {"adam, plateau", "adam, exponential", "adamw, cosine", "sgd with momentum"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=[pytest.mark.slow] * (name in LONG)
            + [pytest.mark.ci] * (name == "adamw, cosine"),
        )
        for name in CASES
    ],
)
def test_optimisers_and_schedules(name):
    settings, optimizer, scheduler, mutants = CASES[name]
    experiment = Experiment(
        "training",
        data=Data("digits", batch_size=16),
        model=MODEL,
        objective=conventions["flax"],
        optimizer=settings,
        train=Train(epochs=EPOCHS),
    )
    with exactly("float64"):
        torch.manual_seed(0)
        model = twin(MODEL, (1, 28, 28)).double()
        start = {name: value.clone() for name, value in model.state_dict().items()}
        ours = train_flax(experiment, digits(), model, MAP)

        def theirs(optimizer, scheduler):
            model.load_state_dict(start)
            recipe = Recipe(lambda: model, LOSSES["flax"], optimizer, scheduler)
            return train_torch(experiment, digits(), recipe, model, MAP)

        def against(trajectory):
            return Trainings(ours, trajectory, trajectory)

        # The rates are high, so that mutants show: each step enlarges the rounding of those before
        # it, in 50 steps to some 1e-8.
        for difference in compare_training(against(theirs(optimizer, scheduler)), 1e-7):
            assert difference.equal, str(difference)
        assert (len(set(ours.learning_rates)) > 1) == (scheduler is not None)  # it acted
        for mutant, changed in mutants.items():
            found = compare_training(against(theirs(*changed)), 1e-7)
            assert {d.quantity for d in found if not d.equal}, mutant


def test_trap_13_last_partial_batch():
    """A mean of batch means gives a small last batch more weight; here every image counts once."""
    images = digits().validation.images[:].copy()  # 70, in batches of 16
    images[-6:] = 255  # the last, partial batch is reconstructed worse than the others
    with exactly("float64"):
        model = twin(MODEL, (1, 28, 28)).double().eval()
        with torch.no_grad():  # dark pixels, of which white ones are far
            [*_, last_bias] = [p for n, p in model.named_parameters() if n.startswith("decoder")]
            last_bias.fill_(-1.0)
        experiment = Experiment(
            "uneven", data=Data("digits", batch_size=16), model=MODEL, objective=conventions["flax"]
        )
        info = Info((28, 28, 1))
        module = build(MODEL, info)
        variables = flax_variables(module, model, MAP, experiment, (28, 28, 1))
        evaluate = jax.jit(
            make_evaluate(make_batch_sums(experiment, module, info, sampled=False), batch_size=16)
        )
        none, labels = Variables(variables, {}), np.full(70, -1)
        ours = float(evaluate(none, images, labels, noise.root(0))["loss"])

        def theirs(images):
            x = torch.tensor(images / 255).movedim(-1, 1)
            zeros = torch.zeros(len(x), MODEL.latent_dim, dtype=torch.float64)
            with torch.no_grad(), shared_noise(model, zeros, noise.root(0), MAP):
                pixels, mean, logvar = model(x)
            return LOSSES["flax"](pixels, mean, logvar, x).item()

        batch_means = [theirs(images[i : i + 16]) for i in range(0, 70, 16)]
        np.testing.assert_allclose(ours, theirs(images), rtol=1e-12)
        assert np.mean(batch_means) > 1.001 * ours


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mnist_vae", marks=pytest.mark.slow),
        pytest.param("mnist_vae_bn", marks=[pytest.mark.slow, pytest.mark.ci]),
        pytest.param("mnist_cae", marks=pytest.mark.slow),
    ],
)
def test_an_epoch_of_the_digits(name):
    """All 1438 images, with the experiment's own batch size; docs/parity.md has MNIST's 60 000."""
    experiment = experiment_of(name)
    experiment = replace(
        experiment,
        data=replace(experiment.data, source="digits"),
        train=replace(experiment.train, epochs=1),
    )
    weight_map = reference_map(experiment.model, (28, 28, 1))
    trainings = train_both(experiment, load(experiment.data), RECIPES[name], weight_map)
    ours = trainings.ours
    assert len(ours.training_losses) == 1438 // experiment.data.batch_size
    assert np.ptp(ours.training_losses) > 0.05 * ours.training_losses.max()  # it learns
    for difference in compare_training(trainings, 1e-10):
        assert difference.equal, str(difference)
