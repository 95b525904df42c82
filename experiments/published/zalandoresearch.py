"""The VQ-VAE of zalandoresearch/pytorch-vq-vae (`vq-vae.ipynb`), for 32x32 colour images.

Convolutions k4 s2 of 3-64-128 channels, k3 s1, two residual blocks of 32 channels inside, a 1x1
convolution to 64, of which 512 codes are moving averages; k3 s1, two residual blocks, transposed
convolutions 128-64-3, linear. CIFAR-10 in [-0.5, 0.5]; mean squared error / its variance + 0.25
mean commitment, which is a Gaussian likelihood and a commitment of 0.25 x 3072 / (2 x 4096) for our
sums, since a code has 8x8x64 numbers; Adam 1e-3, batch 256, 15,000 steps.

Import: jaxvae import-torch model.pth --as zalandoresearch
    (without CIFAR-10 to hand, add --image-shape 32 32 3; --model.decay None where codes are
    parameters, as with its `decay = 0`)

The source starts its residual blocks with a ReLU in place, so that what is added to is behind it
too: as here.
"""

from jaxvae import Data, Experiment, Optimizer, Train
from jaxvae.variants.codebooks import VQ, Quantisation

experiment = Experiment(
    name="zalandoresearch",
    data=Data("cifar10", batch_size=256, range=(-0.5, 0.5)),
    model=VQ(
        network="conv",
        hidden_dims=(64, 128),
        kernel_size=4,
        residual_blocks=2,
        residual_dim=32,
        latent_dim=64,
        codes=512,
        decay=0.99,
        output="linear",
        init="torch",
    ),
    objective=Quantisation("gaussian", sigma=0.2516, commitment=0.09375),  # sigma^2 = 0.0633
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=77),
)
