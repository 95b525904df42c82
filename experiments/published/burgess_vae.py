"""The VAE of YannDubs/disentangling-vae, after Burgess et al. 2018, for 32x32 images.

Convolutions k4 s2 p1 of 32 channels (32-16-8-4 pixels), dense 512-256-256, 10 latents, and the
mirror image back, ReLU, sigmoid. MNIST resized to 32x32; BCE and KL, summed per image (its loss
"VAE"; "betaH" is --objective.beta 4); Adam 5e-4, batch 64, 400 epochs.

Import: jaxvae import-torch model.pt --as burgess_vae
    (its 64x64 models have a layer more: --data.resize 64 64 --model.hidden-dims 32 32 32 32)
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="burgess_vae",
    data=Data("mnist", batch_size=64, resize=(32, 32)),
    model=Model(
        family="VAE",
        network="conv",
        hidden_dims=(32, 32, 32),
        dense_dims=(256, 256),
        latent_dim=10,
        kernel_size=4,
        init="torch",
    ),
    objective=Objective("bernoulli"),
    optimizer=Optimizer("adam", learning_rate=5e-4),
    train=Train(epochs=400),
)
