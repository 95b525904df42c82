"""A convolutional VAE of your own photos, in colour at 64x64: those of the folder ./photos.

They may have any sizes; of other aspects the middle is used (--data.aspect). Convolutions
32-64-128-256, k4 s2 p1, ReLU, 128 latents, mirrored, sigmoid; Adam 1e-3, batch 32, 20 epochs.
Photos are no coin flips, so the likelihood is Gaussian: N(x; decoded, 0.1), about as far as such a
model's reconstructions are off, which is the best sigma for it (Rybkin et al. 2021,
https://arxiv.org/abs/2006.13202). A smaller --objective.sigma keeps more of each photo in the code,
a larger one gives smoother samples. Being a density, its loss may be negative.

Expect: validation loss -13360 nats per image at epoch 20 (recon -13686, kl 327; MSE 0.0054 per
    pixel) on the first 400 training images of each class of CIFAR-10 as 32x32 PNG files in folders
    by class, 3200 to train on and 800 held out; with seed 1 -13201 nats. Reconstructions are
    blurred, and samples are colours without objects: few photos, few epochs. A few hundred photos
    want --train.epochs 60 or more: after 20 they are grey shadows.
Run: jaxvae train images_vae --data.source ./photos   (8 min on 2 cores of an Intel Xeon that
    did other work too; seed 0)
"""

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
