"""What is measured on one device and on four: the bound of K draws, and every group."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jaxvae
from jaxvae.evaluation import classifier
from jaxvae.evaluation.importance import nll
from tests.evaluation.test_bounds import variant
from tests.variants.small import dataset

GROUPS = ("elbo", "nll", "units", "decomposition", "probes", "clusters", "anomaly", "samples")
GROUPS += ("reconstruction", "geometry")
"""Those that apply to digits, which have labels and no factors."""


def bounds(out: str) -> None:
    """nll and effective sample sizes of 17 images by 33 draws, to a JSON file."""
    trained = variant("iwae")
    # On one device, as those of a checkpoint are.
    own = jax.device_put(trained.variables, jax.local_devices()[0])
    found = nll(trained._replace(variables=own), dataset().validation, 33)
    with open(out, "w") as file:
        json.dump(np.stack(found).tolist(), file)


def groups(run: str, out: str) -> None:
    """What every group says of a run, to a JSON file."""
    classifier.STEPS = 60
    found = jaxvae.load(run).evaluate(*GROUPS, num_samples=33, normal=range(5))
    with open(out, "w") as file:
        json.dump(found, file)


def on_one_and_on_four(tmp_path, *arguments):
    """What this file writes, as a program, of so many devices."""
    found = []
    for devices in ("1", "4"):
        out = tmp_path / f"{devices}.json"
        command = [sys.executable, "-m", "tests.evaluation.test_devices", *map(str, arguments)]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": devices}
        subprocess.run([*command, str(out)], env=environment, check=True, timeout=300)
        found.append(json.loads(out.read_text()))
    return found


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.ci
def test_four_devices_find_what_one_does(tmp_path):
    """17 images are no multiple of four; each is the same, to the rounding of float32."""
    np.testing.assert_allclose(*on_one_and_on_four(tmp_path, "bounds"), rtol=1e-5)


@pytest.mark.slow
def test_every_group_finds_on_four_devices_what_it_does_on_one(tmp_path):
    """Of 99 digits, no multiple of four. Only bounds are divided between devices, and round as
    above; an area under the curve of theirs moves by 1 / (49 x 50) where two images change places.
    """
    settings = {"hidden_dims": (16,), "limit": 99, "epochs": 2, "figures_every": None}
    jaxvae.train("digits_vae", tmp_path / "run", quiet=True, **settings)
    one, four = on_one_and_on_four(tmp_path, "groups", tmp_path / "run")
    assert {*one} == {*four} == {*GROUPS}
    for name in GROUPS:
        swapped = 5e-4 if name == "anomaly" else 1e-6
        assert four[name] == pytest.approx(one[name], rel=1e-5, abs=swapped), name


if __name__ == "__main__":
    {"bounds": bounds, "groups": groups}[sys.argv[1]](*sys.argv[2:])
