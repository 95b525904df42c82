# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own images
#
# Arrays or a folder of files: the first line of a training says how they were understood, and what
# was not read. Here they are drawn: 600 small colour images of a disc or a square.

# %%
import numpy as np

rng = np.random.default_rng(0)


def draw(kind: int) -> np.ndarray:
    """A disc (0) or a square (1) of a random place, size and colour, uint8 (32, 32, 3)."""
    rows, columns = np.mgrid[:32, :32]
    center, radius = rng.uniform(10, 22, 2), rng.uniform(5, 9)
    away = np.abs(rows - center[0]), np.abs(columns - center[1])
    inside = np.hypot(*away) < radius if kind == 0 else np.maximum(*away) < radius
    return np.where(inside[..., None], rng.integers(60, 256, 3), 255).astype(np.uint8)


kinds = np.arange(600) % 2
images = np.stack([draw(kind) for kind in kinds])
images.shape, images.dtype

# %% [markdown]
# `jaxvae.Data(images, labels)` takes arrays of NumPy, JAX or PyTorch, integers or floats in [0, 1].
# A folder of files would be `jaxvae.Data("./photos", resize=(64, 64))`: subfolders are classes, or
# the splits `train`, `val` and `test`.
#
# Colours are no coin flips: the likelihood is Gaussian, as wide as reconstructions may be off.
# Where the loss still falls at the end, the training says so: more epochs make pictures clearer.

# %%
import jaxvae

experiment = jaxvae.Experiment(
    "shapes",
    data=jaxvae.Data(images, kinds, batch_size=32),
    model=jaxvae.Model(
        network="conv",
        hidden_dims=(32, 64),
        kernel_size=4,
        dense_dims=(128,),
        latent_dim=8,
        output="sigmoid",
    ),
    objective=jaxvae.Objective("gaussian", sigma=0.1),
    optimizer=jaxvae.Optimizer("adam", 2e-3),
    train=jaxvae.Train(epochs=100, figures_every=None),
)
run = jaxvae.train(experiment)

# %%
run.figure("reconstructions")

# %%
run.figure("samples")

# %% [markdown]
# Between two images: on the straight line between their codes.

# %%
run.figure("interpolations")

# %% [markdown]
# Which images does the model not expect? The negative ELBO of each is a score. Noise has a high
# one.

# %%
noise = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
losses = [run.evaluate(image[None], z="mean")["loss"] for image in images[:5]]
max(losses), run.evaluate(noise, z="mean")["loss"]

# %% [markdown]
# Rows of a table work alike, in scikit-learn's way, with their own units on the way out.

# %%
rows = images.reshape(600, -1, 3).mean(axis=1)  # the mean colour of each image
table = jaxvae.Autoencoder(latent_dim=2, epochs=30, random_state=0).fit(rows)
table.inverse_transform(table.transform(rows[:3])), rows[:3]
