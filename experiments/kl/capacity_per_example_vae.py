"""The same capacity for the KL of every example by itself: another loss.

loss = recon + gamma |kl - C(t)| of each example, as pythae has the objective of Burgess et al. 2018
(arXiv:1804.03599), where it is the batch's mean that is held: see capacity_vae. 784-256-20, ReLU,
mirrored.

Expect: validation loss 300.2 nats at epoch 49 of 50 (recon 283.16, kl 9.84). Seeds 0 to 3: 300.2 to
    302.1, mean 301.4, sd 0.85.
Run: jaxvae train capacity_per_example_vae --population.seeds 4 --train.figures-every None   (78 s
    on a core of a shared Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.kl import Capacity

experiment = Experiment(
    name="capacity_per_example_vae",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=Capacity(
        "bernoulli", gamma=30.0, capacity=10.0, capacity_steps=1000, per_example=True
    ),
    train=Train(epochs=50, figures_every=0),
)
