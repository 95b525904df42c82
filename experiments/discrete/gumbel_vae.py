"""A VAE of categorical codes by the Gumbel-softmax, whose temperature falls.

20 variables of 10 categories, soft in training, at the temperature max(0.5, exp(-t / 1000)), drawn
in evaluation; the prior is uniform. loss = recon + KL(categories || uniform). Jang, Gu and Poole
2017 (arXiv:1611.01144); Maddison, Mnih and Teh 2017 (arXiv:1611.00712). 784-256-200, ReLU,
mirrored.

Expect: validation loss 299.5 nats at epoch 47 of 50 (recon 286.72, kl 12.77). Seeds 0 to 3: 299.4
    to 299.7, mean 299.5, sd 0.15.
Run: jaxvae train gumbel_vae --population.seeds 4 --train.figures-every None   (52 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.categorical import Annealed, Gumbel

experiment = Experiment(
    name="gumbel_vae",
    data=Data("digits", batch_size=32),
    model=Gumbel(hidden_dims=(256,), latent_dim=20, categories=10),
    objective=Annealed("bernoulli", temperature=0.5, annealing_rate=1e-3),
    train=Train(epochs=50, figures_every=0),
)
