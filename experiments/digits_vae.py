"""The demo: a VAE with two latents on scikit-learn's 8x8 digits, resized to 28x28. No download.

784-256 ReLU-(2, 2), mirrored; BCE + KL summed per image; Adam 1e-3, batch 64, 100 epochs; 1438
images train, 359 validate.

Expect: validation loss 310.1 nats per image at the best epoch (100); z sampled.
Run: jaxvae train experiments/digits_vae.py   (25 s on 2 CPU cores, seed 0)
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="digits_vae",
    data=Data("digits", batch_size=64),
    model=Model(family="VAE", hidden_dims=(256,), latent_dim=2),
    objective=Objective("bernoulli"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=100),
)
