"""A VAE of MNIST with two latents: 784-512-256-(2, 2), mirrored; BCE + KL summed per image; Adam
1e-3, batch 64, 50 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_vae_2d",
    data=Data("mnist", batch_size=64),
    model=Model(family="VAE", hidden_dims=(512, 256), latent_dim=2),
    objective=Objective("bernoulli"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=50),
)
