"""A VAE of rendered sprites with a capacity: the objective of capacity_vae on sprites_beta_vae.

Its gamma is swept, as beta is; the capacity rises to 25 nats over the training (Burgess et al.
2018, arXiv:1804.03599).

Expect: validation loss 63.2 nats at epoch 5 of 5 (recon 27.53, kl 23.81).
Run: jaxvae train sprites_capacity_vae   (113 s on 2 cores of a shared Xeon)
"""

from dataclasses import replace

from jaxvae.runs import load_experiment
from jaxvae.variants.kl import Capacity

of_sprites = load_experiment("sprites_beta_vae")
experiment = replace(
    of_sprites,
    name="sprites_capacity_vae",
    objective=Capacity("bernoulli", gamma=30.0, capacity=25.0, capacity_steps=3000),
)
