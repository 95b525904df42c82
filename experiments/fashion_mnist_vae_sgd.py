"""A VAE of Fashion-MNIST quantised to the integers 0..9, trained with SGD and momentum.

784-400 ReLU-(20, 20); 20-40 ReLU-400 ReLU-784, linear output. Mean squared error over all elements
plus the KL averaged (not summed) over the 20 latents, since the source sums over a singleton axis:
beta_eff = 784 / (2 x 20) = 19.6. SGD 1e-3, momentum 0.7, batch 32, 300 epochs.

Expect: lowest validation loss 917.3 nats per image at epoch 292 (recon 715.0, kl 10.32), as the
    first of four seeds; in the source's own units, where the loss is 2/784 of that, 2.340. Seeds
    0 to 3: 915.7 to 922.5.
Run: jaxvae train fashion_mnist_vae_sgd --population.seeds 4 --train.figures-every None   (61 min on
    a shared Xeon)
Import: jaxvae import-torch vae.pth --as fashion_mnist_vae_sgd
    (the model of ssakhash/Autoencoders-using-PyTorch)

PyTorch's initialisation, as in the source: Flax's is larger, and with it the first steps diverge at
this rate, because the exponential of the log-variance of inputs up to 9 overflows.
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="fashion_mnist_vae_sgd",
    data=Data("fashion_mnist", batch_size=32, quantize=27, range=(0, 9)),
    model=Model(
        family="VAE",
        hidden_dims=(400,),
        decoder_dims=(40, 400),
        latent_dim=20,
        output="linear",
        init="torch",
    ),
    objective=Objective("mse", recon_reduction="mean", kl_reduction="mean"),
    optimizer=Optimizer("sgd", learning_rate=1e-3, options={"momentum": 0.7}),
    train=Train(epochs=300),
)
