"""Bounds on log p(x) from several samples of q(z|x), by their log weights.

log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x), (samples, batch), in nats. Each function returns
a bound, (batch,).
"""

import math

import jax
import jax.numpy as jnp


def mean_elbo(log_w: jax.Array) -> jax.Array:
    """1/K sum_k log w_k: Burda, Grosse and Salakhutdinov 2016, eq. 7 (arXiv:1509.00519)."""
    return jnp.mean(log_w, axis=0)


def importance_weighted(log_w: jax.Array) -> jax.Array:
    """log 1/K sum_k w_k: Burda et al. 2016, eq. 8."""
    return jax.nn.logsumexp(log_w, axis=0) - math.log(len(log_w))


def several_importance_weighted(log_w: jax.Array, repeats: int) -> jax.Array:
    """The mean of `repeats` bounds, each of the next samples / repeats weights.

    MIWAE: Rainforth et al. 2018, section 4 (arXiv:1802.04537).
    """
    groups = log_w.reshape(repeats, -1, *log_w.shape[1:])
    return jnp.mean(jax.vmap(importance_weighted)(groups), axis=0)


def renyi(log_w: jax.Array, alpha: jax.Array | float) -> jax.Array:
    """1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha): Li and Turner 2016, eq. 9 (arXiv:1602.02311).

    alpha = 0 is the importance weighted bound; as alpha goes to 1 it becomes the mean ELBO.
    """
    return importance_weighted((1 - alpha) * log_w) / (1 - alpha)
