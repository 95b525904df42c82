"""A VAE of Fashion-MNIST quantised to the integers 0..9, trained with SGD and momentum.

784-400 ReLU-(20, 20); 20-40 ReLU-400 ReLU-784, linear output; mean squared error over all elements
plus the KL averaged (not summed) over the 20 latents, so beta_eff = 784 / (2 x 20) = 19.6; SGD 1e-3,
momentum 0.7, batch 32, 300 epochs.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="fashion_mnist_vae_sgd",
    data=Data("fashion_mnist", batch_size=32, quantize=27, range=(0, 9)),
    model=Model(
        family="VAE",
        hidden_dims=(400,),
        decoder_dims=(40, 400),
        latent_dim=20,
        output="linear",
        init="torch",
    ),
    objective=Objective("mse", recon_reduction="mean", kl_reduction="mean"),
    optimizer=Optimizer("sgd", learning_rate=1e-3, options={"momentum": 0.7}),
    train=Train(epochs=300),
)
