"""Each variant of ours equals its PyTorch model, and a fault planted in ours is noticed.

A fault is a fragment of our source that is replaced, in a copy of the file; it must be noticed in
the quantities named with it, and in no other.
"""

import inspect
import sys
import types
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

import jaxvae.models.flows
import jaxvae.variants.adversarial
import jaxvae.variants.categorical
import jaxvae.variants.codebooks
import jaxvae.variants.samples  # noqa: F401  # faults are planted in them, wherever tests begin
from jaxvae.runs import load_experiment, names
from jaxvae.runs.names import experiments

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from jaxvae.interop.maps import parameter  # noqa: E402
from jaxvae.interop.weights import to_flax, to_torch  # noqa: E402
from torch_parity.experiments import experiment_of  # noqa: E402
from torch_parity.values import exactly  # noqa: E402
from torch_parity.variants.compare import (  # noqa: E402
    differences,
    our_batch,
    our_training,
    pair_of,
    their_batch,
    their_training,
)
from torch_parity.variants.recipes import VARIANTS  # noqa: E402

pytestmark = pytest.mark.numeric

# Narrower than the files say, and each width another: our model and objective, PyTorch's sizes.
DENSE = {"hidden_dims": (12,), "latent_dim": 4}
SIZES = {"hidden": 12, "latents": 4}
CONVOLUTIONAL = {"hidden_dims": (4, 6), "latent_dim": 3, "codes": 8}
CHANNELS = {"channels": (4, 6), "code_dim": 3, "num_codes": 8}
SMALL: dict[str, Any] = {
    "factor_vae": (DENSE, {"widths": (9, 8, 7)}, SIZES | {"critic_widths": (9, 8, 7)}),
    "aae": (DENSE, {"widths": (9, 8)}, SIZES | {"critic_widths": (9, 8)}),
    "two_layer_vae": (DENSE | {"upper_dim": 3}, {}, {"hidden": (12, 64), "latents": (4, 3)}),
    "vamp_prior_vae": (DENSE | {"components": 6}, {}, SIZES | {"num_pseudo_inputs": 6}),
    "flow_vae": (DENSE | {"layers": 3}, {}, SIZES | {"num_layers": 3}),
    "vq_vae": (CONVOLUTIONAL, {}, CHANNELS),
    "vq_vae_restart": (CONVOLUTIONAL, {}, CHANNELS),
    "vq_vae_gradient": (CONVOLUTIONAL, {}, CHANNELS),
    "residual_vq_vae": (CONVOLUTIONAL | {"levels": 3}, {}, CHANNELS | {"levels": 3}),
    "fsq_vae": (
        {"hidden_dims": (4, 6), "levels": (5, 4, 2)},
        {},
        {"channels": (4, 6), "levels": (5, 4, 2)},
    ),
    "gumbel_vae": (DENSE | {"categories": 3}, {}, {"hidden": 12, "variables": 4, "categories": 3}),
    "joint_vae": (DENSE | {"categories": 3}, {}, SIZES | {"categories": 3}),
}


@pytest.fixture(autouse=True)
def compile_quickly():
    """Of so few steps compiling takes the most; equality must not hang on optimizations."""
    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)


def small(name, path=None):
    """The variant, or another file in its place, with few units, beside its PyTorch model."""
    experiment = experiment_of(name) if path is None else load_experiment(path)
    model, objective, sizes = SMALL.get(name, (DENSE, {}, SIZES))
    experiment = replace(
        experiment,
        model=replace(experiment.model, **model),
        objective=replace(experiment.objective, **objective),
    )
    return pair_of(name, experiment, sizes)


@cache
def theirs(name):
    with exactly("float64"):
        return their_batch(small(name))


