"""A convolutional autoencoder of MNIST: convolutions k3 s2 p1 1-16-32 (28-14-7), ReLU; transposed
convolutions k3 s2 p1 op1 32-16-1 (7-14-28), sigmoid output; mean squared error; Adam 1e-3, batch 64,
10 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_cae",
    data=Data("mnist", batch_size=64),
    model=Model(
        family="CAE",
        network="conv",
        hidden_dims=(16, 32),
        strides=(2, 2),
        kernel_size=3,
        padding=1,
        output="sigmoid",
    ),
    objective=Objective("mse", recon_reduction="mean"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10),
)
