"""A VAE whose KL is warmed up again and again.

loss = recon + beta(t) kl, where beta rises from 0 to 1 over the first half of each 500 steps and
stays for the rest. Fu et al. 2019 (arXiv:1903.10145). Evaluation has beta = 1. 784-256-20, ReLU,
mirrored.

Expect: validation loss 289.4 nats at epoch 43 of 50 (recon 272.82, kl 16.55). Seeds 0 to 3: 288.4
    to 289.4, mean 288.8, sd 0.43.
Run: jaxvae train cyclical_vae --population.seeds 4 --train.figures-every None   (49 s on a core of
    a shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.kl import Cyclical

experiment = Experiment(
    name="cyclical_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Cyclical("bernoulli", cycle_steps=500, rising=0.5),
    train=Train(epochs=50, figures_every=0),
)
