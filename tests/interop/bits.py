"""What several tests assert."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from jaxvae.models import decoder_mean
from jaxvae.training.load import load
from tests.given import batch


def assert_same_bits(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    """The same keys, dtypes, shapes and bits."""
    assert ours.keys() == theirs.keys()
    for key, array in theirs.items():
        assert (ours[key].dtype, ours[key].shape) == (array.dtype, array.shape), key
        assert ours[key].tobytes() == array.tobytes(), key


def computed(run: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """What a run's model makes of images (n, channels, height, width), at the means, in float64.

    Pixels, shaped like the images, and `mean` and `logvar` of a VAE.
    """
    trained, _ = load(run)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trained.variables.model)
        output = jax.jit(trained.model.apply)(double, batch(np.moveaxis(images, 1, -1)))
        pixels = decoder_mean(output.decoded, trained.experiment.model.output)
    heads = {
        name: np.asarray(output.aux[name]) for name in ("mean", "logvar") if name in output.aux
    }
    return {"pixels": np.moveaxis(np.asarray(pixels), -1, 1), **heads}


def assert_same_values(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> None:
    """Equal in double precision, as sums of some hundreds of products in a few layers are."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        limit = 1e-12 * abs(value).max()
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=limit, err_msg=name)
        assert np.ptp(value) > 1e-3, name  # no comparison of constants
