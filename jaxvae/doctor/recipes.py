"""What the doctor trains: three models of known size, tiny ones, and images drawn at random."""

from dataclasses import replace

import numpy as np

from jaxvae.config import Data, Experiment, Model, Objective, Optimizer, Train
from jaxvae.data import Dataset, Split

# Models, objectives and optimizers of experiments/mnist_vae.py, mnist_cae.py and mnist_conv_vae.py,
# which are not installed with the package; at the batch size that others measure with.
MODELS = (
    Experiment(
        name="mnist_vae",
        data=Data(batch_size=128),
        model=Model(family="VAE", hidden_dims=(256,), latent_dim=20),
        objective=Objective("bernoulli", batch_reduction="sum"),
        optimizer=Optimizer("adam", learning_rate=1e-3),
    ),
    Experiment(
        name="mnist_cae",
        data=Data(batch_size=128),
        model=Model(
            family="CAE",
            network="conv",
            hidden_dims=(16, 32),
            strides=(2, 2),
            kernel_size=3,
            padding=1,
            output="sigmoid",
        ),
        objective=Objective("mse", recon_reduction="mean"),
        optimizer=Optimizer("adam", learning_rate=1e-3),
    ),
    Experiment(
        name="mnist_conv_vae",
        data=Data(batch_size=128),
        model=Model(
            family="VAE",
            network="conv",
            hidden_dims=(64, 64, 64, 64),
            strides=(1, 2, 2, 1),
            latent_dim=2,
            activation="leaky_relu",
            output="sigmoid",
        ),
        objective=Objective("mse"),
        optimizer=Optimizer("adam", learning_rate=5e-4),
    ),
)

STEPS = 20
"""So many are taken of the tiny ones, in one epoch."""

# Statistics of a batch, noise and a state. Momentum, and not Adam, which would hide a gradient that
# is too large by a factor. One experiment for many checks: compiling takes most of their time.
TINY = Experiment(
    name="tiny",
    data=Data(batch_size=8, validation_fraction=0.2),
    model=Model(hidden_dims=(16,), latent_dim=3, batch_norm=True),
    optimizer=Optimizer("sgd", learning_rate=2e-3, options={"momentum": 0.9}),
    train=Train(epochs=2, chunk_steps=STEPS, figures_every=None),
)
TINY_CONVOLUTIONAL = replace(
    TINY, model=replace(TINY.model, network="conv", hidden_dims=(4,), dropout=0.2)
)

SIDE = 10
"""Height and width of the tiny ones' images."""


def random_images(number: int, side: int) -> np.ndarray:
    """(number, side, side, 1) in uint8: discs of random place and size, so that there is something
    to learn."""
    rng = np.random.default_rng(0)
    row, column, radius = rng.uniform(0.2, 0.8, (3, number, 1, 1)) * side
    y, x = np.mgrid[:side, :side]
    inside = (y - row) ** 2 + (x - column) ** 2 < radius**2 / 4
    grey = inside * 200 + rng.integers(0, 40, inside.shape)
    return grey.astype(np.uint8)[..., None]


def dataset(steps: int, batch_size: int, side: int) -> Dataset:
    """Random images for an epoch of so many steps, and a fifth of all images to validate on."""
    number = steps * batch_size
    images = random_images(number + number // 4, side)
    train, held_out = Split(images[:number], None), Split(images[number:], None)
    return Dataset("random", train, held_out, held_out, None, "")
