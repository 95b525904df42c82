"""The VAE of ethanluoyc/pytorch-vae (`vae.py`).

784-512-512-(8, 8) and 8-512-784, ReLU, tanh; its second head is log sigma, half of our logvar.
MNIST in [-0.5, 0.5]; -log N(x; x', 1) and KL, summed per image; Adam 1e-3, batch 128, 100 epochs.
Versions before that one, with widths of 100 and other names of layers, need a map of their own.

Import: jaxvae import-torch model.pth --as ethanluoyc
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="ethanluoyc",
    data=Data("mnist", batch_size=128, range=(-0.5, 0.5)),
    model=Model(
        family="VAE",
        hidden_dims=(512, 512),
        decoder_dims=(512,),
        latent_dim=8,
        output="tanh",
        init="torch",
    ),
    objective=conventions["ethanluoyc"],
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=100),
)
