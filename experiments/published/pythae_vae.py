"""pythae's `VAE` with its default networks (`Encoder_VAE_MLP`, `Decoder_AE_MLP`).

784-512-(10, 10) and back, ReLU, sigmoid. MNIST; half the squared error and KL, summed per image;
the trainer's defaults: Adam 1e-4, batch 64, 100 epochs.

Import: jaxvae import-torch final_model/model.pt --as pythae_vae
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="pythae_vae",
    data=Data("mnist", batch_size=64),
    model=Model(
        family="VAE",
        hidden_dims=(512,),
        latent_dim=10,
        output="sigmoid",
        init="torch",
    ),
    objective=conventions["pythae_vae"],
    optimizer=Optimizer("adam", learning_rate=1e-4),
    train=Train(epochs=100),
)
