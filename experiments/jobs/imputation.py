"""Imputation: values of a table and pixels of images that were not observed.

The table is scikit-learn's Breast Cancer Wisconsin, standardised, half of its values hidden, as by
Mattei and Frellsen 2019 (arXiv:1812.02633), whose MIWAE comes to a mean squared error of 0.29. A
VAE is trained on what is left; what is hidden is the mean of p(x|z) over draws of z, weighted by
p(x observed|z) p(z) / q(z|x). Beside it: means of columns, the nearest rows, and linear regressions
in turn (scikit-learn's IterativeImputer). The number of neighbours is chosen with a tenth of what
was observed hidden as well; nothing is chosen for the VAE.

The images are MNIST's; a VAE learns from complete ones. Of test images every other pixel (drawn) is
hidden, or the lower half, then decoded from the code that is likeliest given what is seen. Beside
it: each pixel's mean, and the mean of the nearest training images by the pixels that are seen; how
many, is chosen on validation images.

Only hidden values count.
Number: mean squared error of the table's hidden values, against the best baseline's.
Job: python -m jaxvae.experiments.jobs.imputation
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, evaluation, figures, runs
from jaxvae.batch import Batch
from jaxvae.figures.style import plot_figure, style_axes
from jaxvae.noise import Noise, root
from jaxvae.objectives.divergences import gaussian_log_density
from jaxvae.objectives.likelihoods import bernoulli_nll

NEIGHBOURS = (1, 3, 5, 10, 20, 40)
STEPS = 100
"""Of the search for the code of an image that is seen in part."""


def hidden_error(true: np.ndarray, filled: np.ndarray, hidden: np.ndarray) -> float:
    """Mean squared error of the hidden values alone; all arrays (n, ...)."""
    return float(np.square(true - filled)[hidden].mean())


# -- a table ---------------------------------------------------------------------------------------


def table() -> tuple[np.ndarray, np.ndarray]:
    """Standardised values (569, 30), and which are hidden: exactly half of them."""
    values = load_breast_cancer().data
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    n = values.size
    hidden = np.zeros(n, bool)
    hidden[np.random.default_rng(1234).choice(n, n // 2, replace=False)] = True
    return values, hidden.reshape(values.shape)


def expected(run: jaxvae.Run, values: np.ndarray, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """E[x | what is observed], (n, columns), by importance sampling with draws of q(z|x)."""
    model, variables = run.trained.model, run.trained.variables
    logvar = variables.objective["logvar"]
    prepared = evaluation.prepare(run.trained, np.float32(values))

    @jax.jit
    def of(x: jax.Array, observed: jax.Array, index: jax.Array) -> jax.Array:
        batch = Batch(x, x, jnp.full(len(x), -1), observed, None, run.trained.info)
        mean, logvar_z = model.apply(variables.model, batch, method="posterior")
        noise = Noise(root(seed), 0, index).normal("eps", (draws, mean.shape[-1]))
        z = mean[:, None] + jnp.exp(0.5 * logvar_z)[:, None] * noise
        means = model.apply(variables.model, z.reshape(-1, z.shape[-1]), batch, method="decode")
        means = means.reshape(len(x), draws, -1)
        log_p = gaussian_log_density_of_each(x[:, None], means, logvar)
        log_p = jnp.where(observed[:, None], log_p, 0.0).sum(axis=-1)
        log_q = gaussian_log_density(z, mean[:, None], logvar_z[:, None])
        weights = jax.nn.softmax(log_p + gaussian_log_density(z) - log_q, axis=1)
        return (weights[..., None] * means).sum(axis=1)

    assert prepared.observed is not None  # of rows with missing values
    index = np.arange(len(values))
    parts = [
        of(prepared.target[rows], prepared.observed[rows], jnp.asarray(rows))
        for rows in np.split(index, range(50, len(index), 50))
    ]
    center, scale = (np.array(each) for each in (run.trained.info.center, run.trained.info.scale))
    return np.concatenate(parts) * scale + center


def gaussian_log_density_of_each(x: jax.Array, mean: jax.Array, logvar: jax.Array) -> jax.Array:
    """Log N(x; mean, exp(logvar)) of each value, but for a constant."""
    return -0.5 * (jnp.square(x - mean) * jnp.exp(-logvar) + logvar)


def best_neighbours(
    given: np.ndarray, fill: Callable[[np.ndarray, int], np.ndarray], seed: int = 0
) -> int:
    """The number of neighbours that is best for a tenth of the observed values, hidden for this."""
    hidden = (np.random.default_rng(seed).random(given.shape) < 0.1) & ~np.isnan(given)
    tried = np.where(hidden, np.nan, given)
    errors = [hidden_error(given, fill(tried, k), hidden) for k in NEIGHBOURS]
    return NEIGHBOURS[int(np.argmin(errors))]


def nearest_rows(values: np.ndarray, neighbours: int) -> np.ndarray:
    filled: np.ndarray = KNNImputer(n_neighbors=neighbours).fit_transform(values)
    return filled


def of_table(epochs: int) -> dict[str, float]:
    """Mean squared errors of the hidden values, in standard deviations, by method."""
    values, hidden = table()
    given = np.where(hidden, np.nan, values)
    run = jaxvae.train(
        Experiment(
            name="table",
            data=Data({"values": np.float32(given)}, batch_size=64, validation_fraction=0.1),
            model=Model(hidden_dims=(128, 128), latent_dim=10, output="linear", activation="tanh"),
            objective=Objective("gaussian_learned"),
            train=Train(epochs=epochs, figures_every=None),
        )
    )
    filled = {
        "mean": SimpleImputer().fit_transform(given),
        "nearest rows": nearest_rows(given, best_neighbours(given, nearest_rows)),
        "linear regressions": IterativeImputer(max_iter=30, tol=1e-2, random_state=0).fit_transform(
            given
        ),
        "VAE": np.where(hidden, expected(run, given), values),
    }
    return {name: hidden_error(values, each, hidden) for name, each in filled.items()}


# -- images ----------------------------------------------------------------------------------------


def most_likely(
    run: jaxvae.Run, images: np.ndarray, hidden: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Hidden pixels of images (n, ...) in [0, 1], decoded from the code that is likeliest.

    Of log p(x seen|z) + log p(z), climbed by Adam from the code of the image with `start` in place
    of what is hidden.
    """
    model, variables = run.trained.model, run.trained.variables.model
    seen, adam = jnp.asarray(~hidden), optax.adam(0.1)
    batch = evaluation.prepare(run.trained, np.where(hidden, start, images))

    def loss(z: jax.Array) -> jax.Array:
        logits = model.apply(variables, z, batch, method="decode")
        nll = bernoulli_nll(logits, batch.target, seen)
        return (nll + 0.5 * jnp.square(z).sum(axis=-1)).sum()

    @jax.jit
    def climb(z: jax.Array) -> jax.Array:
        def step(carry: Any, _: None) -> Any:
            z, state = carry
            updates, state = adam.update(jax.grad(loss)(z), state)
            return (optax.apply_updates(z, updates), state), None

        return jax.lax.scan(step, (z, adam.init(z)), None, STEPS)[0][0]

    z = climb(jnp.asarray(evaluation.embed(run.trained, batch)))
    return np.where(hidden, run.decode(z), images)


