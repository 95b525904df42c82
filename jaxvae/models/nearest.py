"""The nearest of a codebook's codes, by a product of matrices and the largest of each row."""

import jax
import jax.numpy as jnp

BLOCK = 16  # entries of a row whose maximum is taken at once


def nearest(z: jax.Array, codes: jax.Array) -> jax.Array:
    """The index of the code next to each of (..., code_dim).

    |z - e|^2 = |z|^2 - 2 (z.e - |e|^2 / 2), so the nearest is where z.e - |e|^2 / 2 is largest.
    """
    rows = z.reshape(-1, z.shape[-1])
    closeness = rows @ codes.T - 0.5 * jnp.sum(jnp.square(codes), axis=1)[None]
    return first_largest(closeness).reshape(z.shape[:-1])


def first_largest(x: jax.Array) -> jax.Array:
    """`argmax` of the rows of (n, m): of 16 neighbours the largest, then in the block that has it.

    XLA's argmax goes through a row one by one on CPUs, where a maximum takes many at once.
    """
    n, m = x.shape
    blocks = jnp.pad(x, ((0, 0), (0, -m % BLOCK)), constant_values=-jnp.inf)
    blocks = blocks.reshape(n, -1, BLOCK)
    which = jnp.argmax(jnp.max(blocks, axis=2), axis=1)
    block = jnp.take_along_axis(blocks, which[:, None, None], axis=1)[:, 0]
    return which * BLOCK + jnp.argmax(block, axis=1)
