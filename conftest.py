"""Programs that several tests need are compiled once in each process that runs tests, and for the
commands that it starts (in JAX_COMPILATION_CACHE_DIR, where that is set); other orders of summation
and seeds, where tests/orders.py asks for them.
"""

import logging
import os
import sys
import tempfile
from importlib.util import find_spec

import numpy as np
import pytest

if find_spec("hypothesis"):  # the machine of `python3 -m gpu` may lack it
    from hypothesis import settings

    # The same examples in every run: what new ones find is for whoever looks for it, with
    # HYPOTHESIS_PROFILE=random, and not for those who changed something else. No example fails by
    # the clock, since the machine may do other work.
    settings.register_profile("seeded", derandomize=True, deadline=None)
    settings.register_profile("random", derandomize=False, deadline=None)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "seeded"))

programs = tempfile.TemporaryDirectory(prefix="jaxvae-programs-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", programs.name)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

if offset := int(os.environ.get("JAXVAE_TEST_SEED", "0")):
    default_rng = np.random.default_rng
    np.random.default_rng = lambda seed=None: default_rng(  # type: ignore[assignment]
        seed + 1000 * offset if isinstance(seed, int) else seed
    )
    if find_spec("torch"):
        import torch

        manual_seed = torch.manual_seed
        torch.manual_seed = lambda seed: manual_seed(seed + 1000 * offset)


@pytest.fixture(autouse=True)
def log_level():
    """A command that ran in this process, before or in a fixture, leaves no trace: it sets the
    level of the log."""
    logging.getLogger("jaxvae").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def torch_seed():
    """PyTorch's weights are the same in every test, whichever ran before it."""
    if torch := sys.modules.get("torch"):  # tests that need no PyTorch run without it
        torch.manual_seed(0)
