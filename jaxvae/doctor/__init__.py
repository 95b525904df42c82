"""`jaxvae doctor`: whether this package computes right, repeats and is fast on the devices here.

    report = examine(quick=True)
    print(report.as_text())

Needs no data, no network and no PyTorch. References are NumPy float64, written from the formulas.
"""

import contextlib
import logging
import tempfile
import time
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxvae.doctor import arithmetic, blocks, environment, loops, losses, repeats, speed
from jaxvae.doctor.report import Check, Checks, Report, Speed, guarded

__all__ = ["Check", "Report", "Speed", "examine"]

log = logging.getLogger("jaxvae")

COMPUTES: Checks = blocks.CHECKS | losses.CHECKS | arithmetic.CHECKS | loops.CHECKS
REPEATS: Checks = repeats.CHECKS


def examine(quick: bool = False) -> Report:
    """Examine the default device, and of all local ones how they share a batch.

    Takes about a minute, with `quick` a third of it and fewer cases. A check that fails to run is
    one that says `WRONG`; nothing is raised. Must be called from the main thread, since runs are
    trained on the way.
    """
    began = time.perf_counter()
    found = environment.describe()
    with fresh_programs(), jax.enable_x64(False):
        computes = _all_of(COMPUTES, quick)
        repeated = _all_of(REPEATS, quick)
        log.info("measuring the speed")
        measured: list[Speed] = []

        def measure() -> list[Check]:
            measured.extend(speed.measure(quick))
            return []

        computes += guarded("speed", measure)
    seconds = time.perf_counter() - began
    return Report(found, tuple(computes), tuple(repeated), tuple(measured), quick, seconds)


def _all_of(checks: Checks, quick: bool) -> list[Check]:
    results = []
    for name, check in checks.items():
        log.info("checking: %s", name)
        results += guarded(name, lambda check=check: check(quick))  # type: ignore[misc]
    return results


SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@contextlib.contextmanager
def fresh_programs() -> Iterator[None]:
    """Every program is compiled anew, and once: checks that need the same one share it."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    with tempfile.TemporaryDirectory(prefix="jaxvae-programs-") as folder:
        try:
            for name, value in zip(SETTINGS, (folder, 0.0, -1), strict=True):
                jax.config.update(name, value)
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
