"""A dense beta-VAE of rendered sprites, whose factors are known: 1024-256-256-10, mirrored.

For studies of how the weight of the KL disentangles (Higgins et al. 2017,
https://openreview.net/forum?id=Sy2fzU9gl): `sprites/32`, ReLU, Adam 1e-3, batch 64, and 5 epochs of
38,400 images, which are 3000 steps.

Expect: validation loss 38.7 nats after 5 epochs (recon 27.65, kl 11.04), MIG 0.04.
Run: jaxvae train sprites_beta_vae   (18 s on 2 cores of an Intel Xeon)
Study: 15 members of 3000 steps, MIG by beta and the rate-distortion curve (docs/evaluation.md):
    jaxvae study sprites_beta_vae --sweep objective.beta=1,2,4,8,16 --seeds 3
    --metrics disentanglement --out runs/study_beta
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="sprites_beta_vae",
    data=Data("sprites/32", batch_size=64, limit=38_400),
    model=Model(hidden_dims=(256, 256), latent_dim=10),
    objective=Objective("bernoulli", beta=1.0),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=5, figures_every=0),
)
