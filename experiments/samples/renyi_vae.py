"""The variational Renyi bound: a family from the ELBO to the IWAE's bound.

loss = -1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha), alpha = 0.5 and K = 5. Li and Turner 2016
(arXiv:1602.02311). 784-256-20, ReLU, mirrored.

Expect: validation loss 286.3 nats at epoch 48 of 50 (recon 273.72, kl 14.76). Seeds 0 to 3: 286.3
    to 286.6, mean 286.4, sd 0.13.
Run: jaxvae train renyi_vae --population.seeds 4 --train.figures-every None   (59 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import Renyi

experiment = Experiment(
    name="renyi_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Renyi("bernoulli", samples=5, alpha=0.5),
    train=Train(epochs=50, figures_every=0),
)