def failed(name, path=None):
    """The quantities of a batch in which ours, or a copy of it at `path`, differs."""
    with exactly("float64"):
        return set(differences(name, our_batch(small(name, path)), theirs(name)).failed)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_batch(name):
    assert failed(name) == set()
    quantities = theirs(name)
    assert {"minimised", "loss", "recon", "kl"} <= quantities["terms"].keys()
    assert "logits" in quantities["outputs"]
    for parameter_name, gradient in quantities["gradient"].items():
        assert np.abs(gradient).max() > 0, parameter_name
    if name == "vq_vae":
        assert len(np.unique(quantities["outputs"]["indices"])) >= 5  # of 8
        assert quantities["collections"].keys() == {"codes", "sums", "counts"}


LONG = [name for name in VARIANTS if name not in ("factor_vae", "vq_vae")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow, *[pytest.mark.ci] * (n not in LONG)])
        for n in VARIANTS
    ],
)
def test_a_training(name):
    """Two optimizers and a moving codebook; what the others have besides is in their gradients."""
    pair = small(name)
    with exactly("float64"):
        ours, theirs = our_training(pair), their_training(pair)
    found = differences(name, ours, theirs)
    assert found.passed, str(found)
    losses = theirs["training losses"]["loss"]
    assert len(losses) == 50 and losses[-10:].mean() < 0.99 * losses[:10].mean()  # it learns


@pytest.mark.slow
@pytest.mark.ci
def test_optimizers_of_other_settings_are_noticed():
    """Adam does not see a factor of a gradient, so gradients are compared too; but its own rate."""
    pair = small("factor_vae")

    def altered(**critic):
        def optimizers(model):
            settings = {"lr": 1e-4, "betas": (0.5, 0.9)} | critic
            return [
                torch.optim.Adam(model.autoencoder_parameters(), lr=1e-3),
                torch.optim.Adam(model.critic_parameters(), **settings),
            ]

        return their_training(pair._replace(variant=pair.variant._replace(optimizers=optimizers)))

    with exactly("float64"):
        ours = our_training(pair)
        assert differences("", ours, altered()).passed
        for critic in ({"lr": 1e-3}, {"betas": (0.9, 0.999)}):
            assert "final weights" in differences("", ours, altered(**critic)).failed


class Fault(NamedTuple):
    """What is replaced by what, in the file of an experiment or in a module of the package."""

    variant: str
    noticed_in: set[str]
    changes: dict[str, str]
    module: str | None = None


# In the order in which they import each other: a fault in one reaches those after it.
MODULES = (
    *("objectives.aggregated", "objectives.bounds", "objectives.discrepancies"),
    *("objectives.likelihoods", "objectives.elbo", "models.flows", "models.vector_quantizer"),
    *("models.residual_quantizer", "models.finite_scalars", "models.categorical"),
    *("variants.kl", "variants.samples", "variants.aggregated", "variants.adversarial"),
    *("variants.codebooks", "variants.categorical"),
)
TERMS, GRADIENT, BOTH = {"terms"}, {"gradient"}, {"terms", "gradient"}
ALL = {"terms", "outputs", "gradient"}

