"""Augmentation: do samples of a conditional VAE help a classifier that has few labels?

MNIST with 100 labels per class. A conditional VAE is trained on these 1000 images; a classifier
(scikit-learn's MLP, 784-256-10) on them, on them and as many samples of each class, or on samples
alone. Beside it what needs no model: copies moved by up to two pixels. Whatever it is trained on, a
classifier takes the same number of steps.

Number: mean accuracy on test images with samples, over three seeds, against that without.
Job: python -m jaxvae.experiments.jobs.augmentation
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import jaxvae
from jaxvae import Data, data, figures, runs
from jaxvae.figures.style import plot_figure, style_axes

CLASSES, SEEDS, STEPS, BATCH = 10, 3, 600, 100


def of_each_class(labels: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Indices of `number` examples of each class, drawn."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return np.concatenate([order[labels[order] == c][:number] for c in range(CLASSES)])


def moved(images: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Images (n, height, width, 1), each moved by up to so many pixels along either axis."""
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
    n, height, width, _ = images.shape
    corners = np.random.default_rng(seed).integers(0, 2 * most + 1, (n, 2))
    parts = zip(padded, corners, strict=True)
    return np.stack([x[i : i + height, j : j + width] for x, (i, j) in parts])


def accuracy(
    x: np.ndarray, labels: np.ndarray, test: tuple[np.ndarray, np.ndarray], seed: int
) -> float:
    """On the test images, of an MLP trained for STEPS steps on images (n, ...) in [0, 1]."""
    batch = min(BATCH, len(x))
    epochs = math.ceil(STEPS / math.ceil(len(x) / batch))
    classifier = MLPClassifier(
        (256,), batch_size=batch, max_iter=epochs, n_iter_no_change=epochs, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its end is meant
        classifier.fit(x.reshape(len(x), -1), labels)
    return float(classifier.score(test[0].reshape(len(test[0]), -1), test[1]))


def main(
    limit: int = 100, epochs: int = 60, out: Path = Path("runs/jobs/augmentation")
) -> dict[str, float]:
    """Train, sample, classify, draw.

    Args:
        limit: So many training images of each class; fifty times as many test images.
        epochs: Of the conditional VAE.
        out: Folder of results.json and figure.png.
    """
    mnist = data.load(Data("mnist"))
    labels_of_all = mnist.train.every_label
    test = mnist.test.take(range(min(50 * limit, len(mnist.test.images))))
    of_test = test.images[:] / np.float32(255), test.every_label

    found: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        few = mnist.train.take(of_each_class(labels_of_all, limit, seed))
        real, labels = few.images[:] / np.float32(255), few.every_label
        run = jaxvae.train(
            "conditional_vae",
            data=Data(few.images, labels, batch_size=50, validation_fraction=0.1),
            epochs=epochs,
            latent_dim=8,
            learning_rate=3e-3,
            seed=seed,
            quiet=True,
        )
        drawn = run.sample(len(real), seed=seed)
        of_drawn = np.arange(len(drawn)) % CLASSES  # each class in turn
        sets = {
            "real": (real, labels),
            "real and samples": (np.concatenate([real, drawn]), np.append(labels, of_drawn)),
            "real and moved": (
                np.concatenate([real, moved(real, 2, seed)]),
                np.append(labels, labels),
            ),
            "samples alone": (drawn, of_drawn),
        }
        for name, (x, known) in sets.items():
            found.setdefault(name, []).append(accuracy(x, known, of_test, seed))
        print(f"seed {seed}: " + ", ".join(f"{name} {a[-1]:.4f}" for name, a in found.items()))

    results = {f"{name}: mean": float(np.mean(each)) for name, each in found.items()}
    results |= {
        f"{name}: standard deviation": float(np.std(each, ddof=1)) for name, each in found.items()
    }
    results["number"], results["baseline"] = (
        results["real and samples: mean"],
        results["real: mean"],
    )
    print(f"with samples {results['number']:.4f}, without {results['baseline']:.4f}")
    runs.write_json(out / "results.json", results)
    figures.save(figure_of(found, drawn), out / "figure.png")
    return results


def figure_of(found: dict[str, list[float]], drawn: np.ndarray) -> Any:
    """Accuracy of each seed, and samples of the last one's model: a column per class."""
    figure = plot_figure(7, 2.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    style_axes(left, "", "test accuracy", "")
    for row, each in enumerate([*found.values()][::-1]):
        left.plot(each, [row] * len(each), ".", color="tab:blue", alpha=0.6)
        left.plot(np.mean(each), row, "|", color="k", markersize=14)
    left.set_yticks(range(len(found)), [*found][::-1])
    left.set_ylim(-0.5, len(found) - 0.5)
    rows = drawn[: 5 * CLASSES].reshape(5, CLASSES, *drawn.shape[1:3])
    right.imshow(np.concatenate([np.hstack(row) for row in rows]), cmap="gray_r")
    right.set_title("samples", fontsize=9)
    right.set_axis_off()
    return figure


if __name__ == "__main__":
    tyro.cli(main)
