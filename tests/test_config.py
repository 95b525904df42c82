"""Settings refuse bad values by name; the experiment files hold their recipes."""

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train
from jaxvae.runs import load_experiment

NAN, INF = math.nan, math.inf
PARTS = {
    "data": Data,
    "model": Model,
    "objective": Objective,
    "optimizer": Optimizer,
    "train": Train,
}

# The field that is wrong, with what is set: the message names the field and the value.
BAD = [
    ("data.source", {"source": ""}),
    *[("data.batch_size", {"batch_size": n}) for n in (0, -1)],
    *[("data.validation_fraction", {"validation_fraction": f}) for f in (0.0, 1.0, -0.1, NAN)],
    *[("data.limit", {"limit": n}) for n in (0, -5)],
    *[("data.labelled", {"labelled": n}) for n in (0, -5)],
    ("data.batch_size", {"batch_size": 1, "labelled": 10}),
    *[("data.seed", {"seed": n}) for n in (-1, 2**32)],
    *[("data.resize", {"resize": size}) for size in ((0, 28), (28, -1))],
    *[("data.resize", {"resize": size}) for size in (0, (), (28, 28, 28), 28.5, "28")],
    ("data.resize_rule", {"resize_rule": "pillow"}),
    ("data.aspect", {"aspect": "crop"}),
    ("data.pad", {"pad": -1}),
    *[("data.quantize", {"quantize": q}) for q in (0, 256)],
    ("data.quantize", {"quantize": 27, "binarize": "static"}),
    *[("data.range", {"range": r}) for r in ((1.0, 0.0), (0.5, 0.5), (0.0, INF), (NAN, 1.0))],
    ("data.corruption_level", {"corruption_level": 0.1}),
    *[
        ("data.corruption_level", {"corruption": "gaussian", "corruption_level": level})
        for level in (0.0, -1.0, INF, NAN)
    ],
    *[
        ("data.corruption_level", {"corruption": corruption, "corruption_level": level})
        for corruption in ("masking", "salt_pepper")
        for level in (0.0, 1.1, NAN)
    ],
    *[("model.hidden_dims", {"hidden_dims": dims}) for dims in ((0,), (256, -1))],
    ("model.hidden_dims", {"network": "conv", "hidden_dims": ()}),
    ("model.hidden_dims", {"family": "CAE", "hidden_dims": ()}),
    ("model.decoder_dims", {"decoder_dims": (0,)}),
    ("model.decoder_dims", {"network": "conv", "decoder_dims": ()}),
    ("model.decoder_dims", {"family": "CAE", "decoder_dims": (8,)}),
    ("model.dense_dims", {"dense_dims": (8,)}),
    ("model.dense_dims", {"family": "CAE", "dense_dims": (8,)}),
    ("model.dense_dims", {"network": "conv", "dense_dims": (0,)}),
    ("model.expansion", {"expansion": "linear"}),
    ("model.expansion", {"family": "CAE", "expansion": "hidden"}),
    ("model.decoder_strides", {"decoder_dims": (8,), "decoder_strides": (2,)}),
    ("model.decoder_strides", {"network": "conv", "decoder_strides": (2,)}),
    *[
        ("model.decoder_strides", {"network": "conv", "decoder_dims": (8,), "decoder_strides": s})
        for s in ((0,), (2, 2))
    ],
    ("model.decoder_kernel_size", {"network": "conv", "decoder_kernel_size": 3}),
    (
        "model.decoder_kernel_size",
        {"network": "conv", "decoder_dims": (8,), "decoder_kernel_size": 0},
    ),
    (
        "model.padding",
        {"network": "conv", "kernel_size": 5, "padding": 3, "decoder_dims": (8,)}
        | {"decoder_kernel_size": 3},
    ),
    ("model.negative_slope", {"negative_slope": 0.2}),
    *[
        ("model.negative_slope", {"activation": "leaky_relu", "negative_slope": slope})
        for slope in (-0.1, 1.0, NAN)
    ],
    ("model.latent_dim", {"latent_dim": 0}),
    *[
        ("model.strides", {"network": "conv", "hidden_dims": (8, 8), "strides": strides})
        for strides in ((2,), (2, 2, 2), (2, 0))
    ],
    ("model.kernel_size", {"kernel_size": 0}),
    *[("model.padding", {"padding": p}) for p in (-1, 3)],
    *[("model.dropout", {"dropout": rate}) for rate in (-0.1, 1.0, NAN)],
    *[("objective.sigma", {"likelihood": "gaussian", "sigma": s}) for s in (0.0, -1.0, INF, NAN)],
    *[
        ("objective.sigma", {"likelihood": likelihood, "sigma": 0.5})
        for likelihood in ("bernoulli", "gaussian_learned", "mse")
    ],
    *[("objective.beta", {"beta": b}) for b in (-0.1, INF, NAN)],
    ("objective.warmup_steps", {"warmup_steps": -1}),
    *[("optimizer.name", {"name": name}) for name in ("", "ad am")],
    *[("optimizer.learning_rate", {"learning_rate": r}) for r in (0.0, -1.0, INF, NAN)],
    *[("optimizer.decay", {"decay": d}) for d in (0.0, 1.1, NAN)],
    ("optimizer.patience", {"patience": 0}),
    ("optimizer.warmup_steps", {"warmup_steps": -1}),
    *[("optimizer.clip_norm", {"clip_norm": c}) for c in (0.0, -1.0, INF, NAN)],
    *[("optimizer.ema_decay", {"ema_decay": d}) for d in (0.0, 1.0, NAN)],
    ("train.epochs", {"epochs": 0}),
    ("train.max_steps", {"max_steps": 0}),
    ("train.early_stopping", {"early_stopping": 0}),
    ("train.checkpoint_steps", {"checkpoint_steps": 0}),
    ("train.chunk_steps", {"chunk_steps": 0}),
    ("train.figures_every", {"figures_every": -1}),
    ("train.sub_batch", {"sub_batch": 0}),
]


