"""A linear Gaussian model whose evidence and posterior are known."""

import jax.numpy as jnp
import numpy as np

from jaxvae import Data, Experiment, Model, Objective
from jaxvae.data import Split
from jaxvae.evaluation import Trained
from jaxvae.info import Info
from jaxvae.training.state import Variables

FEATURES, SIGMA = 5, 0.7


def linear_gaussian(latents: int, spread: float = 1.0) -> tuple[Trained, np.ndarray, np.ndarray]:
    """p(x|z) = N(W z + b, sigma^2) with orthogonal columns, and q(z|x) the posterior.

    Its standard deviations are `spread` times those of the posterior. Also returns W and b.
    """
    rng = np.random.default_rng(3)
    columns = np.linalg.qr(rng.normal(size=(FEATURES, latents)))[0] * np.arange(1, latents + 1)
    b = rng.normal(size=FEATURES)
    variance = 1 / (1 + (columns**2).sum(axis=0) / SIGMA**2)
    kernel = columns * variance / SIGMA**2
    logvar = np.log(variance * spread**2)
    params = {
        "mean": {"kernel": kernel, "bias": -b @ kernel},
        "logvar": {"kernel": np.zeros((FEATURES, latents)), "bias": logvar},
        "decoder": {"Dense_0": {"kernel": columns.T, "bias": b}},
    }
    experiment = Experiment(
        "linear",
        data=Data({"values": np.zeros((1, FEATURES), np.float32)}, batch_size=4),
        model=Model(hidden_dims=(), latent_dim=latents, output="linear"),
        objective=Objective("gaussian", sigma=SIGMA),
    )
    info = Info((FEATURES,), maximum=None)
    variables = Variables({"params": _floats(params)}, {})
    return (
        Trained(experiment, experiment.model.build(info), variables, (FEATURES,), info),
        columns,
        b,
    )


def _floats(tree):
    return {
        k: _floats(v) if isinstance(v, dict) else jnp.asarray(v, jnp.float32)
        for k, v in tree.items()
    }


def drawn(columns: np.ndarray, b: np.ndarray, n: int) -> Split:
    """Rows of the model's own."""
    rng = np.random.default_rng(4)
    z = rng.normal(size=(n, columns.shape[1]))
    x = z @ columns.T + b + SIGMA * rng.normal(size=(n, FEATURES))
    return Split(x.astype(np.float32), None)


def evidence(columns: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log N(x; b, W W^T + sigma^2 I), (n,)."""
    covariance = columns @ columns.T + SIGMA**2 * np.eye(FEATURES)
    d = x.astype(float) - b
    squared = (d * np.linalg.solve(covariance, d.T).T).sum(axis=1)
    log_det = np.linalg.slogdet(covariance)[1]
    return -0.5 * (squared + log_det + FEATURES * np.log(2 * np.pi))
