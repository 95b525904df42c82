"""Dimensionality reduction: what 2, 16 and 64 numbers keep of a digit's class.

Codes of a VAE, of an AE and of PCA, all learned from the same MNIST images without labels, are
judged by classifiers: logistic regression on standardised codes, and the 5 nearest neighbours.
Beside them all pixels; and t-SNE to 2 numbers, which places test images only together with the
others, so that it has seen what it is judged by (without labels).

Number: accuracy of 5 nearest neighbours with 16 latents of the VAE, against PCA's.
Job: python -m jaxvae.experiments.jobs.reduction
"""

from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, data, figures, runs
from jaxvae.figures.style import class_color, plot_figure, style_axes

LATENTS = (2, 16, 64)
JUDGED = 3000
"""So many training images, with their labels, are given to the classifiers."""


def accuracies(
    codes: tuple[np.ndarray, np.ndarray], labels: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """On the second of two sets of codes (n, latents), by classifiers of the first."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    nearest = KNeighborsClassifier(min(5, len(codes[0])))
    return {
        name: float(classifier.fit(codes[0], labels[0]).score(codes[1], labels[1]))
        for name, classifier in (("probe", probe), ("5 nearest", nearest))
    }


def main(
    limit: int = 5000, epochs: int = 12, out: Path = Path("runs/jobs/reduction")
) -> dict[str, float]:
    """Train, embed, classify, draw.

    Args:
        limit: So many training images. Up to 3000 of them, and a fifth as many test images (but at
            least 100), are classified.
        epochs: Of each training.
        out: Folder of results.json and figure.png.
    """
    settings = Data("mnist", limit=limit, validation_fraction=0.1)
    dataset = data.load(settings)
    train, test = dataset.train, dataset.test
    judged = train.take(range(min(JUDGED, len(train.images))))
    unseen = test.take(range(min(max(100, limit // 5), len(test.images))))
    labels = judged.every_label, unseen.every_label
    flat = [
        np.float32(split.images[:]).reshape(len(split.images), -1) / 255
        for split in (train, judged, unseen)
    ]
    embedded: dict[str, tuple[np.ndarray, np.ndarray]] = {"pixels, 784": (flat[1], flat[2])}
    for latents in LATENTS:
        pca = PCA(latents, random_state=0).fit(flat[0])
        embedded[f"PCA, {latents}"] = pca.transform(flat[1]), pca.transform(flat[2])
        models = {
            "VAE": (Model(hidden_dims=(256,), latent_dim=latents), Objective()),
            "AE": (
                Model("AE", hidden_dims=(256,), latent_dim=latents, output="sigmoid"),
                Objective("mse"),
            ),
        }
        for name, (model, objective) in models.items():
            experiment = Experiment(
                name=name.lower(),
                data=settings,
                model=model,
                objective=objective,
                train=Train(epochs=epochs, figures_every=None),
            )
            run = jaxvae.train(experiment, quiet=True)
            embedded[f"{name}, {latents}"] = run.embed(judged.images), run.embed(unseen.images)
    both = PCA(min(50, len(flat[0])), random_state=0).fit(flat[0])
    placed = TSNE(random_state=0, perplexity=min(30, len(flat[2]) / 4)).fit_transform(
        both.transform(np.concatenate(flat[1:]))
    )
    embedded["t-SNE, 2"] = placed[: len(flat[1])], placed[len(flat[1]) :]

    results: dict[str, float] = {}
    for name, codes in embedded.items():
        found = accuracies(codes, labels)
        results |= {f"{name}: {how}": value for how, value in found.items()}
        print(f"{name}: " + ", ".join(f"{how} {value:.4f}" for how, value in found.items()))
    results["number"] = results["VAE, 16: 5 nearest"]
    results["baseline"] = results["PCA, 16: 5 nearest"]
    runs.write_json(out / "results.json", results)
    figures.save(drawn(results, embedded, labels[1]), out / "figure.png")
    return results


def drawn(
    results: dict[str, float],
    embedded: dict[str, tuple[np.ndarray, np.ndarray]],
    labels: np.ndarray,
) -> Any:
    """Accuracy by latents; test images in two dimensions, coloured by class."""
    figure = plot_figure(7.5, 4.6)
    grid = figure.add_gridspec(2, 6)
    titles = {"probe": "logistic regression", "5 nearest": "5 nearest neighbours"}
    for i, (how, title) in enumerate(titles.items()):
        axes = figure.add_subplot(grid[0, 3 * i : 3 * i + 3])
        style_axes(axes, title, "latents", "accuracy")
        for name in ("VAE", "AE", "PCA"):
            axes.plot(range(3), [results[f"{name}, {k}: {how}"] for k in LATENTS], ".-", label=name)
        axes.plot([0], [results[f"t-SNE, 2: {how}"]], "x", color="k", label="t-SNE")
        axes.axhline(results[f"pixels, 784: {how}"], color="0.6", linestyle="--", label="pixels")
        axes.set_xticks(range(3), [str(k) for k in LATENTS])
        axes.legend(fontsize=7, frameon=False, loc="lower right")
    for i, name in enumerate(("VAE", "PCA", "t-SNE")):
        axes = figure.add_subplot(grid[1, 2 * i : 2 * i + 2])
        z = embedded[f"{name}, 2"][1]
        for c in np.unique(labels):
            of_class = z[labels == c]
            axes.plot(*of_class.T, ".", color=class_color(int(c), 10), markersize=2, label=str(c))
        axes.set_title(f"{name}, 2", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=10,
        fontsize=8,
        frameon=False,
        markerscale=4,
    )
    return figure


if __name__ == "__main__":
    tyro.cli(main)
