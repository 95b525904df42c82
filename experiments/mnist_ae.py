"""A two-layer dense autoencoder of MNIST: 784-128-64-128-784, ReLU after both encoder layers, so the
code is never negative; sigmoid output; mean squared error; Adam 1e-3, batch 64, 10 epochs.

Shows: originals over reconstructions.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_ae",
    data=Data("mnist", batch_size=64),
    model=Model(
        family="AE", hidden_dims=(128,), latent_dim=64, code_activation=True, output="sigmoid"
    ),
    objective=Objective("mse", recon_reduction="mean"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10),
)