@pytest.mark.parametrize("name, values", BAD, ids=lambda value: str(value))
def test_a_bad_value_is_refused_by_name_in_one_line(name, values):
    part, field = name.split(".")
    with pytest.raises(ValueError) as error:
        PARTS[part](**values)
    message = str(error.value)
    assert message.startswith(f"{name} = {values[field]!r}: must be ")
    assert "\n" not in message


def test_every_field_with_a_bound_is_tested():
    """The fields without one are names of choices and switches, which the command line checks."""
    free = {
        "data.streaming",
        "data.background",
        "data.standardise",
        "data.binarize",
        "data.corruption",
        "model.family",
        "model.network",
        "model.activation",
        "model.code_activation",
        "model.output",
        "model.batch_norm",
        "model.init",
        "model.compute",
        "objective.likelihood",
        "objective.recon_reduction",
        "objective.kl_reduction",
        "objective.batch_reduction",
        "optimizer.options",
        "optimizer.schedule",
        "train.figure_formats",
        "train.figure_footer",
        "train.track",
        "train.report",
    }
    names = {f"{part}.{f.name}" for part, cls in PARTS.items() for f in dataclasses.fields(cls)}
    assert {name for name, _ in BAD} | free == names
    assert not {name for name, _ in BAD} & free


@pytest.mark.parametrize(
    "values, message",
    [
        ({"name": ""}, "name = ''"),
        ({"name": "a/b"}, "name = 'a/b'"),
        ({"name": ".hidden"}, "name = '.hidden'"),
        ({"name": "a", "seed": -1}, "seed = -1"),
        ({"name": "a", "seed": 2**32}, "seed = 4294967296"),
        ({"name": "a", "model": Model(output="sigmoid")}, "model.output = 'sigmoid'"),
        ({"name": "a", "objective": Objective("mse")}, "model.output = 'logits'"),
        ({"name": "a", "data": Data(range=(-1, 1))}, "data.range = (-1, 1)"),
        ({"name": "a", "data": Data(quantize=27, range=(0, 9))}, "data.range = (0, 9)"),
    ],
)
def test_an_experiment_refuses_parts_that_do_not_fit(values, message):
    with pytest.raises(ValueError) as error:
        Experiment(**values)
    assert str(error.value).startswith(f"{message}: must be ")


def test_values_at_the_bounds_are_accepted():
    Data(batch_size=1, limit=1, seed=2**32 - 1, resize=(1, 1), quantize=255)
    Data(corruption="masking", corruption_level=1.0)
    Data(batch_size=2, labelled=1)
    Model(hidden_dims=(), latent_dim=1, kernel_size=1, padding=0)
    Model(network="conv", hidden_dims=(8,), strides=(1,), padding=2)
    Objective(beta=0)
    Optimizer(decay=1, patience=1)
    Train(epochs=1, max_steps=1, early_stopping=1, chunk_steps=1, figures_every=0)
    Experiment("a", seed=2**32 - 1, model=Model(output="linear"), objective=Objective("laplace"))


