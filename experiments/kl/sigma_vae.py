"""A sigma-VAE: a Gaussian likelihood whose one variance is learned.

loss = -log N(x; xhat, sigma^2) + kl, log sigma^2 a parameter. Rybkin, Daniilidis and Levine 2021
(arXiv:2006.13202); Dai and Wipf 2019 (arXiv:1903.05789). 784-256-20, ReLU, mirrored. Sigmoid
outputs.

Run: jaxvae train sigma_vae
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="sigma_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20, output="sigmoid"),
    objective=Objective("gaussian_learned"),
    train=Train(epochs=50, figures_every=0),
)
