"""Anomaly detection: each digit as normal in turn; and why a likelihood may call anomalies normal.

A VAE is trained on images of one digit alone and scores MNIST's test images, with z at the
posterior mean, by -ELBO and by the squared error of the reconstruction; the digit itself is normal,
the other nine are not. Beside it: the squared error of PCA of the same images, with as many
components as the VAE has latents, and with other numbers, of which nobody knows beforehand which is
best.

Then a VAE of Fashion-MNIST scores MNIST against Fashion-MNIST. Its Bernoulli likelihood of grey
pixels cannot fall below their entropy, of which clothes have more than digits: it finds digits
likelier than clothes, and the area under the ROC curve is below 1/2 (Nalisnick et al. 2019,
arXiv:1810.09136, with other models). The reconstruction term minus that entropy is a KL divergence,
and does not have this fault, nor does the squared error.

Number: mean over the digits of the area under the ROC curve by squared error, against PCA's.
Job: python -m jaxvae.experiments.jobs.anomalies
"""

from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy.special import entr
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import jaxvae
from jaxvae import Data, Experiment, Model, Train, data, evaluation, figures, runs
from jaxvae.evaluation import score
from jaxvae.figures.style import plot_figure, style_axes, with_minus

LATENTS = 20
COMPONENTS = (5, 10, 20, 40, 80)


def vae(images: np.ndarray, epochs: int, batch_size: int) -> jaxvae.Run:
    """A dense VAE of these images, a tenth of them for validation."""
    experiment = Experiment(
        name="normal",
        data=Data(images, batch_size=batch_size, validation_fraction=0.1),
        model=Model(hidden_dims=(256,), latent_dim=LATENTS),
        train=Train(epochs=epochs, figures_every=None),
    )
    return jaxvae.train(experiment, quiet=True)


def terms(run: jaxvae.Run, images: np.ndarray) -> dict[str, np.ndarray]:
    """`loss`, `recon`, `kl` in nats and `mse`, of each image, (n,), with z at the mean."""
    return score.terms(run.trained, evaluation.as_stored(run.trained, images), sampled=False).rows


def entropy_floor(images: np.ndarray) -> np.ndarray:
    """The least that the Bernoulli reconstruction term of an image can be, (n,), in nats.

    -x log x - (1 - x) log(1 - x), summed over the pixels of integer images in 0..255.
    """
    x = images.reshape(len(images), -1) / 255.0
    return (entr(x) + entr(1 - x)).sum(axis=1)


def pca_errors(normal: np.ndarray, images: np.ndarray) -> dict[int, np.ndarray]:
    """The squared error, (n,), of projecting on so many principal components of `normal`."""
    known, x = (each.reshape(len(each), -1) / 255.0 for each in (normal, images))
    pca = PCA(min(*known.shape, max(COMPONENTS)), random_state=0).fit(known)
    centred = x - pca.mean_
    codes = centred @ pca.components_.T
    return {
        k: np.square(centred).sum(axis=1) - np.square(codes[:, :k]).sum(axis=1) for k in COMPONENTS
    }


def main(
    limit: int = 2000, epochs: int = 20, out: Path = Path("runs/jobs/anomalies")
) -> dict[str, float]:
    """Train, compare, draw.

    Args:
        limit: So many training images of each digit, five times as many of clothes, and at most
            ten times as many, and 5000, test images of either set.
        epochs: Of each training.
        out: Folder of results.json and figure.png.
    """
    mnist, fashion = (data.load(Data(name)) for name in ("mnist", "fashion_mnist"))
    few = min(5000, 10 * limit)
    images, labels = mnist.test.images[:few], mnist.test.every_label[:few]
    clothes = fashion.test.images[:few]

    digits: dict[str, list[float]] = {}
    for digit in range(10):
        normal = mnist.train.images[mnist.train.every_label == digit][:limit]
        found = terms(vae(normal, epochs, 64), images)
        scores = {"VAE, -ELBO": found["loss"], "VAE, squared error": found["mse"]}
        of_pca = pca_errors(normal, images)
        scores |= {f"PCA, {k} components": errors for k, errors in of_pca.items()}
        for name, each in scores.items():
            digits.setdefault(name, []).append(float(roc_auc_score(labels != digit, each)))
        print(f"normal is {digit}: " + ", ".join(f"{n} {a[-1]:.3f}" for n, a in digits.items()))
    means = {name: float(np.mean(areas)) for name, areas in digits.items()}

    fashion_run = vae(fashion.train.images[: 5 * limit], epochs, 128)
    usual, odd = terms(fashion_run, clothes), terms(fashion_run, images)
    floors = entropy_floor(clothes), entropy_floor(images)
    pairs = {
        "-ELBO": (usual["loss"], odd["loss"]),
        "recon minus entropy": (usual["recon"] - floors[0], odd["recon"] - floors[1]),
        "squared error": (usual["mse"], odd["mse"]),
        "entropy alone": floors,
    }
    is_odd = np.repeat([0, 1], [len(clothes), len(images)])
    areas = {n: float(roc_auc_score(is_odd, np.concatenate(p))) for n, p in pairs.items()}

    results = {f"digits: {name}": value for name, value in means.items()}
    results |= {f"fashion against mnist: {name}": value for name, value in areas.items()}
    results["number"] = means["VAE, squared error"]
    results["baseline"] = means[f"PCA, {LATENTS} components"]
    for name, value in results.items():
        print(f"{name}: AUROC {value:.3f}")
    runs.write_json(out / "results.json", results)
    figures.save(drawn(digits, pairs, areas), out / "figure.png")
    return results


def drawn(
    digits: dict[str, list[float]],
    pairs: dict[str, tuple[np.ndarray, np.ndarray]],
    areas: dict[str, float],
) -> Any:
    """Areas by digit; how two scores are distributed over clothes and digits."""
    figure = plot_figure(7.5, 2.6)
    first, *rest = figure.subplots(1, 3, width_ratios=(1.2, 1, 1))
    style_axes(first, "one digit is normal", "digit", "AUROC")
    shown = {"VAE, squared error": "o", "VAE, -ELBO": ".", f"PCA, {LATENTS} components": "x"}
    for name, marker in shown.items():
        first.plot(range(10), digits[name], marker, label=with_minus(name), markersize=5)
    first.set_xticks(range(10))
    first.legend(fontsize=7, frameon=False, loc="lower left")
    for axes, name in zip(rest, ("-ELBO", "recon minus entropy"), strict=True):
        style_axes(axes, f"AUROC {areas[name]:.2f}", f"{with_minus(name)} (nats)", "")
        high = float(np.quantile(np.concatenate(pairs[name]), 0.995))
        low = float(min(each.min() for each in pairs[name]))
        bins = [*np.linspace(low, high, 50)]
        for values, of in zip(pairs[name], ("Fashion (normal)", "MNIST"), strict=True):
            axes.hist(values, bins, density=True, alpha=0.6, label=of)
        axes.set_yticks([])
        axes.legend(fontsize=7, frameon=False)
    return figure


if __name__ == "__main__":
    tyro.cli(main)
