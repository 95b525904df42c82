"""The only place that makes random keys: root -> named stream -> step -> example.

Nothing random is carried in a state. The noise of an example depends on (seed, stream, step, index
of the example in its data set) alone, so it does not change with the number of devices, the layout
of a batch, or where a run was interrupted.
"""

import zlib
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

Stream = Literal["init", "shuffle", "eps", "dropout", "corrupt", "binarize", "evaluate", "sample"]


def root(seed: int | jax.Array) -> jax.Array:
    """The root key of a seed. Threefry always: `rbg` keys ignore all but the first under `vmap`."""
    return jax.random.key(seed, impl="threefry2x32")


def stream(key: jax.Array, name: Stream) -> jax.Array:
    """The key of a named stream below the root."""
    return jax.random.fold_in(key, jnp.uint32(zlib.crc32(name.encode())))


def example_keys(key: jax.Array, step: jax.Array | int, index: jax.Array) -> jax.Array:
    """One key per example, (batch,), from a stream's key, the step and the examples' indices."""
    step_key = jax.random.fold_in(key, step)
    return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(index)


def normal(keys: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Standard normal noise of shape (batch, *shape) from one key per example."""
    return jax.vmap(lambda key: jax.random.normal(key, tuple(shape)))(keys)


def eps(key: jax.Array, step: jax.Array | int, index: jax.Array, latent_dim: int) -> jax.Array:
    """Noise of the reparameterization, N(0, I) of shape (batch, latent_dim), from the root key."""
    return normal(example_keys(stream(key, "eps"), step, index), (latent_dim,))


def dropout_keys(key: jax.Array, step: jax.Array | int, index: jax.Array) -> jax.Array:
    """One key per example, (batch,), for the dropout layers of a model, from the root key."""
    return example_keys(stream(key, "dropout"), step, index)


def uniform(keys: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Uniform noise in [0, 1) of shape (batch, *shape) from one key per example."""
    return jax.vmap(lambda key: jax.random.uniform(key, tuple(shape)))(keys)
