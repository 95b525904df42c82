"""Decoder and encoder follow different bounds: the IWAE's and the MIWAE's.

The decoder follows -log 1/(MK) sum w, which is the loss, the encoder -1/M sum_m log 1/K sum_k w_mk,
whose gradient is less noisy; M = 2 and K = 4. Rainforth et al. 2018 (arXiv:1802.04537). 784-256-20,
ReLU, mirrored.

Expect: validation loss 285.1 nats at epoch 49 of 50 (recon 275.22, kl 13.98). Seeds 0 to 3: 284.9
    to 285.3, mean 285.1, sd 0.17.
Run: jaxvae train piwae --population.seeds 4 --train.figures-every None   (103 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import PIWAE

experiment = Experiment(
    name="piwae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=PIWAE("bernoulli", samples=4, repeats=2),
    train=Train(epochs=50, figures_every=0),
)
