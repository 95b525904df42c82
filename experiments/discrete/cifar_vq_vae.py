"""x"""

from jaxvae import Data, Experiment, Optimizer, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="cifar_vq_vae",
    data=Data("cifar10", batch_size=128),
    model=VQ(
        network="conv",
        hidden_dims=(128, 128),
        kernel_size=4,
        residual_blocks=1,
        residual_dim=128,
        latent_dim=128,
        codes=768,
        decay=0.999,
        output="linear",
    ),
    objective=Quantisation("mse", commitment=0.046875),
    optimizer=Optimizer("adam", learning_rate=2e-4),
    train=Train(epochs=50, figures_every=0),
)
