"""InfoVAE: less of the KL, and a maximum mean discrepancy of the aggregated posterior.

loss = recon + (1 - alpha) kl + (alpha + lambda - 1) MMD(q(z), N(0, I)), alpha = 0.5 and lambda =
100. Zhao, Song and Ermon 2017 (arXiv:1706.02262). alpha = 1 is the MMD-VAE. 784-256-10, ReLU,
mirrored.

Expect: validation loss 284.2 nats at epoch 42 of 50 (recon 271.33, kl 17.27, mmd 0.043). Seeds 0 to
    3: 283.7 to 284.3, mean 284.0, sd 0.30.
Run: jaxvae train info_vae --population.seeds 4 --train.figures-every None   (96 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.aggregated import InfoVAE

experiment = Experiment(
    name="info_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=10),
    objective=InfoVAE("bernoulli", alpha=0.5, mmd_weight=100.0),
    train=Train(epochs=50, figures_every=0),
)
