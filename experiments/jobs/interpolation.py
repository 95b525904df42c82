"""Interpolation: is what lies between two digits a digit?

Pairs of MNIST's test images of different classes. What lies in the middle of their codes, decoded
by a VAE and by an AE, is compared with the mean of their pixels by how far it is from the data: the
distance to the nearest training image. A pale image is near to everything, so all are scaled to the
same norm first. Beside it that distance for test images and for their reconstructions, which says
what could be hoped for: a blurred image is nearer to others than a sharp one is.

Number: mean distance of the VAE's middles to the data, against that of means of pixels.
Job: python -m jaxvae.experiments.jobs.interpolation
"""

from pathlib import Path
from typing import Any

import numpy as np
import tyro
from sklearn.neighbors import NearestNeighbors

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, figures, runs
from jaxvae.figures.style import plot_figure, style_axes

PAIRS = 500
SHOWN = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)


def pairs_of(labels: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """Indices (number, 2) of examples of different classes, drawn."""
    drawn = np.random.default_rng(seed).integers(0, len(labels), (20 * number, 2))
    return drawn[labels[drawn[:, 0]] != labels[drawn[:, 1]]][:number]


def between(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b."""
    return (1 - t) * a + t * b


def unit(images: np.ndarray) -> np.ndarray:
    """Images (n, ...) as rows of norm 1: what is left of them at one contrast."""
    rows = images.reshape(len(images), -1)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def to_data(images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The distance of each image to the nearest known one, (n,), both at norm 1: 0 to sqrt(2)."""
    distance, _ = NearestNeighbors(n_neighbors=1).fit(unit(known)).kneighbors(unit(images))
    return distance[:, 0]


def main(
    limit: int = 10_000, epochs: int = 10, out: Path = Path("runs/jobs/interpolation")
) -> dict[str, float]:
    """Train, interpolate, measure, draw.

    Args:
        limit: So many training images.
        epochs: Of either training.
        out: Folder of results.json and figure.png.
    """
    models = {
        "VAE": (Model(hidden_dims=(256,), latent_dim=16), Objective()),
        "AE": (
            Model("AE", hidden_dims=(256,), latent_dim=16, output="sigmoid"),
            Objective("mse"),
        ),
    }
    found: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    for name, (model, objective) in models.items():
        run = jaxvae.train(
            Experiment(
                name=name.lower(),
                data=Data("mnist", limit=limit, validation_fraction=0.1),
                model=model,
                objective=objective,
                train=Train(epochs=epochs, figures_every=None),
            )
        )
        known = run.dataset.train.images[:] / np.float32(255)
        pairs = pairs_of(run.dataset.test.every_label, PAIRS)
        a, b = (run.dataset.test.images[of] / np.float32(255) for of in pairs.T)
        if not found:
            found["test images"] = to_data(a, known)
            found["mean of pixels"] = to_data(between(a, b, 0.5), known)
            rows["pixels"] = np.stack([between(a, b, t) for t in SHOWN], axis=1)
        za, zb = run.embed(a), run.embed(b)
        found[f"{name}, reconstructions"] = to_data(run.decode(za), known)
        found[f"{name}, middles"] = to_data(run.decode(between(za, zb, 0.5)), known)
        rows[name] = np.stack([run.decode(between(za, zb, t)) for t in SHOWN], axis=1)

    results = {name: float(each.mean()) for name, each in found.items()}
    for name, value in results.items():
        print(f"{name}: {value:.4f} from the data")
    results["number"], results["baseline"] = results["VAE, middles"], results["mean of pixels"]
    runs.write_json(out / "results.json", results)
    figures.save(drawn(found, rows), out / "figure.png")
    return results


def drawn(found: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> Any:
    """Distances, their middle half and their mean; two pairs, interpolated each way."""
    figure = plot_figure(7.5, 2.9)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    style_axes(left, "", "distance to the nearest training image", "")
    names = [*found][::-1]
    for i, name in enumerate(names):
        low, high = np.quantile(found[name], [0.25, 0.75])
        left.plot([low, high], [i, i], color="0.7", linewidth=5, solid_capstyle="butt")
        left.plot(found[name].mean(), i, "o", color="tab:blue", markersize=5)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(-0.5, len(names) - 0.5)
    shown = [np.hstack([*each[pair, ..., 0]]) for pair in range(2) for each in rows.values()]
    right.imshow(np.concatenate(shown), cmap="gray_r")
    right.set_yticks([14 + 28 * i for i in range(len(shown))], [*rows] * 2, fontsize=8)
    right.set_xticks(
        [14 + 28 * i for i in range(len(SHOWN))], [f"{t:g}" for t in SHOWN], fontsize=8
    )
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    tyro.cli(main)
