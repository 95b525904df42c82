"""The VAE of pytorch/examples (`vae/main.py`): 784-400-(20, 20), 20-400-784, ReLU; BCE and KL summed
over everything; PyTorch's initialisation; Adam 1e-3, batch 128, 10 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="pytorch_examples_vae",
    data=Data("mnist", batch_size=128),
    model=Model(family="VAE", hidden_dims=(400,), latent_dim=20, init="torch"),
    objective=Objective("bernoulli", batch_reduction="sum"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10, figures_every=1),
)
