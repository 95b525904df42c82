"""`jaxvae doctor`: whether this package computes right, repeats and is fast on the devices here.

    report = examine(quick=True)
    print(report.as_text())

Needs no data, no network and no PyTorch. References are NumPy float64, written from the formulas.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxvae.doctor import arithmetic, blocks, environment, loops, losses, repeats, speed
from jaxvae.doctor.report import Check, Checks, Report, Speed, guarded, interrupted

__all__ = ["Check", "Report", "Speed", "examine"]

log = logging.getLogger("jaxvae")

COMPUTES: Checks = blocks.CHECKS | losses.CHECKS | arithmetic.CHECKS | loops.CHECKS
REPEATS: Checks = repeats.CHECKS


def examine(quick: bool = False) -> Report:
    """Examine the default device, and of all local ones how they share a batch.

    Takes about a minute, with `quick` a third of it and fewer cases. A check that fails to run is
    one that says `WRONG`; nothing is raised. Ctrl-C ends it with what was found until then; checks
    that are under way run to their end before the process can exit. Must be called from the main
    thread, since runs are trained on the way.
    """
    began = time.perf_counter()
    found = environment.describe()
    measured: list[Speed] = []

    def measure(quick: bool) -> list[Check]:
        measured.extend(speed.measure(quick))
        return []

    # Most of the time programs are compiled, which several can be at once; what takes longest, a
    # process of its own, comes first. Runs handle signals, so they are trained in the main thread
    # meanwhile, and speed is measured when nothing else runs.
    apart = {name: check for name, check in REPEATS.items() if name in repeats.APART}
    here = {name: check for name, check in REPEATS.items() if name not in repeats.APART}
    results: Results = {}
    with fresh_programs(), contextlib.suppress(KeyboardInterrupt):
        with _at_once(apart | COMPUTES, quick, results):
            _in_turn(here, quick, results)
        _in_turn({"speed": measure}, quick, results)
    computes, repeated = (
        [check for name in names for check in results.get(name, [interrupted(name)])]
        for names in ((*COMPUTES, "speed"), REPEATS)
    )
    seconds = time.perf_counter() - began
    return Report(found, tuple(computes), tuple(repeated), tuple(measured), quick, seconds)


Results = dict[str, list[Check]]
"""What was found, by the name of the check; those that were not finished are not there."""


def _run(name: str, check: Callable[[bool], list[Check]], quick: bool) -> list[Check]:
    log.info("checking: %s", name)
    with jax.enable_x64(False):  # as all settings of JAX in a block, it is that of a thread
        return guarded(name, lambda: check(quick))


@contextlib.contextmanager
def _at_once(checks: Checks, quick: bool, results: Results) -> Iterator[None]:
    """Run these in threads beside the block, at whose end they have ended."""
    pool = ThreadPoolExecutor(os.cpu_count())
    futures: dict[str, Future[list[Check]]] = {}
    try:
        for name, check in checks.items():
            futures[name] = pool.submit(_run, name, check, quick)
        yield
        wait(futures.values())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        done = {name: f for name, f in futures.items() if f.done() and not f.cancelled()}
        results |= {name: future.result() for name, future in done.items()}


def _in_turn(checks: Checks, quick: bool, results: Results) -> None:
    for name, check in checks.items():
        results[name] = _run(name, check, quick)


SETTINGS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@contextlib.contextmanager
def fresh_programs() -> Iterator[None]:
    """Every program is compiled anew, and once: checks that need the same one share it."""
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    # Threads that were interrupted may still write there.
    options: dict[str, Any] = {"prefix": "jaxvae-programs-", "ignore_cleanup_errors": True}
    with tempfile.TemporaryDirectory(**options) as folder:
        try:
            for name, value in zip(SETTINGS, (folder, 0.0, -1), strict=True):
                jax.config.update(name, value)
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
