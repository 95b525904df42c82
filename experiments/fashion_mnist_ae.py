"""The autoencoder of `mnist_ae` on Fashion-MNIST."""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="fashion_mnist_ae",
    data=Data("fashion_mnist", batch_size=64),
    model=Model(
        family="AE", hidden_dims=(128,), latent_dim=64, code_activation=True, output="sigmoid"
    ),
    objective=Objective("mse", recon_reduction="mean"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10),
)
