"""Models of many kinds with random weights, in run folders that no training filled."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae import Data, Experiment, Model, Objective, runs
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import Trained
from jaxvae.report import Reported
from jaxvae.variants.codebooks import FSQ, RQ, VQ, Quantisation, QuantisedModel
from tests.evaluation import subjects

CONV = {"network": "conv", "hidden_dims": (4, 6), "latent_dim": 3}
NORMED = {"batch_norm": True, "activation": "leaky_relu", "negative_slope": 0.2}
MODELS: dict[str, Model] = {
    "dense": Model(hidden_dims=(16, 8), latent_dim=2),
    "batch_norm": Model(hidden_dims=(16, 8), latent_dim=2, **NORMED),
    "gelu_ae": Model(family="AE", hidden_dims=(16,), activation="gelu", code_activation=True),
    "conv": Model(**CONV, kernel_size=4, activation="silu"),
    "conv_dense": Model(**CONV, dense_dims=(7,), **NORMED),
    "conv_expansion": Model(**CONV, expansion="activation", strides=(2, 1), activation="elu"),
    "other_decoder": Model(**CONV, decoder_dims=(5, 3), decoder_kernel_size=4, activation="tanh"),
    "cae": Model(family="CAE", hidden_dims=(4, 2), activation="sigmoid"),
    "vq": VQ(network="conv", hidden_dims=(4, 6), latent_dim=5, codes=8),
    "rq": RQ(network="conv", hidden_dims=(4, 6), latent_dim=5, codes=8, levels=3),
    "fsq": FSQ(network="conv", hidden_dims=(4, 6), levels=(5, 2, 4)),
    "residual": VQ(
        **{"network": "conv", "hidden_dims": (4, 6), "latent_dim": 5, "codes": 8},
        **{"residual_blocks": 2, "residual_dim": 3},
    ),
    "residual_normed": VQ(
        **{"network": "conv", "hidden_dims": (4, 6), "latent_dim": 5, "codes": 8},
        **{"residual_blocks": 1, "residual_dim": 3, **NORMED},
    ),
    "linear": Model(hidden_dims=(), latent_dim=1),
}


def experiment(model: Model, **settings: Any) -> Experiment:
    quantised = isinstance(model, QuantisedModel)
    objective = Quantisation("bernoulli") if quantised else Objective("bernoulli")
    settings = {"data": Data("digits", batch_size=8), "objective": objective} | settings
    return Experiment("made", model=model, **settings)


def jiggled(trained: Trained, seed: int = 0) -> Trained:
    """With other biases, statistics and all than a model begins with."""
    rng = np.random.default_rng(seed)

    def moved(path: Any, x: Any) -> Any:
        by = rng.normal(0, 0.2, x.shape).astype(np.float32)
        return jnp.exp(by) if path[-1].key == "var" else jnp.asarray(x) + by

    model = jax.tree_util.tree_map_with_path(moved, trained.variables.model)
    return trained._replace(variables=trained.variables._replace(model=model))


def rounded(trained: Trained) -> Trained:
    """With kernels of half precision, as the page has them."""

    def half(path: Any, x: Any) -> Any:
        return x.astype(np.float16).astype(np.float32) if path[-1].key == "kernel" else x

    model = jax.tree_util.tree_map_with_path(half, trained.variables.model)
    return trained._replace(variables=trained.variables._replace(model=model))


def trained(model: Model, dataset: Dataset | None = None, **settings: Any) -> Trained:
    """A model of 12x12 stripes, or of other data."""
    return jiggled(subjects.trained(experiment(model, **settings), dataset or subjects.dataset()))


def reported(folder: Path, made: Trained, data: Dataset | None = None, **fields: Any) -> Reported:
    """A run of it, of two epochs."""
    data = subjects.dataset() if data is None else data
    config = runs.describe(made.experiment, made.stored_shape, made.info)
    runs.write_json(folder / "config.json", config)
    rows = [{"epoch": e, "step": 9 * e, "val_loss": 9.0 - e, "learning_rate": 0.5} for e in (1, 2)]
    terms = {
        "train_loss": 9.5,
        "train_recon": 9.0,
        "train_kl": 0.5,
        "val_recon": 7.0,
        "val_kl": 1.0,
    }
    return Reported(folder, made, data, [terms | row for row in rows], **{"summary": {}} | fields)


def colour(n: int, seed: int) -> Split:
    """Noise of three channels."""
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (n, 9, 10, 3), np.uint8), np.arange(n, dtype=np.int32) % 2)


def signals(n: int, seed: int) -> Split:
    """Waves of two channels."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 6, (n, 1, 2)) + np.linspace(0, 6, 16).reshape(1, 16, 1)
    return Split(np.sin(phase).astype(np.float32), None)


def dataset_of(made: Any, name: str = "made", classes: tuple[str, ...] | None = None) -> Dataset:
    train, test = made(40, 0), made(20, 1)
    return Dataset(name, train, test, test, classes, name)
