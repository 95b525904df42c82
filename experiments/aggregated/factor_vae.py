"""FactorVAE: the total correlation of the codes, estimated by a critic, is pressed down.

loss = recon + kl + gamma (D0(z) - D1(z)), gamma = 10, where the critic D tells codes from codes of
which each latent is permuted across the batch by itself. Kim and Mnih 2018, eq. 2
(arXiv:1802.05983). 784-256-10, ReLU, mirrored.

Run: jaxvae train factor_vae
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
