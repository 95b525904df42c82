"""The same numbers on one device and on four, by every runner, for every variant."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.variants.small import SLOW

RUNNERS = (("jit", 1), ("sharded", 4), ("shard_map", 4), ("pmap", 4))


def main(name: str, out: str) -> None:
    """Four steps and a validation by each runner, in float64, to a .npz file."""
    import jax

    from jaxvae import Parallel
    from jaxvae.training import devices
    from jaxvae.training import program as programs
    from tests.variants.small import dataset, small

    found = {}
    with jax.enable_x64(True):
        for runner, count in RUNNERS:
            program, state = programs.build(small(name), dataset(), Parallel(runner, count))
            sums = program.sums()
            for step in (0, 3):
                for source, number in program.chunks(step, step + 2):
                    state, sums = program.advance(state, sums, source, number)
            means = program.validate(state.variables)
            numbers = devices.local((state.params, state.collections, sums, means))
            leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(numbers)]
            found[runner] = np.concatenate(leaves)
    np.savez(out, **found)


@pytest.mark.numeric
@pytest.mark.parametrize("name", SLOW)
def test_four_devices_compute_what_one_does(name, tmp_path):
    """In float64: sums over devices are taken in another order, and nothing else differs."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "4"}
    command = [sys.executable, "-m", "tests.variants.test_devices", name, str(tmp_path / "out.npz")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "out.npz")
    for runner, _ in RUNNERS[1:]:
        np.testing.assert_allclose(found[runner], found["jit"], rtol=1e-8, atol=1e-10)


if __name__ == "__main__":
    main(*sys.argv[1:])
