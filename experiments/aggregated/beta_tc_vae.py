"""beta-TCVAE: of what the KL consists of, the total correlation weighs more.

loss = recon + MI + 6 TC + dwKL, with log q(z) by minibatch-weighted sampling. Chen et al. 2018, eq.
4 (arXiv:1802.04942). Its estimates of MI, TC and dwKL are biased: compare them at one batch size.
784-256-10, ReLU, mirrored.

Expect: validation loss 635.3 nats at epoch 44 of 50 (recon 294.07, kl 5.41, tc 67.17). Seeds 0 to
    3: 633.8 to 635.3, mean 634.7, sd 0.69.
Run: jaxvae train beta_tc_vae --population.seeds 4 --train.figures-every None   (60 s on 2 cores of
    a shared Xeon)
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
