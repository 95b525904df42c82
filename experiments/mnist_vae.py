"""A dense VAE of MNIST: 784-256 ReLU-(20, 20), 20-256 ReLU-784.

BCE and KL summed over everything, the batch included, so that the gradient is that of the sum (Adam
hardly notices); Adam 1e-3, batch 64, 10 epochs. Reconstructions and samples.

Expect: test loss 106.96 nats per image after 10 epochs (recon 81.20, kl 25.76; z sampled).
Run: jaxvae train experiments/mnist_vae.py   (36 s on 2 CPU cores, seed 0)
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
