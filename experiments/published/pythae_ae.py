"""pythae's `AE` with its default networks (`Encoder_AE_MLP`, `Decoder_AE_MLP`).

784-512-10 and back, ReLU, sigmoid. MNIST; squared error, summed per image; the trainer's defaults:
Adam 1e-4, batch 64, 100 epochs.

Import: jaxvae import-torch final_model/model.pt --as pythae_ae
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="pythae_ae",
    data=Data("mnist", batch_size=64),
    model=Model(family="AE", hidden_dims=(512,), latent_dim=10, output="sigmoid", init="torch"),
    objective=conventions["pythae_ae"],
    optimizer=Optimizer("adam", learning_rate=1e-4),
    train=Train(epochs=100),
)
