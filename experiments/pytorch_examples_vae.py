"""The VAE of pytorch/examples (`vae/main.py`): 784-400 ReLU-(20, 20), 20-400 ReLU-784.

BCE and KL summed over everything; PyTorch's initialisation; Adam 1e-3, batch 128, 10 epochs.
Reconstructions and samples every epoch. Published test loss: 105.56 to 105.61 nats per image.

Expect: test loss 105.51 nats per image after 10 epochs (recon 80.78, kl 24.74; z sampled), the same
    on an AMD EPYC; seeds 0 to 3 give 105.5 to 105.8, an NVIDIA H100 105.53 and 105.56 in two runs.
Run: jaxvae train pytorch_examples_vae   (28 s on 2 cores of an Intel Xeon, seed 0)

The last partial batch of an epoch is dropped here, and trained on there.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="pytorch_examples_vae",
    data=Data("mnist", batch_size=128),
    model=Model(family="VAE", hidden_dims=(400,), latent_dim=20, init="torch"),
    objective=Objective("bernoulli", batch_reduction="sum"),
    optimizer=Optimizer("adam", learning_rate=1e-3),
    train=Train(epochs=10, figures_every=1),
)
