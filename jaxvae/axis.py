"""The axis `data`, over which a batch is divided between devices.

Inside `shard_map` and `pmap` a program sees one device's part of the batch, and the functions
below combine the parts. Under `jit` it sees the whole batch, on one device or, with a mesh, on
many: there XLA divides the work and combines what it must. So one step serves every runner.

What each device has may be taken in parts, one after the other. What an objective's terms ask for
of the whole batch is then collected in a first pass over the parts and given in a second; whatever
else asks for the whole batch is refused.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxvae.checks import UsageError

NAME = "data"

Tree = TypeVar("Tree")


class WholeBatchError(UsageError):
    """What sees a part of a batch asked for the whole; the message says what it is."""


@dataclass
class Part:
    """One of `number` parts of what a device has of a batch, while it is traced."""

    number: int
    index: jax.Array | None = None
    """Which it is; None in the first pass."""
    known: tuple[jax.Array, ...] = ()
    """What is asked for, of every part, (number, ...), in the order in which it is asked for."""
    asked: list[jax.Array] = field(default_factory=list)
    """What was asked for so far, of this part."""
    in_terms: bool = False
    """Whether terms are traced, which may ask."""

    def of_every_part(self, x: jax.Array) -> jax.Array:
        """(number, ...): in the first pass what is known, or zeros; in the second with this part's
        own, whose gradient counts `number` times, since a mean is taken over the parts."""
        position = len(self.asked)
        self.asked.append(x)
        if self.index is None:
            zeros = jnp.zeros((self.number, *x.shape), x.dtype)
            return self.known[position] if self.known else zeros
        if jnp.issubdtype(x.dtype, jnp.inexact):
            x = x + (self.number - 1) * (x - jax.lax.stop_gradient(x))
        return jax.lax.stop_gradient(self.known[position]).at[self.index].set(x)


_part: ContextVar[Part | None] = ContextVar("part", default=None)


@contextlib.contextmanager
def one_of(part: Part) -> Iterator[None]:
    """What is traced meanwhile sees this part of what a device has of a batch."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


@contextlib.contextmanager
def terms() -> Iterator[None]:
    """What is traced meanwhile are the terms of an objective."""
    part = _part.get()
    if part is None:
        yield
        return
    part.in_terms = True
    try:
        yield
    finally:
        part.in_terms = False


def needs_whole(what: str) -> None:
    """Raise a WholeBatchError that says what needs the whole batch, where a part of it is seen."""
    if _part.get() is not None:
        raise WholeBatchError(what)


def _of_every_part(x: jax.Array, what: str) -> jax.Array | None:
    """(parts, ...); None where no part is seen, but all that a device has.

    Raises:
        WholeBatchError: not an objective's `terms` ask, but a model, whose layers follow each
            other, or another method.
    """
    part = _part.get()
    if part is None:
        return None
    if not part.in_terms:
        raise WholeBatchError(f"{what}, which terms alone may ask for")
    return part.of_every_part(jnp.asarray(x))


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


def joined(x: jax.Array) -> jax.Array:
    """What `split` has split: (parts, batch / parts, ...) as (batch, ...)."""
    count, parts = devices(), len(x)
    whole = x.reshape(parts, count, -1, *x.shape[2:]).swapaxes(0, 1).reshape(-1, *x.shape[2:])
    if count > 1:
        whole = jax.lax.with_sharding_constraint(whole, PartitionSpec(NAME))
    return whole


def is_bound() -> bool:
    """Whether a program sees one device's part of the batch."""
    try:
        jax.lax.axis_size(NAME)
    except NameError:
        return False
    return True


def size() -> int:
    """The number of parts that a program sees one of; 1 where it sees the whole batch."""
    part = _part.get()
    return (1 if part is None else part.number) * (jax.lax.axis_size(NAME) if is_bound() else 1)


def mean(tree: Tree) -> Tree:
    """The mean over the parts, which are equal in size, of each array."""
    tree = _over_parts(tree, "a mean over the batch", jnp.mean)
    return jax.lax.pmean(tree, NAME) if is_bound() else tree


def total(tree: Tree) -> Tree:
    """The sum over the parts of each array."""
    tree = _over_parts(tree, "a sum over the batch", jnp.sum)
    return jax.lax.psum(tree, NAME) if is_bound() else tree


def _over_parts(tree: Tree, what: str, reduce: Callable[..., jax.Array]) -> Tree:
    """Of each array the mean or the sum over the parts that a device takes in turn."""

    def of(x: jax.Array) -> jax.Array:
        each = _of_every_part(x, what)
        return x if each is None else reduce(each, axis=0)

    return jax.tree.map(of, tree)


def gather(x: jax.Array) -> jax.Array:
    """What every part has of (batch, ...), as the whole batch.

    For terms across the batch. Each part then computes the same value, and the mean of the parts'
    gradients is the gradient of that value.
    """
    each = _of_every_part(x, "a term or a layer that looks across the batch")
    x = x if each is None else joined(each)
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
