"""Denoising: a denoising AE and a VAE against a median filter and PCA, by level of the noise.

Gaussian noise on MNIST's test images, clipped to [0, 1] as a camera does. The AE is trained to undo
noise of level 0.5 (Vincent et al. 2010, https://jmlr.org/papers/v11/vincent10a.html), the VAE
to reconstruct clean images. The baselines are told more: at every level the median filter takes the
window, and PCA (of clean training images) the number of components, that is best for noisy training
images of that level.

Number: mean PSNR of the denoising AE at level 0.5, in dB, against the better baseline's.
Job: python -m jaxvae.experiments.jobs.denoising
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro
from scipy.ndimage import median_filter
from sklearn.decomposition import PCA

import jaxvae
from jaxvae import Data, Experiment, Model, Objective, Train, evaluation, figures, runs
from jaxvae.figures.style import plot_figure, style_axes

LEVELS = (0.1, 0.2, 0.3, 0.5, 0.7)
"""Standard deviations of the noise, of pixels in [0, 1]."""
TRAINED = 0.5
WINDOWS = (1, 2, 3, 5, 7)
COMPONENTS = (5, 10, 20, 40, 80, 160)


def noisy(clean: np.ndarray, level: float, seed: int) -> np.ndarray:
    """Pixels in [0, 1] with Gaussian noise, clipped to that range."""
    noise = np.random.default_rng(seed).normal(0, level, clean.shape)
    return np.clip(clean + noise, 0, 1).astype(np.float32)


def psnr(clean: np.ndarray, shown: np.ndarray) -> float:
    """Mean over the images (n, ...) of the peak signal-to-noise ratio, -10 log10 MSE, in dB."""
    mse = np.square(clean - shown).reshape(len(clean), -1).mean(axis=1)
    return float(-10 * np.log10(np.maximum(mse, 1e-12)).mean())


def through(run: jaxvae.Run, images: np.ndarray) -> np.ndarray:
    """Images through the code and back; a denoising run would add its own noise to its input."""
    experiment = run.trained.experiment
    data = replace(experiment.data, corruption="none", corruption_level=0.0)
    trained = run.trained._replace(experiment=replace(experiment, data=data))
    return evaluation.reconstruct(trained, evaluation.prepare(trained, images))


def median(images: np.ndarray, window: int) -> np.ndarray:
    """Each pixel's median over a square window; 1: as it is."""
    return median_filter(images, size=(1, window, window, 1))


def projected(pca: PCA, images: np.ndarray, components: int) -> np.ndarray:
    """Images projected on so many principal components, clipped to [0, 1]."""
    basis = pca.components_[:components]
    centred = images.reshape(len(images), -1) - pca.mean_
    return np.clip(centred @ basis.T @ basis + pca.mean_, 0, 1).reshape(images.shape)


def main(
    limit: int = 10_000, epochs: int = 15, out: Path = Path("runs/jobs/denoising")
) -> dict[str, float]:
    """Train, compare, draw.

    Args:
        limit: So many training images, and at most 2000 test images.
        epochs: Of either training.
        out: Folder of results.json and figure.png.
    """
    data = Data("mnist", limit=limit, validation_fraction=0.1)
    train = Train(epochs=epochs, figures_every=None)
    dae = jaxvae.train(
        Experiment(
            name="dae",
            data=replace(data, corruption="gaussian", corruption_level=TRAINED),
            model=Model(family="AE", hidden_dims=(512,), latent_dim=64, output="sigmoid"),
            objective=Objective("mse"),
            train=train,
        )
    )
    vae = jaxvae.train(
        Experiment(
            name="vae", data=data, model=Model(hidden_dims=(512,), latent_dim=64), train=train
        )
    )

    clean = dae.dataset.test.images[:2000] / np.float32(255)
    tuning = dae.dataset.train.images[:500] / np.float32(255)
    known = dae.dataset.train.images[:] / np.float32(255)
    known = known.reshape(len(known), -1)
    pca = PCA(min(*known.shape, max(COMPONENTS)), random_state=0).fit(known)

    curves: dict[str, list[float]] = {}
    for level in LEVELS:
        given, tried = noisy(clean, level, seed=0), noisy(tuning, level, seed=1)
        window = max(WINDOWS, key=lambda w: psnr(tuning, median(tried, w)))
        k = max(COMPONENTS, key=lambda k: psnr(tuning, projected(pca, tried, k)))
        shown = {
            "noisy": given,
            "median filter": median(given, window),
            "PCA": projected(pca, given, k),
            "VAE": through(vae, given),
            "denoising AE": through(dae, given),
        }
        for name, images in shown.items():
            curves.setdefault(name, []).append(psnr(clean, images))
        if level == TRAINED:
            examples = {"clean": clean, **shown}
        print(
            f"noise {level}: " + ", ".join(f"{name} {c[-1]:.2f} dB" for name, c in curves.items())
        )

    at = LEVELS.index(TRAINED)
    results = {
        f"{name} at {x}": c for name, of in curves.items() for x, c in zip(LEVELS, of, strict=True)
    }
    results["number"] = curves["denoising AE"][at]
    results["baseline"] = max(curves["median filter"][at], curves["PCA"][at])
    print(f"denoising AE {results['number']:.2f} dB, best baseline {results['baseline']:.2f} dB")
    runs.write_json(out / "results.json", results)
    figures.save(drawn(curves, examples), out / "figure.png")
    return results


def drawn(curves, examples):
    """PSNR by level, and six images at the level that the AE was trained with."""
    figure = plot_figure(7, 3)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    style_axes(left, "", "standard deviation of the noise", "PSNR (dB)")
    for name, curve in curves.items():
        style = {"color": "0.6", "linestyle": "--"} if name == "noisy" else {}
        left.plot(LEVELS, curve, marker=".", label=name, **style)
    left.legend(fontsize=7, frameon=False)
    right.imshow(
        np.concatenate([np.hstack([*images[:6, ..., 0]]) for images in examples.values()]),
        cmap="gray_r",
    )
    right.set_yticks([14 + 28 * i for i in range(len(examples))], [*examples], fontsize=8)
    right.set_xticks([])
    right.tick_params(length=0)
    right.set_title(f"noise {TRAINED}", fontsize=9)
    right.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    tyro.cli(main)
