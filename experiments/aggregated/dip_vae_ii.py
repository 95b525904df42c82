"""DIP-VAE-II: the codes are made uncorrelated, with variance 1.

loss = recon + kl + 10 sum_(i != j) C_ij^2 + 10 sum_i (C_ii - 1)^2, C the covariance of the codes:
that of the means, and the mean variances on its diagonal. Kumar, Sattigeri and Balakrishnan 2018,
eq. 7 (arXiv:1711.00848). 784-256-10, ReLU, mirrored.

Expect: validation loss 301.7 nats at epoch 49 of 50 (recon 283.40, kl 9.54). Seeds 0 to 3: 300.6 to
    301.7, mean 301.2, sd 0.52.
Run: jaxvae train dip_vae_ii --population.seeds 4 --train.figures-every None   (42 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.aggregated import DIP

experiment = Experiment(
    name="dip_vae_ii",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=10),
    objective=DIP("bernoulli", kind="II", off_diagonal=10.0, diagonal=10.0),
    train=Train(epochs=50, figures_every=0),
)
