"""A VAE of MNIST with BatchNorm and dropout: 784-256-128-(2, 2), mirrored, each hidden layer
dense-BatchNorm-ReLU-dropout 0.2; 470 804 parameters; BCE + beta KL; Adam 1e-3, halved when the
validation loss stalls for 5 epochs, early stopping, batch 128, 20 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_vae_bn",
    data=Data("mnist", batch_size=128),
    model=Model(
        family="VAE",
        hidden_dims=(256, 128),
        latent_dim=2,
        batch_norm=True,
        dropout=0.2,
    ),
    objective=Objective("bernoulli", beta=1.0),
    optimizer=Optimizer("adam", learning_rate=1e-3, schedule="plateau", decay=0.5, patience=5),
    train=Train(epochs=20, early_stopping=10),
)
