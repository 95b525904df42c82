"""The objective and the pixel error of a model over a whole split, compiled."""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import axis, noise
from jaxvae.config import Experiment
from jaxvae.data.lazy import LazyImages
from jaxvae.data.preprocess import noise_keys, preprocess, to_unit
from jaxvae.data.streaming import stream
from jaxvae.models import decoder_mean

Means = dict[str, jax.Array]


def in_order(means: Mapping[str, jax.Array | float]) -> dict[str, float]:
    """As plain numbers: loss, recon and kl first, then what else there is."""
    first = ["loss", "recon", "kl"]
    return {name: float(means[name]) for name in [*first, *(n for n in means if n not in first)]}


def not_finite(values: Mapping[str, float]) -> list[str]:
    """The names of those that are infinite or not a number."""
    return [name for name, value in values.items() if not math.isfinite(value)]


def make_batch_sums(
    experiment: Experiment, model: Any, sampled: bool = True
) -> Callable[..., Means]:
    """`sums(variables, images, index, counted, key, beta_factor=1)`, pure, over one batch.

    Returns the sum over the images that are `counted`, (batch,), of each term of the objective, in
    nats per image at the full beta times `beta_factor`, and of `mse`, the mean squared error per
    pixel of the reconstruction with pixels in [0, 1]. Noise depends on (key, index) alone.

    Args:
        experiment: settings of the data, model and objective.
        model: the module.
        sampled: decode z ~ q(z|x), one sample per image; otherwise the posterior mean.
    """
    data = experiment.data

    def batch_sums(
        variables: Any,
        images: jax.Array,
        index: jax.Array,
        counted: jax.Array,
        key: jax.Array,
        beta_factor: jax.Array | float = 1.0,
    ) -> Means:
        key = noise.stream(key, "evaluate")
        x = preprocess(data, images, noise_keys(data, key, 0, index))
        eps = noise.eps(key, 0, index, experiment.model.latent_dim) * float(sampled)
        output = model.apply(variables, x.input, eps)

        beta = jnp.asarray(experiment.beta_eff(x.target[0].size), float) * beta_factor
        terms = experiment.objective.terms(output, x.target, beta)
        recon = decoder_mean(output.decoded, experiment.model.output)
        error = jnp.square(to_unit(data, recon) - to_unit(data, x.target))
        terms = terms | {"mse": jnp.mean(error.reshape(len(images), -1), axis=1)}
        return jax.tree.map(lambda t: jnp.sum(jnp.where(counted, t, 0.0)), terms)

    return batch_sums


def make_evaluate(experiment: Experiment, model: Any, sampled: bool = True) -> Callable[..., Means]:
    """`evaluate(variables, images, key, beta_factor=1)`, pure, over stored images (n, h, w, c).

    Returns the mean over the images of what `make_batch_sums` sums up. The last partial batch is
    padded and not counted beyond its images, so every image counts once. Epochs are compared under
    the same draw of the noise.
    """
    batch_size = experiment.data.batch_size
    batch_sums = make_batch_sums(experiment, model, sampled)

    def evaluate(
        variables: Any,
        images: jax.Array,
        key: jax.Array,
        beta_factor: jax.Array | float = 1.0,
    ) -> Means:
        n = images.shape[0]

        def sums_from(start: jax.Array) -> Means:
            position = axis.divide(start + jnp.arange(batch_size))
            index = jnp.minimum(position, n - 1)
            return batch_sums(variables, images[index], index, position < n, key, beta_factor)

        sums = jax.lax.map(sums_from, jnp.arange(0, n, batch_size))
        return jax.tree.map(lambda s: jnp.sum(s) / n, sums)

    return evaluate


def evaluate_streamed(
    batch_sums: Callable[..., Means],
    variables: Any,
    images: LazyImages,
    key: jax.Array,
    batch_size: int,
    own: slice = slice(None),
    place: Callable[[Any], Any] = lambda parts: parts,
) -> dict[str, float]:
    """What `make_evaluate` returns, for images that stay in their files, batch by batch.

    Args:
        batch_sums: of `make_batch_sums`, compiled.
        variables: of the model.
        images: (n, height, width, channels).
        key: the run's root key.
        batch_size: images at once.
        own: the rows of a batch that this process reads.
        place: brings those rows to the devices.
    """
    n = len(images)
    position = np.arange(-(-n // batch_size) * batch_size).reshape(-1, batch_size)
    index = np.minimum(position, n - 1)
    total: dict[str, float] = {}
    with contextlib.closing(stream(images, index[:, own], 1)) as chunks:
        for i, chunk in enumerate(chunks):
            batch = chunk[0], index[i, own].astype(np.int32), position[i, own] < n
            # Fetched one by one: of two programs at once, processes on CPUs may begin either.
            for name, value in batch_sums(variables, *place(batch), key).items():
                total[name] = total.get(name, 0.0) + float(value)
    return {name: value / n for name, value in total.items()}
