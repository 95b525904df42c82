"""A batch is a pure function of (seed, epoch, step): nothing about the data needs to be saved."""

import jax

from jaxvae import noise
from jaxvae.checks import UsageError


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Full batches in an epoch; the remainder is dropped, and differs from epoch to epoch.

    Raises:
        ValueError: there is not a single full batch.
    """
    if batch_size > num_examples:
        raise UsageError(
            f"data.batch_size = {batch_size}: must be at most the number of training images, "
            f"{num_examples}"
        )
    return num_examples // batch_size


def epoch_order(key: jax.Array, epoch: jax.Array | int, num_examples: int) -> jax.Array:
    """The order in which an epoch visits the examples, (num_examples,), from the run's root key."""
    epoch_key = jax.random.fold_in(noise.stream(key, "shuffle"), epoch)
    return jax.random.permutation(epoch_key, num_examples)


def batch_index(order: jax.Array, step: jax.Array, batch_size: int) -> jax.Array:
    """The examples of step `step` of the epoch, (batch_size,)."""
    return jax.lax.dynamic_slice_in_dim(order, step * batch_size, batch_size)
