"""The axis `data`, over which a batch is divided between devices.

Inside `shard_map` and `pmap` a program sees one device's part of the batch, and the functions
below combine the parts. Under `jit` it sees the whole batch, on one device or, with a mesh, on
many: there XLA divides the work and combines what it must. So one step serves every runner.

What each device has may be taken in parts, one after the other. Nothing can be combined then, and
whatever asks for the whole batch is refused.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TypeVar

import jax
from jax.sharding import PartitionSpec

from jaxvae.checks import UsageError

NAME = "data"

Tree = TypeVar("Tree")


class WholeBatchError(UsageError):
    """What sees a part of a batch asked for the whole; the message says what it is."""


_parts: ContextVar[int] = ContextVar("parts", default=1)


@contextlib.contextmanager
def one_of(parts: int) -> Iterator[None]:
    """What is traced meanwhile sees one of so many parts of what a device has of a batch."""
    token = _parts.set(parts)
    try:
        yield
    finally:
        _parts.reset(token)


def needs_whole(what: str) -> None:
    """Raise a WholeBatchError that says what needs the whole batch, where a part of it is seen."""
    if _parts.get() > 1:
        raise WholeBatchError(what)


def devices() -> int:
    """Between how many devices the batch is divided that a program sees."""
    if is_bound():
        return 1
    return int(dict(jax.sharding.get_abstract_mesh().shape).get(NAME, 1))


def split(tree: Tree, parts: int) -> Tree:
    """Arrays (batch, ...) as (parts, batch / parts, ...), to be taken one after the other.

    Each part has as many examples of every device.
    """
    count = devices()

    def of(x: jax.Array) -> jax.Array:
        own = x.reshape(count, parts, -1, *x.shape[1:]).swapaxes(0, 1)
        own = own.reshape(parts, -1, *x.shape[1:])
        if count > 1:
            own = jax.lax.with_sharding_constraint(own, PartitionSpec(None, NAME))
        return own

    return jax.tree.map(of, tree)


def is_bound() -> bool:
    """Whether a program sees one device's part of the batch."""
    try:
        jax.lax.axis_size(NAME)
    except NameError:
        return False
    return True


def size() -> int:
    """The number of parts that a program sees one of; 1 where it sees the whole batch."""
    return _parts.get() * (jax.lax.axis_size(NAME) if is_bound() else 1)


def mean(tree: Tree) -> Tree:
    """The mean over the parts, which are equal in size, of each array."""
    needs_whole("a mean over the batch")
    return jax.lax.pmean(tree, NAME) if is_bound() else tree


def total(tree: Tree) -> Tree:
    """The sum over the parts of each array."""
    needs_whole("a sum over the batch")
    return jax.lax.psum(tree, NAME) if is_bound() else tree


def gather(x: jax.Array) -> jax.Array:
    """What every part has of (batch, ...), as the whole batch.

    For terms across the batch. Each part then computes the same value, and the mean of the parts'
    gradients is the gradient of that value.
    """
    needs_whole("a term or a layer that looks across the batch")
    return jax.lax.all_gather(x, NAME, tiled=True) if is_bound() else x


def divide(x: jax.Array) -> jax.Array:
    """What is given for the whole batch, (batch, ...), divided over the devices.

    This device's part inside `shard_map` and `pmap`; under `jit` with a mesh the whole of it, of
    which each device holds its part.
    """
    if is_bound():
        part = x.shape[0] // size()
        return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(NAME) * part, part)
    if NAME in jax.sharding.get_abstract_mesh().axis_names:
        return jax.lax.with_sharding_constraint(x, PartitionSpec(NAME))
    return x
