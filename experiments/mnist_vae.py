"""A dense VAE of MNIST: 784-256-(20, 20), 20-256-784, ReLU; BCE and KL summed over everything; Adam
1e-3, batch 64, 10 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_vae",
    data=Data("mnist", batch_size=64),
    model=Model(family="VAE", hidden_dims=(256,), latent_dim=20),
    objective=Objective("bernoulli", batch_reduction="sum"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10),
)
