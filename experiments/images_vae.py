"""A convolutional VAE of your own photos, in colour at 64x64: the folder ./photos, of any sizes."""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="images_vae",
    data=Data("./photos", batch_size=32, resize=64, aspect="crop"),
    model=Model(
        network="conv",
        hidden_dims=(32, 64, 128, 256),
        kernel_size=4,
        latent_dim=128,
        output="sigmoid",
    ),
    objective=Objective("gaussian", sigma=0.1),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=20, chunk_steps=10),
)
