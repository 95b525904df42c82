"""The VAE's loss averaged over K samples of each code: the control of the IWAE.

loss = -1/K sum_k log w_k with log w_k = log p(x|z_k) + log p(z_k) - log q(z_k|x), K = 5. Burda,
Grosse and Salakhutdinov 2016, eq. 7 (arXiv:1509.00519). 784-256-20, ReLU, mirrored.

Expect: validation loss 286.9 nats at epoch 49 of 50 (recon 271.48, kl 15.47). Seeds 0 to 3: 286.6
    to 286.9, mean 286.8, sd 0.20.
Run: jaxvae train k_sample_vae --population.seeds 4 --train.figures-every None   (58 s on a core of
    a shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import SeveralSamples

experiment = Experiment(
    name="k_sample_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=SeveralSamples("bernoulli", samples=5),
    train=Train(epochs=50, figures_every=0),
)
