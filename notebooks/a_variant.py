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
# # Write a variant
#
# An objective is a dataclass with a method: from what the model has put out to terms per example.
# This one is MMD-VAE (InfoVAE, Zhao et al. 2019, arXiv:1706.02262): in the place of the KL of each
# image stands the squared maximum mean discrepancy between the codes of a batch and draws of the
# prior, with a Gaussian kernel,
#
# $$\mathrm{MMD}^2(q, p) = \mathrm{E}\,k(z, z') - 2\,\mathrm{E}\,k(z, w) + \mathrm{E}\,k(w, w'),
# \quad z, z' \sim q,\; w, w' \sim p.$$

# %%
from dataclasses import dataclass

import jax.numpy as jnp

import jaxvae


def kernel(a, b):
    """exp(-|a - b|^2 / d) of all pairs, (n, m)."""
    squared = jnp.square(a[:, None] - b[None]).sum(axis=-1)
    return jnp.exp(-squared / a.shape[-1])


@dataclass(frozen=True)
class MMD(jaxvae.Objective):
    weight: float = 100.0
    """Of the discrepancy."""

    def terms(self, output, batch, params):
        recon = self.recon(output, batch, params)
        kl = output.kl.sum(axis=-1)  # logged, and not minimised
        if batch.noise is None:  # means are shown, nothing is drawn
            return {"loss": recon, "recon": recon, "kl": kl}
        prior = batch.noise.normal("mmd", output.z.shape[1:])
        z = output.z
        mmd = kernel(z, z).mean() - 2 * kernel(z, prior).mean() + kernel(prior, prior).mean()
        return {"loss": recon + self.weight * mmd, "recon": recon, "kl": kl, "mmd": mmd}


# %% [markdown]
# It trains like any other: its field is a field, its term is a column. `mmd` is a number of the
# whole batch, shape (); the others are one per example.

# %%
experiment = jaxvae.Experiment(
    "mmd",
    data=jaxvae.Data("digits", batch_size=64),
    model=jaxvae.Model(hidden_dims=(128,), latent_dim=2),
    objective=MMD("bernoulli"),
    train=jaxvae.Train(epochs=30, figures_every=None),
)
run = jaxvae.train(experiment)
run.history["val_mmd"][-1], run.history["val_recon"][-1]

# %%
run.figure("latents")

# %% [markdown]
# A law that it has to keep: with weight 0 it is an autoencoder with noise, whose loss is recon
# alone.

# %%
plain = jaxvae.train(experiment, weight=0.0, epochs=1, quiet=True)
plain.history["val_loss"] == plain.history["val_recon"]

# %% [markdown]
# Written to a file with `experiment = jaxvae.Experiment(...)` at its end, the same lines are a
# variant for the command line: `jaxvae train my_variant.py --objective.weight 30`.
