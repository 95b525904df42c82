"""JointVAE: ten Gaussian latents and one category, each held at a capacity.

loss = recon + 30 |KL_c - C_c(t)| + 30 |KL_d - C_d(t)|, capacities rising to 5 and 2 nats over 1000
steps; the category is soft in training, at temperature 0.67. Dupont 2018 (arXiv:1804.00104).
784-256-(10 + 10), ReLU, mirrored.

Expect: validation loss 299.9 nats at epoch 45 of 50 (recon 295.13, kl 7.09). Seeds 0 to 3: 299.9 to
    301.9, mean 300.6, sd 0.92.
Run: jaxvae train joint_vae --population.seeds 4 --train.figures-every None   (49 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.categorical import Joint, JointModel

experiment = Experiment(
    name="joint_vae",
    data=Data("digits", batch_size=32),
    model=JointModel(hidden_dims=(256,), latent_dim=10, categories=10),
    objective=Joint("bernoulli", gamma=30.0, capacity=5.0, discrete_capacity=2.0),
    train=Train(epochs=50, figures_every=0),
)
