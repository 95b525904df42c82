"""A batch is a pure function of (seed, epoch, step): nothing about the data needs to be saved."""

import jax
import jax.numpy as jnp
import numpy as np

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


def labelled_per_batch(batch_size: int, num_labelled: int, num_examples: int) -> int:
    """Of each batch so many are labelled: their share of all, but at least one."""
    return min(batch_size - 1, max(1, round(batch_size * num_labelled / num_examples)))


def shared_order(
    key: jax.Array, epoch: jax.Array | int, labels: np.ndarray, batch_size: int
) -> jax.Array:
    """An epoch's order in which every batch has its labelled examples first, the others after.

    Each kind is visited in random order, again and again until the epoch ends.
    """
    own = labelled_per_batch(batch_size, int((labels >= 0).sum()), len(labels))
    steps = steps_per_epoch(len(labels), batch_size)
    epoch_key = jax.random.fold_in(noise.stream(key, "shuffle"), epoch)
    parts = []
    for i, (members, count) in enumerate(
        [(np.flatnonzero(labels >= 0), own), (np.flatnonzero(labels < 0), batch_size - own)]
    ):
        rounds = -(-steps * count // len(members))
        keys = jax.random.split(jax.random.fold_in(epoch_key, i), rounds)
        visits = jax.vmap(lambda k, m=members: jax.random.permutation(k, jnp.asarray(m)))(keys)
        parts.append(visits.reshape(-1)[: steps * count].reshape(steps, count))
    return jnp.concatenate(parts, axis=1).reshape(-1)


def order_of_epoch(
    labelled: int | None,
    labels: np.ndarray,
    key: jax.Array,
    epoch: jax.Array | int,
    batch_size: int,
) -> jax.Array:
    """The order in which an epoch visits the training examples; `labelled` is that of `Data`."""
    if labelled is None:
        return epoch_order(key, epoch, len(labels))
    return shared_order(key, epoch, labels, batch_size)


def batch_index(order: jax.Array, step: jax.Array, batch_size: int) -> jax.Array:
    """The examples of step `step` of the epoch, (batch_size,)."""
    return jax.lax.dynamic_slice_in_dim(order, step * batch_size, batch_size)
