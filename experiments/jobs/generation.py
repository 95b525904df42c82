"""Generation: how near do samples come to the data, and what does the prior cost?

A VAE of MNIST is sampled from its own prior, N(0, I), and from a mixture of Gaussians fitted on
its codes. The baseline is a Gaussian on as many principal components, which takes no network. Each
gives as many samples as there are test images; distances are on features of a small classifier of
these training images (not an FID), with training images in the place of samples as the floor.

Number: Frechet classifier distance of the VAE's samples, against that of principal components.
Job: python -m jaxvae.experiments.jobs.generation
"""

from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.decomposition import PCA

import jaxvae
from jaxvae import Data, Experiment, Model, Train, figures, runs
from jaxvae.evaluation.classifier import classifier
from jaxvae.figures.style import plot_figure, style_axes
from jaxvae.metrics.frechet import frechet_distance
from jaxvae.metrics.manifold import prdc

LATENTS = 16
SHOWN = (4, 10)


def from_components(known: np.ndarray, number: int, latents: int, seed: int = 0) -> np.ndarray:
    """Samples of the Gaussian of `latents` principal components of images (n, ...), in [0, 1]."""
    rows = known.reshape(len(known), -1)
    pca = PCA(min(latents, *rows.shape), random_state=seed).fit(rows)
    z = np.random.default_rng(seed).normal(size=(number, pca.n_components_))
    samples = pca.inverse_transform(z * np.sqrt(pca.explained_variance_))
    return np.clip(samples, 0, 1).reshape(number, *known.shape[1:]).astype(np.float32)


def main(
    limit: int = 10_000, epochs: int = 20, out: Path = Path("runs/jobs/generation")
) -> dict[str, float]:
    """Train, sample, measure, draw.

    Args:
        limit: So many training images, and test images.
        epochs: Of the training.
        out: Folder of results.json and figure.png.
    """
    run = jaxvae.train(
        Experiment(
            name="generation",
            data=Data("mnist", limit=limit, validation_fraction=0.1),
            model=Model(hidden_dims=(256,), latent_dim=LATENTS),
            train=Train(epochs=epochs, figures_every=None),
        )
    )
    known, test = (
        split.images[:] / np.float32(255) for split in (run.dataset.train, run.dataset.test)
    )
    network = classifier(known.reshape(len(known), -1), run.dataset.train.every_label, seed=0)
    number = len(test)
    drawn_from = {
        "training images": known[np.random.default_rng(0).permutation(len(known))[:number]],
        "VAE, N(0, I)": run.sample(number),
        "VAE, mixture": run.sample(number, prior="fitted"),
        "PCA, Gaussian": from_components(known, number, LATENTS),
    }
    real = network.features(test.reshape(number, -1))
    found: dict[str, dict[str, float]] = {}
    for name, images in drawn_from.items():
        fake = network.features(images.reshape(len(images), -1))
        shares = {measure: float(x.mean()) for measure, x in prdc(real, fake).items()}
        found[name] = {"distance": frechet_distance(real, fake), **shares}
        listed = ", ".join(f"{measure} {value:.3f}" for measure, value in found[name].items())
        print(f"{name}: {listed}")
    results = {f"{name}, {m}": value for name, row in found.items() for m, value in row.items()}
    results["number"] = found["VAE, N(0, I)"]["distance"]
    results["baseline"] = found["PCA, Gaussian"]["distance"]
    runs.write_json(out / "results.json", results)
    figures.save(drawn(found, drawn_from), out / "figure.png")
    return results


def drawn(found: dict[str, dict[str, float]], images: dict[str, np.ndarray]) -> Any:
    """Distances, and samples of each kind."""
    figure = plot_figure(7.5, 4.6)
    grid = figure.add_gridspec(2, len(images), height_ratios=(1, 1.1))
    left, right = figure.add_subplot(grid[0, :2]), figure.add_subplot(grid[0, 2:])
    names = [*found][::-1]
    style_axes(left, "", "Frechet classifier distance", "")
    left.barh(names, [found[name]["distance"] for name in names], color="0.6")
    for i, name in enumerate(names):
        left.text(found[name]["distance"], i, f" {found[name]['distance']:.3g}", va="center")
    left.margins(x=0.2)
    style_axes(right, "", "", "")
    for name, marker in zip(("precision", "coverage"), ("o", "x"), strict=True):
        right.plot([found[n][name] for n in names], range(len(names)), marker, label=name)
    right.set_yticks(range(len(names)), [])
    right.set_xlim(0, 1.05)
    right.legend(frameon=False, fontsize=8, loc="upper left")
    for column, (name, of_kind) in enumerate(images.items()):
        axes = figure.add_subplot(grid[1, column])
        rows, columns = SHOWN[1] // 2, SHOWN[0]
        some = of_kind[: rows * columns].reshape(rows, columns, *of_kind.shape[1:3])
        axes.imshow(np.concatenate(np.concatenate(some, axis=2), axis=0), cmap="gray_r")
        axes.set_title(name, fontsize=8)
        axes.axis("off")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
