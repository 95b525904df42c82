"""The bound of K draws on one device and on four."""

import os
import subprocess
import sys

import numpy as np
import pytest


def main(out: str) -> None:
    """nll and effective sample sizes of 17 images by 33 draws, to a .npy file."""
    import jax

    from jaxvae.evaluation.importance import nll
    from tests.evaluation.test_bounds import variant
    from tests.variants.small import dataset

    trained = variant("iwae")
    # On one device, as those of a checkpoint are.
    own = jax.device_put(trained.variables, jax.local_devices()[0])
    np.save(out, np.stack(nll(trained._replace(variables=own), dataset().validation, 33)))


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.ci
def test_four_devices_find_what_one_does(tmp_path):
    """17 images are no multiple of four; each is the same, to the rounding of float32."""
    found = []
    for devices in ("1", "4"):
        out = tmp_path / f"{devices}.npy"
        command = [sys.executable, "-m", "tests.evaluation.test_bounds_devices", str(out)]
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": devices}
        subprocess.run(command, env=environment, check=True, timeout=300)
        found.append(np.load(out))
    np.testing.assert_allclose(*found, rtol=1e-5)


if __name__ == "__main__":
    main(sys.argv[1])
