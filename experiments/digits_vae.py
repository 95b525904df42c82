"""The demo: a VAE with two latents on scikit-learn's 8x8 digits, resized to 28x28. No download.

784-256-128-(2, 2), ReLU, mirrored; BCE + KL summed per image; Adam 1e-3, batch 32, 100 epochs; 1438
images train, 359 validate.

Expect: validation loss 299.2 nats per image at the best epoch (92); z sampled. Seeds 0 to 3: 297.6
    to 300.3; other processors differ as much.
Run: jaxvae train digits_vae   (23 s on 2 CPU cores, seed 0)
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="digits_vae",
    data=Data("digits", batch_size=32),
    model=Model(family="VAE", hidden_dims=(256, 128), latent_dim=2),
    objective=Objective("bernoulli"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=100, figures_every=50),
)
