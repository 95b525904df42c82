"""beta-TCVAE: of what the KL consists of, the total correlation weighs more.

loss = recon + MI + 6 TC + dwKL, with log q(z) by minibatch-weighted sampling. Chen et al. 2018, eq.
4 (arXiv:1802.04942). Its estimates of MI, TC and dwKL are biased: compare them at one batch size.
784-256-10, ReLU, mirrored.

Run: jaxvae train beta_tc_vae
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.aggregated import BetaTC

experiment = Experiment(
    name="beta_tc_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=10),
    objective=BetaTC("bernoulli", tc_weight=6.0, estimator="mws"),
    train=Train(epochs=50, figures_every=0),
)
