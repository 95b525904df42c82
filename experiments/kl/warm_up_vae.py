"""A VAE whose KL is warmed up, so that no latent is given up before it is used.

loss = recon + beta(t) kl, beta(t) = min(1, t / 1000). Bowman et al. 2016 (arXiv:1511.06349);
Sonderby et al. 2016 (arXiv:1602.02282). Evaluation has beta = 1. 784-256-20, ReLU, mirrored.

Run: jaxvae train warm_up_vae
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="warm_up_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Objective("bernoulli", warmup_steps=1000),
    train=Train(epochs=50, figures_every=0),
)
