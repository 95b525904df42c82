"""A sigma-VAE whose variance is, in each batch, the mean squared error.

loss = -log N(x; xhat, sigma^2) + kl, sigma^2 the maximum likelihood estimate for the batch: nothing
to tune or to learn. Rybkin, Daniilidis and Levine 2021 (arXiv:2006.13202). 784-256-20, ReLU,
mirrored. Sigmoid outputs.

Expect: validation loss -1249.7 nats at epoch 48 of 50 (recon -1323.76, kl 74.09, sigma 0.045).
    Seeds 0 to 3: -1270.9 to -1249.7, mean -1256.6, sd 9.85.
Run: jaxvae train optimal_sigma_vae --population.seeds 4 --train.figures-every None   (38 s on a
    core of a shared Xeon)
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
