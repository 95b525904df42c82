"""A VAE with the log-cosh error, which is squared for small errors, absolute for large ones.

loss = 1/a sum log cosh(a (x - xhat)) + beta kl, a = 10, beta = 0.05. Chen, Wang and Li 2019
(https://openreview.net/forum?id=rkglvsC9Ym). 784-256-20, ReLU, mirrored. Sigmoid outputs.

Expect: validation loss 10.42 nats at epoch 48 of 50 (recon 7.51, kl 58.26). Seeds 0 to 3: 10.23 to
    10.62, mean 10.38, sd 0.18.
Run: jaxvae train log_cosh_vae --population.seeds 4 --train.figures-every None   (42 s on a core of
    a shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Objective, Train

experiment = Experiment(
    name="log_cosh_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20, output="sigmoid"),
    objective=Objective("log_cosh", sigma=0.1, beta=0.05),
    train=Train(epochs=50, figures_every=0),
)
