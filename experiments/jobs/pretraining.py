"""Pretraining: a classifier that starts from an autoencoder's encoder, against one from scratch.

A denoising AE (masking noise, Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html)
sees MNIST's training images without labels. A classifier, its encoder and a linear layer, is then
trained, all of it, on 100, 600 or 1000 labels, as many of each class; the same one from random
parameters too. For either, and for each number of labels, the learning rate is the one that is best
for a fifth of these labels; then all are used. Five seeds draw labels and parameters.

Number: mean accuracy on test images with 100 labels, against that from scratch.
Job: python -m jaxvae.experiments.jobs.pretraining
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, data, figures, runs
from jaxvae.figures.style import plot_figure, style_axes

LABELS = (100, 600, 1000)
RATES = (3e-4, 1e-3)
SEEDS, STEPS, BATCH, CLASSES = 5, 300, 50, 10
HIDDEN = (256, 128)


def balanced(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Indices of `number` examples, as many of each class (give or take one), in random order."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    by_class = [shuffled[labels[shuffled] == c] for c in range(CLASSES)]
    turns = np.concatenate([np.arange(len(each)) for each in by_class])
    mixed = np.concatenate(by_class)[np.argsort(turns, kind="stable")]
    return rng.permutation(mixed[:number])


def logits(encoder: Any, params: dict[str, Any], x: jax.Array) -> jax.Array:
    """Of the classes, (n, 10), of images (n, 28, 28, 1)."""
    features = encoder.apply({"params": params["encoder"]}, x)
    return features @ params["weights"] + params["bias"][None]


def cross_entropy(
    params: dict[str, Any], encoder: Any, x: jax.Array, label: jax.Array
) -> jax.Array:
    each = optax.softmax_cross_entropy_with_integer_labels(logits(encoder, params, x), label)
    return each.mean()


@partial(jax.jit, static_argnames="encoder")
def fit(
    encoder: Any, params: Any, x: jax.Array, label: jax.Array, rate: jax.Array, key: jax.Array
) -> Any:
    """Parameters after STEPS steps of Adam on batches drawn with `key`."""
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=rate)

    def step(carry: Any, key: jax.Array) -> Any:
        params, state = carry
        index = jax.random.randint(key, (BATCH,), 0, len(x))
        gradient = jax.grad(cross_entropy)(params, encoder, x[index], label[index])
        updates, state = adam.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), jax.random.split(key, STEPS))
    return params


@partial(jax.jit, static_argnames="encoder")
def accuracy(encoder: Any, params: Any, x: jax.Array, label: jax.Array) -> jax.Array:
    """The fraction of images that are classified right, in [0, 1]."""
    return jnp.mean(logits(encoder, params, x).argmax(axis=1) == label)


def classifier(encoder: Any, key: jax.Array, pretrained: Any = None) -> dict[str, Any]:
    """Initial parameters: the encoder's given or random ones, and a linear layer of zeros."""
    x = jnp.zeros((1, 28, 28, 1))
    own = encoder.init(key, x)["params"] if pretrained is None else pretrained
    width = jax.eval_shape(encoder.apply, {"params": own}, x).shape[-1]
    return {"encoder": own, "weights": jnp.zeros((width, CLASSES)), "bias": jnp.zeros(CLASSES)}


def main(
    limit: int = 20_000, epochs: int = 10, out: Path = Path("runs/jobs/pretraining")
) -> dict[str, float]:
    """Pretrain, train, compare, draw.

    Args:
        limit: So many training images, of which all are seen without labels; at most 5000 test
            images.
        epochs: Of the pretraining.
        out: Folder of results.json and figure.png.
    """
    run = jaxvae.train(
        Experiment(
            name="dae",
            data=Data(
                "mnist",
                limit=limit,
                validation_fraction=0.1,
                corruption="masking",
                corruption_level=0.3,
            ),
            model=Model(hidden_dims=HIDDEN, family="AE", latent_dim=32, output="sigmoid"),
            objective=Objective("mse"),
            train=Train(epochs=epochs, figures_every=None),
        )
    )
    encoder = run.trained.model.encoder
    learned = run.trained.variables.model["params"]["encoder"]
    train, test = (
        run.dataset.train,
        run.dataset.test.take(range(min(5000, len(run.dataset.test.images)))),
    )
    x_test, label_test = _arrays(test)

    found: dict[str, np.ndarray] = {}
    for name, start in (("from scratch", None), ("pretrained", learned)):
        found[name] = np.zeros((len(LABELS), SEEDS))
        for i, number in enumerate(LABELS):
            for seed in range(SEEDS):
                key, of_steps = jax.random.split(jax.random.key(seed))
                params = classifier(encoder, key, start)
                x, label = _arrays(train.take(balanced(train.every_label, number, seed)))
                held = len(x) // 5
                tried = [
                    fit(encoder, params, x[held:], label[held:], jnp.float32(rate), of_steps)
                    for rate in RATES
                ]
                right = [accuracy(encoder, p, x[:held], label[:held]) for p in tried]
                rate = RATES[int(np.argmax(right))]
                fitted = fit(encoder, params, x, label, jnp.float32(rate), of_steps)
                found[name][i, seed] = accuracy(encoder, fitted, x_test, label_test)
            mean, spread = found[name][i].mean(), found[name][i].std(ddof=1)
            print(f"{name}, {number} labels: accuracy {mean:.4f} (seeds differ by {spread:.4f})")

    results = {
        f"{name}, {number} labels: {what}": float(value)
        for name, of in found.items()
        for row, number in zip(of, LABELS, strict=True)
        for what, value in (("mean", row.mean()), ("standard deviation", row.std(ddof=1)))
    }
    results["number"] = results["pretrained, 100 labels: mean"]
    results["baseline"] = results["from scratch, 100 labels: mean"]
    runs.write_json(out / "results.json", results)
    figures.save(drawn(found), out / "figure.png")
    return results


def _arrays(split: data.Split) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(split.images[:] / np.float32(255)), jnp.asarray(split.every_label)


def drawn(found: dict[str, np.ndarray]) -> Any:
    """Accuracy by number of labels: a point per seed, and means."""
    figure = plot_figure(3.6, 2.8)
    axes = figure.subplots()
    style_axes(axes, "", "labels", "test accuracy")
    for (name, each), color, shift in zip(
        found.items(), ("0.5", "tab:blue"), (-0.06, 0.06), strict=True
    ):
        at = np.arange(len(LABELS)) + shift
        axes.plot(at, each.mean(axis=1), "-", color=color, label=name)
        axes.plot(np.repeat(at, SEEDS), each.ravel(), ".", color=color, alpha=0.6)
    axes.set_xticks(range(len(LABELS)), [str(number) for number in LABELS])
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
