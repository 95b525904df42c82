"""A sigma-VAE: a Gaussian likelihood whose one variance is learned.

loss = -log N(x; xhat, sigma^2) + kl, log sigma^2 a parameter. Rybkin, Daniilidis and Levine 2021
(arXiv:2006.13202); Dai and Wipf 2019 (arXiv:1903.05789). 784-256-20, ReLU, mirrored. Sigmoid
outputs.

Expect: validation loss -100.2 nats at epoch 50 of 50 (recon -116.14, kl 15.89). Seeds 0 to 3:
    -100.8 to -98.8, mean -100.1, sd 0.90.
Run: jaxvae train sigma_vae --population.seeds 4 --train.figures-every None   (38 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="sigma_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20, output="sigmoid"),
    objective=Objective("gaussian_learned"),
    train=Train(epochs=50, figures_every=0),
)
