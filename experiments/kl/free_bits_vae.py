"""A VAE with free bits: what a latent holds below a threshold costs nothing.

loss = recon + sum_j max(0.5, KL_j), KL_j the batch's mean of latent j, in nats. Kingma et al. 2016
(arXiv:1606.04934). 784-256-20, ReLU, mirrored.

Run: jaxvae train free_bits_vae
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.kl import FreeBits

experiment = Experiment(
    name="free_bits_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=FreeBits("bernoulli", free_nats=0.5),
    train=Train(epochs=50, figures_every=0),
)
