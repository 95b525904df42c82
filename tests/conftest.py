"""Strict numerics for every test: no silent promotion of dtypes or ranks; runs in processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_legacy_prng_key", "error")


def pytest_make_parametrize_id(config, val, argname):
    """Bytes do not name a test: a gzip file holds the second it was made in, and the processes
    that share the tests must agree on their names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Decoded images of a test session stay out of the user's cache."""
    if not hasattr(own_cache, "folder"):
        own_cache.folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("JAXVAE_CACHE", str(own_cache.folder))


@pytest.fixture(scope="session")
def start_train() -> Callable[..., subprocess.Popen]:
    """Start `jaxvae train` in a process of its own, with so many CPU devices."""
    started = []

    def start(*options: object, devices: int = 1) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxvae", "train", *map(str, options)],
            env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def run_train(start_train) -> Callable[..., str]:
    """The same to its end, which must have the exit status `status`; returns what it said."""

    def run(*options: object, devices: int = 1, status: int = 0) -> str:
        process = start_train(*options, devices=devices)
        _, said = process.communicate(timeout=300)
        assert process.returncode == status, said
        return said

    return run


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""The browser in which pages are tested; Playwright's own is not downloaded."""
LACKS = next(
    (
        name
        for name, there in (("Playwright", find_spec("playwright")), ("Chromium", CHROMIUM))
        if not there
    ),
    None,
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """For the tests of pages."""
    from tests.report.browsing import chromium

    with chromium() as found:
        yield found


def pytest_report_header() -> str | None:
    return (
        None
        if LACKS is None
        else f"tests of pages in a browser are left out: no {LACKS} is installed"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a browser the tests that are given one are left out; the header says so."""
    if LACKS is None:
        return
    left_out = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
