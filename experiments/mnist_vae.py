"""A dense VAE of MNIST: 784-256 ReLU-(20, 20), 20-256 ReLU-784.

BCE and KL summed over everything, the batch included, so that the gradient is that of the sum (Adam
hardly notices); Adam 1e-3, batch 64, 10 epochs. Reconstructions and samples.

Expect: test loss 106.9 nats per image after 10 epochs (z sampled); seeds 0 to 3 give 106.6 to
    107.1.
Run: jaxvae train mnist_vae   (24 s on 2 cores of an Intel Xeon, seed 0)
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
