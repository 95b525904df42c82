"""The `VanillaVAE` of AntixK/PyTorch-VAE for 64x64 colour images.

Convolutions k3 s2 p1 of 3-32-64-128-256-512 channels (64 to 2 pixels), BatchNorm, LeakyReLU 0.01,
128 latents; a dense layer to 2x2x512, transposed convolutions back to 64x64x32, and a convolution
k3 s1 p1 to 3 channels, tanh. CelebA; mean squared error + 0.00025 KL (`kld_weight`): beta_eff =
1.536. Adam 5e-3, times 0.95 per epoch, batch 64, 100 epochs.

Import: jaxvae import-torch last.ckpt --as antixk_vae
    (without CelebA to hand, add --image-shape 218 178 3; with other hidden_dims of theirs, give
    --model.hidden-dims, --model.decoder-dims, reversed with the last one twice, and
    --model.decoder-strides, 2 everywhere and 1 at the end)

The source crops the middle 148x148 pixels before it resizes, and flips at random while it trains:
here whole images are resized, so give --data.source ./a_folder of cropped ones. Its first versions
scaled pixels to [-1, 1]: add --data.range -1 1 for their weights.
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="antixk_vae",
    data=Data("celeb_a", batch_size=64, resize=(64, 64)),
    model=Model(
        family="VAE",
        network="conv",
        hidden_dims=(32, 64, 128, 256, 512),
        decoder_dims=(512, 256, 128, 64, 32, 32),
        decoder_strides=(2, 2, 2, 2, 2, 1),
        latent_dim=128,
        activation="leaky_relu",
        output="tanh",
        batch_norm=True,
        init="torch",
    ),
    objective=conventions["antixk_train"],
    optimizer=Optimizer("adam", learning_rate=5e-3, schedule="exponential", decay=0.95),
    train=Train(epochs=100),
)
