"""A run whose parameters do not move: its metrics and rates are known epoch by epoch."""

import jax
import numpy as np

from jaxvae import Data, Experiment, Model, Optimizer, Train, data, noise, runs
from jaxvae.data.batches import epoch_order
from jaxvae.training import train
from jaxvae.training.load import load


def test_metrics_are_means_over_the_batches_of_each_epochs_order(tmp_path):
    """Of an autoencoder: its loss, in NumPy, over the first 45 of 48 images of each order."""
    path = tmp_path / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8))
    experiment = Experiment(
        "still",
        data=Data(str(path), batch_size=5),
        model=Model("AE", hidden_dims=(4,), latent_dim=2, activation="tanh"),
        # Below the last bit of every parameter. The validation loss does not improve after epoch 1.
        optimizer=Optimizer("sgd", 1e-30, schedule="plateau", patience=1, decay=0.25),
        train=Train(epochs=4, chunk_steps=4, figures_every=None),
    )
    train(experiment, tmp_path / "run", quiet=True)
    at, _ = load(tmp_path / "run", "latest")
    params = jax.tree.map(np.float64, at.variables.model["params"])
    x = data.load(experiment.data).train.images.reshape(48, -1) / 255

    def dense(h, layer):
        return h @ layer["kernel"] + layer["bias"]

    z = dense(np.tanh(dense(x, params["encoder"]["Dense_0"])), params["code"])
    logits = dense(np.tanh(dense(z, params["decoder"]["Dense_0"])), params["decoder"]["Dense_1"])
    nll = (np.logaddexp(0, logits) - x * logits).sum(axis=1)
    rows = runs.read_metrics(tmp_path / "run" / "metrics.csv")
    losses = [row["train_loss"] for row in rows]
    orders = [epoch_order(noise.root(experiment.seed), epoch, 48)[:45] for epoch in range(4)]
    expected = [nll[np.asarray(order)].mean() for order in orders]
    # Float32 sums of 36 pixels and of 45 images; which three are left out changes more.
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert np.ptp(expected) > 1e-5 * expected[0]
    # Epochs 2 and 3 bring nothing, which is more than one: from epoch 4 on the rate is a quarter.
    rates = [row["learning_rate"] / 1e-30 for row in rows]
    np.testing.assert_allclose(rates, [1, 1, 1, 0.25], rtol=1e-6)
