"""A convolutional VAE of MNIST with two latents: four convolutions of 64 channels, stride 2 in the
two middle ones, LeakyReLU 0.01; dense heads; a dense layer back to 7x7x64 and four transposed
convolutions, sigmoid output.

Reconstruction: the source's MSE, taken as the sum over pixels, plus the KL summed over the latents,
mean over the batch. Adam 5e-4, batch 64, train split 80/20 into train and validation, 200 epochs.
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
    train=Train(epochs=200),
)
