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
# # First steps
#
# Train a variational autoencoder, look at what it has learned, and measure it. The data are
# scikit-learn's 8x8 digits, so nothing is downloaded; on two CPU cores the training takes some 20
# s.

# %%
import jaxvae

run = jaxvae.train("digits_vae", epochs=30, figures_every=None)
run

# %% [markdown]
# A *run* is the trained model with its numbers. `history` has a column for every column of
# `metrics.csv`, a number per epoch; losses are in nats per image.

# %%
import numpy as np

history = run.history
best = int(np.argmin(history["val_loss"]))
print(f"epoch {best + 1}: loss {history['val_loss'][best]:.1f}", end=" = ")
print(f"recon {history['val_recon'][best]:.1f} + kl {history['val_kl'][best]:.2f}")
run.figure("curves")

# %% [markdown]
# The two latents of each test image, coloured by its digit, which the model never saw:

# %%
run.figure("latents")

# %% [markdown]
# Decoded on a grid over the latent plane, at the quantiles of the prior N(0, I):

# %%
run.figure("manifold")

# %% [markdown]
# Everything is an array, too: codes are posterior means, images have pixels in [0, 1].

# %%
x = run.dataset.test.images[:8]
z = run.embed(x)
again = run.decode(z)
z.shape, again.shape, float(np.square(again - x / 255).mean())

# %%
run.sample(16, seed=1).shape

# %% [markdown]
# `evaluate` gives the terms of the evidence lower bound on the test images, with z sampled: loss =
# -log p(x|z) + KL(q(z|x) || N(0, I)).

# %%
run.evaluate()

# %% [markdown]
# Fields of the experiment are arguments: a larger weight of the KL, beta = 4, gives codes that are
# closer to the prior, and reconstructions that are worse. A callback may look at the run while it
# trains, add columns to its history, and stop it.


# %%
def active_latents(run, row):
    """How many latents differ between images: the variance of their means is above 0.01."""
    return {"active": int((run.embed().var(axis=0) > 0.01).sum())}


beta4 = jaxvae.train(
    "digits_vae", epochs=10, beta=4.0, latent_dim=10, figures_every=None, callbacks=[active_latents]
)
beta4.history["active"]

# %% [markdown]
# Without a folder a run lasts as long as the variable. `save` keeps it; `jaxvae.load` opens it,
# here or on another machine, and `resume` goes on training, bit for bit as if it had never stopped.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    run.save(f"{folder}/digits")
    same = jaxvae.load(f"{folder}/digits")
    print(np.array_equal(same.embed(x), z))
    longer = same.resume(epochs=31)
    print(longer)
