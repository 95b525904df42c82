"""The axis `data`, over which a batch is divided between devices.

Inside `shard_map` and `pmap` a program sees one device's part of the batch, and the functions
below combine the parts. Under `jit` it sees the whole batch, on one device or, with a mesh, on
many: there XLA divides the work and combines what it must. So one step serves every runner.
"""

from typing import TypeVar

import jax
from jax.sharding import PartitionSpec

NAME = "data"

Tree = TypeVar("Tree")


def is_bound() -> bool:
    """Whether a program sees one device's part of the batch."""
    try:
        jax.lax.axis_size(NAME)
    except NameError:
        return False
    return True


def size() -> int:
    """The number of parts that a program sees one of; 1 where it sees the whole batch."""
    return jax.lax.axis_size(NAME) if is_bound() else 1


def mean(tree: Tree) -> Tree:
    """The mean over the parts, which are equal in size, of each array."""
    return jax.lax.pmean(tree, NAME) if is_bound() else tree


def total(tree: Tree) -> Tree:
    """The sum over the parts of each array."""
    return jax.lax.psum(tree, NAME) if is_bound() else tree


def gather(x: jax.Array) -> jax.Array:
    """What every part has of (batch, ...), as the whole batch.

    For terms across the batch. Each part then computes the same value, and the mean of the parts'
    gradients is the gradient of that value.
    """
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