def nearest_images(
    images: np.ndarray, hidden: np.ndarray, known: np.ndarray, neighbours: Sequence[int]
) -> dict[int, np.ndarray]:
    """Hidden pixels as the mean of so many nearest `known` images, by the pixels seen."""
    seen = np.float32(~hidden).reshape(len(hidden), -1)
    x, known_x = images.reshape(len(images), -1) * seen, known.reshape(len(known), -1)
    distance = seen @ np.square(known_x).T - 2 * x @ known_x.T  # but for what all have in common
    order = np.argsort(distance, axis=1)[:, : max(neighbours)]
    return {
        k: np.where(hidden, known_x[order[:, :k]].mean(axis=1).reshape(images.shape), images)
        for k in neighbours
    }


def of_images(limit: int, epochs: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Root mean squared errors of hidden pixels in [0, 1], by method; the first images."""
    run = jaxvae.train(
        Experiment(
            name="images",
            data=Data("mnist", limit=limit, validation_fraction=0.1),
            model=Model(hidden_dims=(256,), latent_dim=32),
            train=Train(epochs=epochs, figures_every=None),
        )
    )
    known = run.dataset.train.images[:] / np.float32(255)
    images = run.dataset.test.images[:500] / np.float32(255)
    tuning = run.dataset.validation.images[:200] / np.float32(255)
    errors: dict[str, float] = {}
    shown: dict[str, np.ndarray] = {"original": images[:6]}
    rng = np.random.default_rng(0)
    for what in ("half of the pixels", "lower half"):
        hidden, tried = (
            rng.random(each.shape) < 0.5
            if what == "half of the pixels"
            else np.broadcast_to(np.arange(28)[:, None, None] >= 14, each.shape)
            for each in (images, tuning)
        )
        counts = [k for k in NEIGHBOURS if k <= len(known)]
        of_tuning = nearest_images(tuning, tried, known, counts)
        k = min(counts, key=lambda k: hidden_error(tuning, of_tuning[k], tried))
        mean = np.broadcast_to(known.mean(axis=0), images.shape)
        filled = {
            "mean": np.where(hidden, mean, images),
            "nearest images": nearest_images(images, hidden, known, [k])[k],
            "VAE": most_likely(run, images, hidden, mean),
        }
        shown[f"{what} hidden"] = np.where(hidden, 0.5, images)[:6]
        for name, each in filled.items():
            errors[f"{what}: {name}"] = hidden_error(images, each, hidden) ** 0.5
            if name != "mean":
                shown[f"{name}, {what}"] = each[:6]
    return errors, shown


# -- the job ---------------------------------------------------------------------------------------


def main(
    limit: int = 10_000, epochs: int = 15, out: Path = Path("runs/jobs/imputation")
) -> dict[str, float]:
    """Train, fill in, compare, draw.

    Args:
        limit: So many training images.
        epochs: Of the training on images; twenty times as many on the table.
        out: Folder of results.json and figure.png.
    """
    of_rows = of_table(20 * epochs)
    of_pixels, shown = of_images(limit, epochs)
    results = {f"table: {name}": error for name, error in of_rows.items()} | of_pixels
    for name, error in results.items():
        print(f"{name}: {error:.4f}")
    results["number"] = of_rows["VAE"]
    results["baseline"] = min(error for name, error in of_rows.items() if name != "VAE")
    print(f"table: VAE {results['number']:.3f}, best baseline {results['baseline']:.3f}")
    runs.write_json(out / "results.json", results)
    figures.save(drawn(of_rows, of_pixels, shown), out / "figure.png")
    return results


def drawn(
    of_rows: dict[str, float], of_pixels: dict[str, float], shown: dict[str, np.ndarray]
) -> Any:
    """Errors as bars; six images filled in."""
    figure = plot_figure(7.5, 3.4)
    grid = figure.add_gridspec(2, 2)
    first, second = (figure.add_subplot(grid[row, 0]) for row in range(2))
    style_axes(first, "table, half of it hidden", "mean squared error", "")
    names = [*of_rows][::-1]
    first.barh(names, [of_rows[name] for name in names], color="0.6", height=0.6)
    style_axes(second, "hidden pixels", "root mean squared error", "")
    labels = ("VAE", "nearest images", "mean")
    for shift, what, color in ((0.2, "half of the pixels", "0.4"), (-0.2, "lower half", "0.75")):
        errors = [of_pixels[f"{what}: {name}"] for name in labels]
        second.barh(np.arange(3) + shift, errors, color=color, height=0.35, label=what)
    second.set_yticks(range(3), labels)
    second.set_xlim(0, 2.3 * max(of_pixels.values()))
    second.legend(fontsize=7, frameon=False, loc="upper right")
    for axes in (first, second):
        axes.grid(axis="y", visible=False)
    axes = figure.add_subplot(grid[:, 1])
    axes.imshow(
        np.concatenate([np.hstack([*each[..., 0]]) for each in shown.values()]), cmap="gray_r"
    )
    axes.set_yticks([14 + 28 * i for i in range(len(shown))], [*shown], fontsize=7)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    tyro.cli(main)
