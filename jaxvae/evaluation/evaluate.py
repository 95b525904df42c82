"""The objective and the pixel error of a model over a whole split, compiled."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxvae import noise
from jaxvae.config import Experiment
from jaxvae.data.preprocess import noise_keys, preprocess, to_unit
from jaxvae.models import decoder_mean

Means = dict[str, jax.Array]


def in_order(means: Mapping[str, jax.Array | float]) -> dict[str, float]:
    """As plain numbers: loss, recon and kl first, then what else there is."""
    first = ["loss", "recon", "kl"]
    return {name: float(means[name]) for name in [*first, *(n for n in means if n not in first)]}


def not_finite(values: Mapping[str, float]) -> list[str]:
    """The names of those that are infinite or not a number."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def make_evaluate(experiment: Experiment, model: Any, sampled: bool = True) -> Callable[..., Means]:
    """`evaluate(variables, images, key, beta_factor=1)`, pure, over stored images (n, h, w, c).

    Returns the mean over the images of each term of the objective, in nats per image at the full
    beta times `beta_factor`, and `mse`, the mean squared error per pixel of the reconstruction with
    pixels in [0, 1].
    The last partial batch is padded and its examples are weighted, so every image counts once.
    Noise depends on (key, index) alone: epochs are compared under the same draw.

    Args:
        experiment: settings of the data, model and objective.
        model: the module.
        sampled: decode z ~ q(z|x), one sample per image; otherwise the posterior mean.
    """
    batch_size, data = experiment.data.batch_size, experiment.data

    def evaluate(
        variables: Any,
        images: jax.Array,
        key: jax.Array,
        beta_factor: jax.Array | float = 1.0,
    ) -> Means:
        key = noise.stream(key, "evaluate")
        n = images.shape[0]

        def batch_sums(start: jax.Array) -> Means:
            position = start + jnp.arange(batch_size)
            index = jnp.minimum(position, n - 1)
            x = preprocess(data, images[index], noise_keys(data, key, 0, index))
            eps = noise.eps(key, 0, index, experiment.model.latent_dim) * float(sampled)
            output = model.apply(variables, x.input, eps)

            beta = jnp.asarray(experiment.beta_eff(x.target[0].size), float) * beta_factor
            terms = experiment.objective.terms(output, x.target, beta)
            recon = decoder_mean(output.decoded, experiment.model.output)
            error = jnp.square(to_unit(data, recon) - to_unit(data, x.target))
            terms = terms | {"mse": jnp.mean(error.reshape(batch_size, -1), axis=1)}
            return jax.tree.map(lambda t: jnp.sum(jnp.where(position < n, t, 0.0)), terms)

        sums = jax.lax.map(batch_sums, jnp.arange(0, n, batch_size))
        return jax.tree.map(lambda s: jnp.sum(s) / n, sums)

    return evaluate
