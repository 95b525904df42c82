"""The VAE of Jackson-Kang/Pytorch-VAE-tutorial (`01_Variational_AutoEncoder.ipynb`).

784-400-400-(200, 200) and back, LeakyReLU 0.2, sigmoid. MNIST; BCE and KL summed over everything;
Adam 1e-3, batch 100, 30 epochs.

Import: jaxvae import-torch model.pth --as jackson_kang
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="jackson_kang",
    data=Data("mnist", batch_size=100),
    model=Model(
        family="VAE",
        hidden_dims=(400, 400),
        latent_dim=200,
        activation="leaky_relu",
        negative_slope=0.2,
        init="torch",
    ),
    objective=conventions["jackson_kang"],
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=30),
)
