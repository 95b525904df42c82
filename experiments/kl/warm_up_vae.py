"""A VAE whose KL is warmed up, so that no latent is given up before it is used.

loss = recon + beta(t) kl, beta(t) = min(1, t / 1000). Bowman et al. 2016 (arXiv:1511.06349);
Sonderby et al. 2016 (arXiv:1602.02282). Evaluation has beta = 1. 784-256-20, ReLU, mirrored.

Expect: validation loss 289.1 nats at epoch 49 of 50 (recon 272.86, kl 16.20). Seeds 0 to 3: 288.4
    to 289.1, mean 288.6, sd 0.30.
Run: jaxvae train warm_up_vae --population.seeds 4 --train.figures-every None   (38 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="warm_up_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Objective("bernoulli", warmup_steps=1000),
    train=Train(epochs=50, figures_every=0),
)
