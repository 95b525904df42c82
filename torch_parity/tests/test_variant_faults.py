"""A fault planted in a variant of ours is noticed by the comparison with PyTorch.

variant_faults.toml lists them: what published implementations have wrong, and what a person could
write by mistake. A fault is a fragment of our source that is replaced, in a copy of the file; it
must be noticed in the quantities named with it, and in no other. Schedules and evaluation show in
a training alone.

Three are noticed in none, because they change nothing here. A sigma of `optimal_sigma_vae` that is
not held: it is at the minimum of the loss, where it has no gradient. Gradients through the codes of
earlier levels of `residual_vq_vae`: its codes are moving averages, no parameters. A log cosh that
overflows, as published: errors of pixels are within 1, and a = 10.
"""

import importlib
import inspect
import sys
import tomllib
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from jaxvae.runs import names

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'jaxvae[parity]'"
)
from torch_parity.tests.small_variants import (  # noqa: E402
    compile_quickly,  # noqa: F401  # a fixture
    failed,
    small,
)
from torch_parity.values import exactly  # noqa: E402
from torch_parity.variants.compare import (  # noqa: E402
    differences,
    our_training,
    their_training,
)

pytestmark = pytest.mark.numeric

# In the order in which they import each other: a fault in one reaches those after it.
MODULES = (
    *("objectives.aggregated", "objectives.bounds", "objectives.discrepancies"),
    *("objectives.likelihoods", "objectives.elbo", "models.flows", "models.nearest"),
    *("models.vector_quantizer", "models.residual_quantizer"),
    *("models.finite_scalars", "models.categorical"),
    *("variants.kl", "variants.samples", "variants.aggregated", "variants.adversarial"),
    *("variants.codebooks", "variants.categorical", "variants.labels"),
)
for module_name in MODULES:  # wherever tests begin
    importlib.import_module(f"jaxvae.{module_name}")


class Fault(NamedTuple):
    """What is replaced by what, in the file of an experiment or in a module of the package."""

    path: str
    variant: str
    words: str
    noticed_in: str
    old: str
    new: str
    settings: Mapping[str, Any] = MappingProxyType({})
    """Fields of the objective, on both sides, without which the fault would not show."""
    training: bool = False
    """It shows only in a training."""
    ci: bool = False
    survives: str = ""
    """Why nothing is noticed."""


def read_all():
    found = tomllib.loads(Path(__file__).with_name("variant_faults.toml").read_text())
    for of_file in found["file"]:
        for variant, words, noticed_in, old, new, *more in of_file["faults"]:
            options = more[0] if more else {}
            yield Fault(of_file["path"], variant, words, noticed_in, old, new, **options)


FAULTS = {f"{fault.variant}: {fault.words}": fault for fault in read_all()}


def replaced(source, fault):
    assert source.count(fault.old) == 1, f"not once in the source: {fault.old}"
    return source.replace(fault.old, fault.new)


def plant(monkeypatch, fault):
    """Have the family's modules made anew, one of them with the fault, until the test ends."""
    for name in MODULES:
        module = sys.modules[f"jaxvae.{name}"]
        source = inspect.getsource(module)
        if fault.path == f"jaxvae/{name.replace('.', '/')}.py":
            source = replaced(source, fault)
        fresh = types.ModuleType(module.__name__)
        monkeypatch.setitem(sys.modules, module.__name__, fresh)
        exec(compile(source, name, "exec"), vars(fresh))
        parent, _, last = module.__name__.rpartition(".")
        package = sys.modules[parent]
        monkeypatch.setattr(package, last, fresh)
        for exported, value in vars(module).items():
            if vars(package).get(exported) is value:
                monkeypatch.setattr(package, exported, vars(fresh)[exported])


@cache
def their_trainings(name, **settings):
    with exactly("float64"):
        return their_training(small(name, **settings))


def failed_in_training(name, path, **settings):
    """As `failed`, of the quantities of a training."""
    with exactly("float64"):
        ours = our_training(small(name, path, **settings))
        return set(differences(name, ours, their_trainings(name, **settings)).failed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=[pytest.mark.ci] * FAULTS[f].ci) for f in FAULTS]
)
def test_a_fault_is_noticed(fault, tmp_path, monkeypatch):
    fault = FAULTS[fault]
    source = names.resolve(fault.variant).read_text()
    if fault.path.startswith("experiments/"):
        source = replaced(source, fault)
    else:
        plant(monkeypatch, fault)
    path = tmp_path / f"{fault.variant}.py"
    path.write_text(source)
    found = (failed_in_training if fault.training else failed)(
        fault.variant, path, **fault.settings
    )
    assert found == {name for name in fault.noticed_in.split(", ") if name}


def test_few_survive_and_say_why():
    survivors = [f for f in FAULTS.values() if not f.noticed_in]
    assert all(f.survives for f in survivors) and len(survivors) <= 0.05 * len(FAULTS)
    assert {f.survives for f in FAULTS.values()} == {"", *(f.survives for f in survivors)}
