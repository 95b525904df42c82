"""Finite scalar quantisation: each channel is rounded, and there is no codebook.

loss = recon. Three channels of 8, 6 and 5 values: 240 codes. Mentzer et al. 2023
(arXiv:2309.15505). Convolutions 1-16-32, k3 s2, 7x7 positions.

Expect: validation loss 263.1 nats at epoch 50 of 50 (perplexity 18.7). Seeds 0 to 3: 262.0 to
    263.5, mean 263.0, sd 0.69.
Run: jaxvae train fsq_vae --population.seeds 4 --train.figures-every None   (93 s on a core of a
    shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.codebooks import FSQ, Quantisation

experiment = Experiment(
    name="fsq_vae",
    data=Data("digits", batch_size=32),
    model=FSQ(network="conv", hidden_dims=(16, 32), levels=(8, 6, 5)),
    objective=Quantisation("bernoulli"),
    train=Train(epochs=50, figures_every=0),
)
