"""pythae's `AE` with its convolutional networks for MNIST.

`Encoder_Conv_AE_MNIST`: convolutions k4 s2 p1 of 1-128-256-512-1024 channels (28-14-7-3-1 pixels),
BatchNorm, ReLU, then 1024-10. `Decoder_Conv_AE_MNIST`: 10-4x4x1024, linear, then transposed
convolutions k3 s2 p1 of 1024-512-256-1 channels (4-7-14-28 pixels), BatchNorm, ReLU, sigmoid.
Squared error, summed per image; the trainer's defaults: Adam 1e-4, batch 64, 100 epochs.

Import: jaxvae import-torch final_model/model.pt --as pythae_conv_ae
"""

from jaxvae import Data, Experiment, Model, Optimizer, Train
from jaxvae.conventions import conventions

experiment = Experiment(
    name="pythae_conv_ae",
    data=Data("mnist", batch_size=64),
    model=Model(
        family="AE",
        network="conv",
        hidden_dims=(128, 256, 512, 1024),
        decoder_dims=(1024, 512, 256),
        latent_dim=10,
        kernel_size=4,
        decoder_kernel_size=3,
        padding=1,
        output="sigmoid",
        batch_norm=True,
        init="torch",
    ),
    objective=conventions["pythae_ae"],
    optimizer=Optimizer("adam", learning_rate=1e-4),
    train=Train(epochs=100),
)
