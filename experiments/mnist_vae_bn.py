"""A VAE of MNIST with BatchNorm and dropout: 784-256-128-(2, 2), mirrored, 470 804 parameters.

Each hidden layer is dense-BatchNorm-ReLU-dropout 0.2. BCE + beta KL, both summed (beta 1; also
`--objective.beta 0.5` and 4); Adam 1e-3, halved when the validation loss stalls for 5 epochs, early
stopping (its patience of 10 epochs is our choice), batch 128, 20 epochs. As in the source,
validation is on the test set with z sampled and dropout off.

Expect: lowest test loss 149.9 nats per image at epoch 19 (recon 144.3, kl 5.60), 150.0 after 20;
    seeds 0 to 3 give 149.4 to 150.0, an NVIDIA H100 150.1 and 150.4 in two runs;
    with beta 0.5 recon 143.6 and kl 6.51 after 20, with beta 4 recon 150.4 and kl 3.81.
Run: jaxvae train mnist_vae_bn   (44 s on 2 cores of an Intel Xeon, seed 0)
Import: jaxvae import-torch best_vae_model.pth --as mnist_vae_bn
    (the weights that GruheshKurra/VariationalAutoencoders published: test loss 148.7, z sampled)
"""

from jaxvae import Data, Experiment, Model, Objective, Optimizer, Train

experiment = Experiment(
    name="mnist_vae_bn",
    data=Data("mnist", batch_size=128),
    model=Model(
        family="VAE",
        hidden_dims=(256, 128),
        latent_dim=2,
        batch_norm=True,
        dropout=0.2,
    ),
    objective=Objective("bernoulli", beta=1.0),
    optimizer=Optimizer("adam", learning_rate=1e-3, schedule="plateau", decay=0.5, patience=5),
    train=Train(epochs=20, early_stopping=10),
)