def test_settings_are_values():
    assert Experiment("a") == Experiment("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Data().batch_size = 3


def test_settings_import_neither_jax_nor_flax():
    code = "import sys, jaxvae.config; print({'jax', 'flax', 'optax'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr


# The recipes: batch size, hidden widths, latents, rate, epochs, and the effective beta.

FOLDER = Path(__file__).parents[1] / "experiments"
RECIPES = {
    "digits_vae": ("digits", 32, (256, 128), 2, 1e-3, 100, 1),
    "fashion_mnist_ae": ("fashion_mnist", 64, (128,), 64, 1e-3, 10, 0),
    "fashion_mnist_vae_sgd": ("fashion_mnist", 32, (400,), 20, 1e-3, 300, 19.6),
    "images_vae": ("./photos", 32, (32, 64, 128, 256), 128, 1e-3, 20, 1),
    "mnist_ae": ("mnist", 64, (128,), 64, 1e-3, 10, 0),
    "mnist_cae": ("mnist", 64, (16, 32), None, 1e-3, 10, 0),
    "mnist_conv_vae": ("mnist", 64, (64, 64, 64, 64), 2, 5e-4, 200, 0.5),
    "mnist_vae": ("mnist", 64, (256,), 20, 1e-3, 10, 1),
    "mnist_vae_2d": ("mnist", 64, (512, 256), 2, 1e-3, 50, 1),
    "mnist_vae_bn": ("mnist", 128, (256, 128), 2, 1e-3, 20, 1),
    "pytorch_examples_vae": ("mnist", 128, (400,), 20, 1e-3, 10, 1),
}


def test_every_experiment_file_has_its_recipe_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_experiments_hold_their_recipe(name):
    experiment = load_experiment(FOLDER / f"{name}.py")
    assert experiment.name == name and experiment.seed == 0
    source, batch_size, hidden_dims, latent_dim, rate, epochs, beta_eff = RECIPES[name]
    data, model, optimizer = experiment.data, experiment.model, experiment.optimizer
    assert (data.source, data.batch_size) == (source, batch_size)
    assert (model.hidden_dims, experiment.train.epochs) == (hidden_dims, epochs)
    assert latent_dim is None or model.latent_dim == latent_dim
    assert optimizer.learning_rate == rate
    assert optimizer.name == ("sgd" if name == "fashion_mnist_vae_sgd" else "adam")
    family = name.replace("_sgd", "").replace("_bn", "").replace("_2d", "").split("_")[-1].upper()
    assert model.family == family
    assert math.isclose(experiment.beta_eff(784), beta_eff)


def test_what_sets_some_recipes_apart():
    sgd = load_experiment(FOLDER / "fashion_mnist_vae_sgd.py")
    assert sgd.optimizer.options == {"momentum": 0.7}
    assert (sgd.data.quantize, sgd.data.range) == (27, (0, 9))
    assert (sgd.model.decoder_dims, sgd.model.output) == ((40, 400), "linear")
    bn = load_experiment(FOLDER / "mnist_vae_bn.py")
    assert bn.model.batch_norm and bn.model.dropout == 0.2
    schedule = (bn.optimizer.schedule, bn.optimizer.decay, bn.optimizer.patience)
    assert schedule == ("plateau", 0.5, 5)
    assert bn.train.early_stopping is not None
    conv = load_experiment(FOLDER / "mnist_conv_vae.py")
    assert (conv.model.strides, conv.model.activation) == ((1, 2, 2, 1), "leaky_relu")
    assert conv.data.validation_fraction == 0.2
    images = load_experiment(FOLDER / "images_vae.py")
    assert (images.data.resize, images.data.aspect) == ((64, 64), "crop")
    assert (images.model.network, images.model.kernel_size) == ("conv", 4)
    assert (images.objective.likelihood, images.objective.sigma) == ("gaussian", 0.1)
    for name in ("mnist_ae", "fashion_mnist_ae", "mnist_cae", "mnist_conv_vae"):
        experiment = load_experiment(FOLDER / f"{name}.py")
        assert (experiment.objective.likelihood, experiment.model.output) == ("mse", "sigmoid")
    for name in ("mnist_ae", "fashion_mnist_ae"):
        assert load_experiment(FOLDER / f"{name}.py").model.code_activation
    for name in ("mnist_vae", "pytorch_examples_vae"):
        experiment = load_experiment(FOLDER / f"{name}.py")
        assert experiment.objective.scale(784, 64) == 64  # the gradient of the sum over the batch
    assert load_experiment(FOLDER / "pytorch_examples_vae.py").model.init == "torch"