FAULTS = {
    "iwae: no log K": Fault("iwae", TERMS, {" - math.log(len(log_w))": ""}, "objectives.bounds"),
    "iwae: analytic kl": Fault(
        "iwae", BOTH, {"kl=output.log_ratio)": "kl=output.kl)"}, "variants.samples"
    ),
    "factor: whole codes permuted": Fault(
        "factor_vae", BOTH, {", independent=True": ""}, "variants.adversarial"
    ),
    "factor: critic trains encoder": Fault(
        "factor_vae", GRADIENT, {"held(codes)": "codes"}, "variants.adversarial"
    ),
    "factor: loss trains critic": Fault(
        "factor_vae",
        GRADIENT,
        {'log_d = critic(held(params["critic"]), z)': 'log_d = critic(params["critic"], z)'},
        "variants.adversarial",
    ),
    "factor: no half": Fault(
        "factor_vae", BOTH, {"-0.5 * (jnp.mean": "-1.0 * (jnp.mean"}, "variants.adversarial"
    ),
    "conditional: decoder without label": Fault(
        "conditional_vae",
        ALL,
        {"decode(self.with_label(z, batch)": "decode(jnp.pad(z, ((0, 0), (0, self.num_classes)))"},
    ),
    "two layers: kl of z1 from N(0, I)": Fault(
        "two_layer_vae", ALL, {"log_density(z1, *of_p1)": "log_density(z1)"}
    ),
    "vamp: no log K": Fault("vamp_prior_vae", TERMS, {" - math.log(self.components)": ""}),
    "vamp: N(0, I)": Fault(
        "vamp_prior_vae", BOTH, {"logvar) - log_p": "logvar) - gaussian_log_density(z)"}
    ),
    "flow: sign of log det": Fault(
        "flow_vae", BOTH, {"logvar) - log_det": "logvar) + log_det"}, "models.flows"
    ),
    "flow: not invertible": Fault("flow_vae", ALL, {"z, invertible(u, w)": "z, u"}, "models.flows"),
    "vq: commitment of codes": Fault(
        "vq_vae",
        GRADIENT,
        {"squared_error(z, held(e))": "squared_error(held(z), e)"},
        "models.vector_quantizer",
    ),
    "vq: smoothed counts kept": Fault(
        "vq_vae",
        {"collections"},
        {"smoothed[:, None], sums, counts)": "smoothed[:, None], sums, smoothed)"},
        "models.vector_quantizer",
    ),
    "vq: codes moved before use": Fault(
        "vq_vae",
        ALL,
        {
            "        e = book[index]\n": "",
            "        aux = {\n": "        if train:\n"
            "            book = values_of(self.averages).moved(z, index, self.decay).codes\n"
            "        e = book[index]\n        aux = {\n",
        },
        "models.vector_quantizer",
    ),
    "vq: decay swapped": Fault(
        "vq_vae",
        {"collections"},
        {"decay: float | None = 0.99": "decay: float | None = 0.01"},
        "variants.codebooks",
    ),
}


def replaced(source, changes):
    for old, new in changes.items():
        assert source.count(old) == 1, f"not once in the source: {old}"
        source = source.replace(old, new)
    return source


def plant(monkeypatch, faulty, changes):
    """Have the family's modules made anew, one of them with a fault, until the test ends."""
    for name in MODULES:
        module = sys.modules[f"jaxvae.{name}"]
        source = inspect.getsource(module)
        source = replaced(source, changes) if name == faulty else source
        fresh = types.ModuleType(module.__name__)
        monkeypatch.setitem(sys.modules, module.__name__, fresh)
        parent, _, last = module.__name__.rpartition(".")
        monkeypatch.setattr(sys.modules[parent], last, fresh)
        exec(compile(source, name, "exec"), vars(fresh))


@pytest.mark.slow
@pytest.mark.ci
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_noticed(fault, tmp_path, monkeypatch):
    name, noticed_in, changes, module = FAULTS[fault]
    experiment = names.resolve(name).read_text()
    if module is None:
        experiment = replaced(experiment, changes)
    else:
        plant(monkeypatch, module, changes)
    path = tmp_path / f"{name}.py"
    path.write_text(experiment)
    assert failed(name, path) == noticed_in


def test_every_variant_has_its_recipe():
    folders = ("published", "jobs", "studies")
    own = [name.rpartition("/") for name in experiments() if "/" in name]
    assert {last for folder, _, last in own if folder not in folders} == VARIANTS.keys()


def test_images_of_a_parameter_are_rows_in_the_order_of_pytorch():
    """(K, height, width, channels) here, (K, channels x height x width) there."""
    ours = {"params": {"u": np.random.default_rng(0).random((2, 4, 5, 3))}}
    weight_map = {"rows": parameter("u", flat_out=(3, 4, 5))}
    rows = to_torch(ours, weight_map)["rows"]
    np.testing.assert_array_equal(rows, np.moveaxis(ours["params"]["u"], -1, 1).reshape(2, -1))
    back = to_flax({"rows": rows}, weight_map, ours)
    np.testing.assert_array_equal(back["params"]["u"], ours["params"]["u"])
