"""A VQ-VAE whose unused codes begin anew as features of the batch.

As vq_vae, where every code that on average fewer than 0.5 features of a batch choose is put in the
place of one of them, drawn at random: an addition of later implementations, such as
lucidrains/vector-quantize-pytorch, to van den Oord et al. 2017 (arXiv:1711.00937).

Expect: validation loss 259.7 nats at epoch 49 of 50 (recon 258.46, commitment 5.11, perplexity
    51.9). Seeds 0 to 3: 259.1 to 260.1, mean 259.6, sd 0.42.
Run: jaxvae train vq_vae_restart --population.seeds 4 --train.figures-every None   (112 s on 2 cores
    of a shared Xeon)
"""

from jaxvae import Data, Experiment, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="vq_vae_restart",
    data=Data("digits", batch_size=32),
    model=VQ(network="conv", hidden_dims=(16, 32), latent_dim=16, codes=64, restart=0.5),
    objective=Quantisation("bernoulli", commitment=0.25),
    train=Train(epochs=50, figures_every=0),
)
