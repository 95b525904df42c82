"""FactorVAE: the total correlation of the codes, estimated by a critic, is pressed down.

loss = recon + kl + gamma (D0(z) - D1(z)), gamma = 10, where the critic D tells codes from codes of
which each latent is permuted across the batch by itself. Kim and Mnih 2018, eq. 2
(arXiv:1802.05983). 784-256-10, ReLU, mirrored.

Expect: validation loss 291.8 nats at epoch 30 of 50 (recon 277.95, kl 13.31, critic 0.66, tc 0.06).
    Seeds 0 to 3: 291.6 to 292.3, mean 292.0, sd 0.29.
Run: jaxvae train factor_vae   (20 s on 2 cores of an Intel Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.adversarial import FactorVAE

experiment = Experiment(
    name="factor_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=10),
    objective=FactorVAE("bernoulli", gamma=10.0),
    train=Train(epochs=50, figures_every=0),
)
