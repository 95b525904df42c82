"""A combination of the ELBO and the IWAE's bound.

loss = -(b 1/K sum_k log w_k + (1 - b) log 1/K sum_k w_k), b = 0.05 and K = 5. Rainforth et al. 2018
(arXiv:1802.04537). 784-256-20, ReLU, mirrored.

Expect: validation loss 286.1 nats at epoch 48 of 50 (recon 275.43, kl 13.97). Seeds 0 to 3: 286.0
    to 286.4, mean 286.1, sd 0.17.
Run: jaxvae train ciwae --population.seeds 4 --train.figures-every None   (58 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import CIWAE

experiment = Experiment(
    name="ciwae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=CIWAE("bernoulli", samples=5, elbo_weight=0.05),
    train=Train(epochs=50, figures_every=0),
)
