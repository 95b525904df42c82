"""What a trained model makes of images and codes: functions from arrays to NumPy arrays.

Images come in as the model sees them (`prepare`), codes have the model's own shape, and pictures
come back with pixels in [0, 1].
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxvae import noise
from jaxvae.checks import UsageError
from jaxvae.config import Data, Experiment
from jaxvae.data.preprocess import Batch, image_shape, noise_keys, preprocess, to_unit

BATCH = 250  # images per call of the model


class Trained(NamedTuple):
    """A model with its parameters, and the experiment that it came from."""

    experiment: Experiment
    model: Any
    variables: Any
    stored_shape: tuple[int, int, int]  # (height, width, channels) of the images before `prepare`

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what the model sees."""
        return image_shape(self.experiment.data, self.stored_shape)


@partial(jax.jit, static_argnames=("model", "method"))
def _apply(model: Any, variables: Any, x: jax.Array, method: str) -> Any:
    return model.apply(variables, x, method=method)


@partial(jax.jit, static_argnames="data")
def _preprocess(data: Data, images: jax.Array, index: jax.Array, key: jax.Array) -> Batch:
    return preprocess(data, images, noise_keys(data, key, 0, index))


def _in_batches(function: Callable[..., Any], *arrays: ArrayLike) -> Any:
    """Apply `function` to batches of equal size, so that it is compiled once; drop the padding."""
    n = len(np.asarray(arrays[0]))
    size = min(n, BATCH)
    parts = []
    for start in range(0, n, size):
        index = np.minimum(np.arange(start, start + size), n - 1)
        part = function(*(np.asarray(a)[index] for a in arrays))
        parts.append(jax.tree.map(lambda x: np.asarray(x)[: n - start], part))  # noqa: B023
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def prepare(trained: Trained, images: ArrayLike, index: ArrayLike | None = None) -> Batch:
    """Input and target from `uint8` images (n, height, width, channels), in the data's range.

    Noise (corruption, binarization) is drawn as in validation, where it follows from the images'
    positions in their split: `index`, (n,), by default 0, 1, ...

    Raises:
        UsageError: the images do not have the shape that the model was made for.
    """
    images = np.asarray(images)
    index = np.arange(len(images)) if index is None else np.asarray(index)
    if images.shape[1:] != trained.stored_shape:
        raise UsageError(
            f"images of shape {images.shape[1:]}: the model takes images of shape "
            f"{trained.stored_shape} (height, width, channels)"
        )
    experiment = trained.experiment
    key = noise.stream(noise.root(experiment.seed), "evaluate")
    return _in_batches(
        lambda x, index: _preprocess(experiment.data, x, index, key),
        images,
        index,
    )


def embed(trained: Trained, x: ArrayLike) -> np.ndarray:
    """Codes (n, latent_dim) of prepared images: posterior means; feature maps for a CAE."""
    return _in_batches(lambda x: _apply(trained.model, trained.variables, x, "embed"), x)


def posterior(trained: Trained, x: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean and logvar of q(z|x) of prepared images, (n, latent_dim) each; for a VAE."""
    return _in_batches(lambda x: _apply(trained.model, trained.variables, x, "encode"), x)


def decode(trained: Trained, z: ArrayLike) -> np.ndarray:
    """Images (n, height, width, channels) from codes: the mean of p(x|z), pixels in [0, 1]."""
    images = _in_batches(lambda z: _apply(trained.model, trained.variables, z, "decode_mean"), z)
    return pixels(trained, images)


def reconstruct(trained: Trained, x: ArrayLike) -> np.ndarray:
    """Prepared images through the deterministic code and back, pixels in [0, 1]."""
    return decode(trained, embed(trained, x))


def pixels(trained: Trained, x: ArrayLike) -> np.ndarray:
    """Images from the data's range to pixels in [0, 1], clipped."""
    return np.clip(to_unit(trained.experiment.data, np.asarray(x)), 0, 1)


def sample(trained: Trained, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`n` codes from the prior and the images decoded from them; for a VAE."""
    key = noise.stream(noise.root(seed), "sample")
    z = noise.normal(noise.example_keys(key, 0, jnp.arange(n)), (trained.model.latent_dim,))
    return np.asarray(z), decode(trained, z)


def has_prior(trained: Trained) -> bool:
    """Whether the model is a VAE: it can be sampled, and it has a posterior."""
    return hasattr(trained.model, "sample")
