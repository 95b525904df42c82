"""An adversarial autoencoder: a critic cannot tell codes from draws of the prior.

loss = recon - 10 log D(z), the critic D trained to tell draws of N(0, I) from codes. Makhzani et
al. 2016 (arXiv:1511.05644); WAE-GAN of Tolstikhin et al. 2018 (arXiv:1711.01558). 784-256-10, ReLU,
mirrored.

Expect: validation loss 292.5 nats at epoch 22 of 50 (recon 282.39, adversarial 1.01, critic 0.98).
    Seeds 0 to 3: 282.9 to 303.7, mean 295.2, sd 9.58.
Run: jaxvae train aae --population.seeds 4 --train.figures-every None   (50 s on a core of a shared
    Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.adversarial import Adversarial
from jaxvae.variants.aggregated import MatchedModel

experiment = Experiment(
    name="aae",
    data=Data("digits", batch_size=32),
    model=MatchedModel(hidden_dims=(256,), latent_dim=10),
    objective=Adversarial("bernoulli", weight=10.0),
    train=Train(epochs=50, figures_every=0),
)
