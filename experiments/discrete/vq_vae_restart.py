"""A VQ-VAE whose unused codes begin anew as features of the batch.

As vq_vae, where every code that on average fewer than 0.5 features of a batch choose is put in the
place of one of them, drawn at random: an addition of later implementations, such as
lucidrains/vector-quantize-pytorch, to van den Oord et al. 2017 (arXiv:1711.00937).

Run: jaxvae train vq_vae_restart
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
