"""A VQ-VAE whose codebook is a moving average of the features that choose its codes.

loss = recon + 0.25 |z - sg(e)|^2, e the code next to each position's features z, through which
gradients pass as if it were z. Codes are sums / counts, moving averages with decay 0.99, Laplace
smoothed; the prior is uniform over them. van den Oord et al. 2017, eq. 3 and appendix A.1
(arXiv:1711.00937). Convolutions 1-16-32, k3 s2; 64 codes of 16 numbers, at 7x7 positions.
--model.restart 0.1 lets codes that are not used begin anew.

Expect: validation loss 261.9 nats at epoch 50 of 50 (recon 259.81, commitment 8.37, perplexity
    20.7). Seeds 0 to 3: 261.1 to 261.9, mean 261.6, sd 0.43.
Run: jaxvae train vq_vae --population.seeds 4 --train.figures-every None   (119 s on 2 cores of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="vq_vae",
    data=Data("digits", batch_size=32),
    model=VQ(network="conv", hidden_dims=(16, 32), latent_dim=16, codes=64),
    objective=Quantisation("bernoulli", commitment=0.25),
    train=Train(epochs=50, figures_every=0),
)
