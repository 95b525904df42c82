"""The mean of several IWAE bounds: between the VAE and the IWAE of all its samples.

loss = -1/M sum_m log 1/K sum_k w_mk, M = 2 and K = 4. Rainforth et al. 2018 (arXiv:1802.04537).
784-256-20, ReLU, mirrored.

Expect: validation loss 285.6 nats at epoch 48 of 50 (recon 274.17, kl 14.23). Seeds 0 to 3: 285.5
    to 285.7, mean 285.6, sd 0.10.
Run: jaxvae train miwae --population.seeds 4 --train.figures-every None   (73 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import MIWAE

experiment = Experiment(
    name="miwae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=MIWAE("bernoulli", samples=4, repeats=2),
    train=Train(epochs=50, figures_every=0),
)
