"""DIP-VAE-I: the posterior means are made uncorrelated, with variance 1.

loss = recon + kl + 10 sum_(i != j) C_ij^2 + 100 sum_i (C_ii - 1)^2, C the covariance of the means
over the batch. Kumar, Sattigeri and Balakrishnan 2018, eq. 6 (arXiv:1711.00848). 784-256-10, ReLU,
mirrored.

Expect: validation loss 355.4 nats at epoch 50 of 50 (recon 278.11, kl 13.78). Seeds 0 to 3: 355.4
    to 365.3, mean 359.5, sd 4.43.
Run: jaxvae train dip_vae_i --population.seeds 4 --train.figures-every None   (41 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.aggregated import DIP

experiment = Experiment(
    name="dip_vae_i",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=10),
    objective=DIP("bernoulli", kind="I", off_diagonal=10.0, diagonal=100.0),
    train=Train(epochs=50, figures_every=0),
)
