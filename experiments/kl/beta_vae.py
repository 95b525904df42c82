"""A beta-VAE: the KL weighs more than in the bound.

loss = recon + beta kl, beta = 4. Higgins et al. 2017, eq. 4
(https://openreview.net/forum?id=Sy2fzU9gl). 784-256-20, ReLU, mirrored. With beta = 1 it is the
VAE.

Expect: validation loss 315.6 nats at epoch 49 of 50 (recon 291.55, kl 6.00). Seeds 0 to 3: 314.5 to
    315.6, mean 315.1, sd 0.42.
Run: jaxvae train beta_vae --population.seeds 4 --train.figures-every None   (61 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="beta_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Objective("bernoulli", beta=4.0),
    train=Train(epochs=50, figures_every=0),
)
