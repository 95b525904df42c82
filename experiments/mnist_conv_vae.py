"""A convolutional VAE of MNIST with two latents.

Four convolutions of 64 channels, k3 p1, stride 2 in the two middle ones, LeakyReLU 0.01; dense
heads; a dense layer to 7x7x64 and four transposed convolutions, LeakyReLU, sigmoid output. The
source's MSE and KL, taken as sums over pixels and latents and a mean over the batch: beta_eff =
0.5. Adam 5e-4, batch 64, MNIST's training images split 80/20 into train and validation, 200 epochs.

Expect: lowest validation loss 17.88 nats per image at epoch 50 (17.91 at epoch 57 on another day),
    18.11 at epoch 155, where the run was cut off; training went on to 16.57. On 2 cores
    of an Intel Xeon 5 epochs gave 19.27 (recon 17.07, kl 4.40), and seed 2 19.53 (recon 17.36, kl
    4.34): seeds differ by some tenths of a nat.
Run: jaxvae train mnist_conv_vae   (0.4 s an epoch on an NVIDIA H100 that did other
    work too, with --train.chunk-steps 750; 77 to 107 s an epoch on 2 CPU cores; seed 0)
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_conv_vae",
    data=Data("mnist", batch_size=64, validation_fraction=0.2),
    model=Model(
        family="VAE",
        network="conv",
        hidden_dims=(64, 64, 64, 64),
        strides=(1, 2, 2, 1),
        latent_dim=2,
        activation="leaky_relu",
        output="sigmoid",
    ),
    objective=Objective("mse"),
    optimizer=Optimizer("adam", learning_rate=5e-4),
    train=Train(epochs=200, chunk_steps=20),  # some 2 s; a signal waits for a chunk to end
)
