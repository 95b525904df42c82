"""A beta-VAE: the KL weighs more than in the bound.

loss = recon + beta kl, beta = 4. Higgins et al. 2017, eq. 4
(https://openreview.net/forum?id=Sy2fzU9gl). 784-256-20, ReLU, mirrored. With beta = 1 it is the
VAE.

Run: jaxvae train beta_vae
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="beta_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Objective("bernoulli", beta=4.0),
    train=Train(epochs=50, figures_every=0),
)
