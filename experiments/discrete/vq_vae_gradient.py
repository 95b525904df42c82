"""A VQ-VAE whose codes are parameters, drawn to their features by gradients.

loss = recon + |sg(z) - e|^2 + 0.25 |z - sg(e)|^2. van den Oord et al. 2017, eq. 3
(arXiv:1711.00937). Convolutions 1-16-32, k3 s2; 64 codes of 16 numbers, at 7x7 positions.

Expect: validation loss 271.2 nats at epoch 49 of 50 (recon 259.90, commitment 9.02, codebook 9.02,
    perplexity 25.6). Seeds 0 to 3: 270.5 to 273.2, mean 271.9, sd 1.28.
Run: jaxvae train vq_vae_gradient --population.seeds 4 --train.figures-every None   (138 s on 2
    cores of a shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="vq_vae_gradient",
    data=Data("digits", batch_size=32),
    model=VQ(network="conv", hidden_dims=(16, 32), latent_dim=16, codes=64, decay=None),
    objective=Quantisation("bernoulli", commitment=0.25),
    train=Train(epochs=50, figures_every=0),
)
