"""The IWAE with the doubly reparameterised gradient for its encoder.

The IWAE's loss, K = 5; the encoder's gradient is sum_k v_k^2 dlog w_k/dz_k dz_k/dphi, v the
normalised weights, whose noise does not drown it as K grows. Tucker et al. 2019 (arXiv:1810.04152).
784-256-20, ReLU, mirrored.

Expect: validation loss 285.6 nats at epoch 48 of 50 (recon 275.01, kl 14.02). Seeds 0 to 3: 285.1
    to 285.7, mean 285.5, sd 0.25.
Run: jaxvae train dreg --population.seeds 4 --train.figures-every None   (74 s on a core of a shared
    Xeon)
"""

from jaxvae import Data, Experiment, Model, Train
from jaxvae.variants.samples import DReG

experiment = Experiment(
    name="dreg",
    data=Data("digits", batch_size=32),
    model=Model(hidden_dims=(256,), latent_dim=20),
    objective=DReG("bernoulli", samples=5),
    train=Train(epochs=50, figures_every=0),
)
