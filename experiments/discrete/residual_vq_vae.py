"""Residual quantisation: each codebook has what the ones before it leave.

loss = recon + 0.25 sum_l |r_l - sg(e_l)|^2, r_0 = z and r_(l+1) = r_l - sg(e_l). Zeghidour et al.
2021 (arXiv:2107.03312); Lee et al. 2022 (arXiv:2203.01941). Convolutions 1-16-32, k3 s2; 4 levels
of 16 codes of 16 numbers, at 7x7 positions.

Expect: validation loss 257.5 nats at epoch 49 of 50 (recon 256.88, commitment 2.43, perplexity
    13.0). Seeds 0 to 3: 257.5 to 257.9, mean 257.7, sd 0.24.
Run: jaxvae train residual_vq_vae --population.seeds 4 --train.figures-every None   (102 s on 2
    cores of a shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.codebooks import RQ, Quantisation

experiment = Experiment(
    name="residual_vq_vae",
    data=Data("digits", batch_size=32),
    model=RQ(network="conv", hidden_dims=(16, 32), latent_dim=16, codes=16, levels=4),
    objective=Quantisation("bernoulli", commitment=0.25),
    train=Train(epochs=50, figures_every=0),
)
