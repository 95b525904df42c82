"""What the processes of a distributed run agree on."""

import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxvae.checks import UsageError, require

log = logging.getLogger("jaxvae")


def start_process(coordinator: str | None, processes: int | None, index: int | None) -> None:
    """Join the other processes of a distributed run; before anything is computed.

    Waits five minutes for them. Then, as when one of them fails later, JAX ends the process.

    Raises:
        UsageError: the cluster is not known to JAX and not given, or the port is taken.
    """
    given = (coordinator, processes, index)
    log.info("waiting for the other processes%s", f" at {given[0]}" if given[0] else "")
    try:
        # Short, so that where one process fails the others end soon.
        jax.distributed.initialize(
            *given, heartbeat_timeout_seconds=30, shutdown_timeout_seconds=15
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"parallel.distributed: cannot start ({reason}); give"
            " --parallel.coordinator HOST:PORT --parallel.processes N --parallel.index I"
        ) from error


def is_first() -> bool:
    """Whether this process is the one that writes and speaks for all."""
    return jax.process_index() == 0


def first_decides(check: Callable[[], None]) -> None:
    """Call `check` in the first process; where it raises, every process does."""
    if jax.process_count() == 1:
        return check()
    refusal: Exception | None = None
    if is_first():
        try:
            check()
        except Exception as error:
            refusal = error
    refused = multihost_utils.broadcast_one_to_all(np.asarray(refusal is not None))
    if refusal is not None:
        raise refusal
    if refused:
        raise UsageError("refused by the first process, which says why")
    return None


def from_first(text: str) -> str:
    """The text of the first process."""
    if jax.process_count() == 1:
        return text
    own = np.frombuffer(text.encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(own.size)))
    padded = np.resize(own, length)
    return multihost_utils.broadcast_one_to_all(padded).astype(np.uint8).tobytes().decode()


def refuse_other_folder(folder: Path) -> None:
    """Every process must see what the first one writes.

    Raises:
        UsageError: one does not, in every process.
    """
    if jax.process_count() == 1:
        return
    token = folder / from_first(f".seen-{secrets.token_hex(8)}.{os.getpid()}.tmp")
    if is_first():
        token.touch()
    wait_for_all("a token is written")
    deadline = time.monotonic() + 10  # a network file system may take a moment to tell
    while not token.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    missing = any_process(not token.exists())
    if is_first():
        token.unlink()
    allowed = "one folder that all processes see"
    require(not missing, "--out", str(folder), allowed)


def any_process(flag: bool) -> bool:
    """Whether `flag` holds in at least one process."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.asarray(flag)).any())


def wait_for_all(what: str) -> None:
    """Every process waits here for the others, as long as it takes the slowest to get here."""
    if jax.process_count() > 1:
        from orbax.checkpoint import multihost  # takes a second to import

        # Not a collective of the devices, which gives up after half a minute.
        multihost.get_barrier_sync_fn()(key=what, timeout_ms=24 * 3600 * 1000)
