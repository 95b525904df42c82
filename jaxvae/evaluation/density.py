"""A density fitted on a run's codes after training, to sample from: Ghosh et al. 2020, section 4.

arXiv:1903.12436. It gives autoencoders without a prior one, and others a better one than theirs.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.mixture import GaussianMixture

from jaxvae.atomic import atomic
from jaxvae.checks import UsageError, require
from jaxvae.data import Split
from jaxvae.evaluation.trained import Trained, embed, prepare

FILE = "density.npz"


class Density(NamedTuple):
    """A mixture of Gaussians with full covariances, over codes as vectors.

    weights (components,); means (components, latents); covariances (components, latents, latents);
    shape: of a code; step: of the checkpoint that the codes are from.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    shape: tuple[int, ...]
    step: int

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Codes (n, *shape), float32."""
        rng = np.random.default_rng(seed)
        component = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        eps = rng.standard_normal((n, self.means.shape[1]))
        factors = np.linalg.cholesky(self.covariances)
        z = self.means[component] + np.einsum("nij,nj->ni", factors[component], eps)
        return z.reshape(n, *self.shape).astype(np.float32)

    def log_prob(self, codes: ArrayLike) -> np.ndarray:
        """log p(z) in nats, (n,), of codes (n, *shape)."""
        z = np.asarray(codes, float).reshape(len(np.asarray(codes)), 1, -1) - self.means
        factors = np.linalg.cholesky(self.covariances)
        white = np.linalg.solve(factors, z[..., None])[..., 0]
        log_det = 2 * np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        length = self.means.shape[1]
        log_n = -0.5 * (np.square(white).sum(axis=2) + log_det + length * np.log(2 * np.pi))
        return np.logaddexp.reduce(log_n + np.log(self.weights), axis=1)


def fit(codes: np.ndarray, step: int, components: int = 10, seed: int = 0) -> Density:
    """The mixture of so many Gaussians that fits codes (n, ...) best, by scikit-learn's EM.

    Raises:
        UsageError: there are fewer different codes than components.
    """
    rows = np.asarray(codes, float).reshape(len(codes), -1)
    different = len(np.unique(rows, axis=0))
    allowed = f"in 1..{different}, the number of different codes"
    require(1 <= components <= different, "--components", components, allowed)
    found = GaussianMixture(components, covariance_type="full", random_state=seed).fit(rows)
    return Density(found.weights_, found.means_, found.covariances_, codes.shape[1:], step)


def fit_on(
    trained: Trained,
    examples: Split,
    step: int,
    components: int = 10,
    seed: int = 0,
    limit: int = 10_000,
) -> tuple[Density, np.ndarray]:
    """`fit` on the codes of the first `limit` examples, and these codes.

    Raises:
        UsageError: as `fit`.
    """
    codes = embed(trained, prepare(trained, examples.take(range(min(limit, len(examples.images))))))
    return fit(codes, step, components, seed), codes


def save(density: Density, folder: Path) -> Path:
    """Keep it with a run."""
    path = folder / FILE
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **density._asdict())
    return path


def read(folder: Path) -> Density:
    """What was kept with a run.

    Raises:
        UsageError: nothing was, or it is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        raise UsageError(f"{path}: no such file; fit one: jaxvae fit {folder}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in Density._fields}
        shape, step = tuple(found["shape"].tolist()), int(found["step"])
        density = Density(**(found | {"shape": shape, "step": step}))
        density.log_prob(np.zeros((1, *density.shape)))
    except Exception as error:  # zip, NumPy and shapes that do not fit each raise their own
        raise UsageError(f"{path}: damaged ({error}); fit it again") from error
    return density
