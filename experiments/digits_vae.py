"""The demo: the VAE of `mnist_vae` with two latents on the 8x8 digits of scikit-learn, resized to
28x28. Needs no download.
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
