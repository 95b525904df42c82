"""A sigma-VAE whose variance is, in each batch, the mean squared error.

loss = -log N(x; xhat, sigma^2) + kl, sigma^2 the maximum likelihood estimate for the batch: nothing
to tune or to learn. Rybkin, Daniilidis and Levine 2021 (arXiv:2006.13202). 784-256-20, ReLU,
mirrored. Sigmoid outputs.

Run: jaxvae train optimal_sigma_vae
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.kl import OptimalSigma

experiment = Experiment(
    name="optimal_sigma_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20, output="sigmoid"),
    objective=OptimalSigma("gaussian"),
    train=Train(epochs=50, figures_every=0),
)
