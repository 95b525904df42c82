"""From a trained model to pictures: each function returns the arrays shown and their figure.

The command line and the training loop both call these, so a picture made while training, after it
or from a saved run is the same picture.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxvae import evaluation, figures
from jaxvae.checks import UsageError, require
from jaxvae.data import Dataset, Split
from jaxvae.data.lazy import LazyImages
from jaxvae.evaluation import Trained
from jaxvae.objectives import gaussian_kl

Picture = tuple[dict[str, np.ndarray], Figure]

SCATTERED = 10_000  # images in the scatter plot of a run, fewer where their codes are long
SCATTERED_NUMBERS = 4_000_000


def reconstructions(trained: Trained, images: np.ndarray) -> Picture:
    """Originals over reconstructions (and what the encoder saw, where it was corrupted)."""
    batch = evaluation.prepare(trained, images)
    originals = evaluation.pixels(trained, batch.target)
    decoded = evaluation.reconstruct(trained, batch.input)
    inputs = evaluation.pixels(trained, batch.input)
    arrays = {"originals": originals, "reconstructions": decoded, "inputs": inputs}
    shown = {name: _visible(array) for name, array in arrays.items()}
    corrupted = trained.experiment.data.corruption != "none"
    return arrays, figures.reconstructions(
        shown["originals"], shown["reconstructions"], shown["inputs"] if corrupted else None
    )


def samples(trained: Trained, n: int = 64, seed: int = 0) -> Picture:
    """Images decoded from draws of the prior.

    Raises:
        ValueError: the model has no prior.
    """
    require_prior(trained, "sample")
    require(n >= 1, "n", n, "at least 1")
    z, images = evaluation.sample(trained, n, seed)
    return {"codes": z, "images": images}, figures.samples(_visible(images))


def embedding(trained: Trained, split: Split, classes: tuple[str, ...] | None) -> Picture:
    """The codes of a split, flattened to (n, latents), and their scatter plot by class.

    Labels are not drawn where one is below 0 ("unlabelled") or where they are more than 100.
    """
    codes = evaluation.embed(trained, evaluation.prepare(trained, split.images[:]).input)
    arrays = {"codes": codes.reshape(len(codes), -1)}
    if split.labels is not None:
        arrays["labels"] = split.labels
        if classes is not None:
            arrays["classes"] = np.array(classes)  # the labels' names
    labels = split.labels
    if labels is not None and (labels.min() < 0 or len(np.unique(labels)) > 100):
        labels = None
    return arrays, figures.latent_scatter(arrays["codes"], labels, classes)


def interpolations(
    trained: Trained,
    images: np.ndarray | LazyImages,
    first: Sequence[int],
    second: Sequence[int],
    steps: int = 11,
) -> Picture:
    """Decoded on the straight lines between the codes of images[first[i]] and images[second[i]]."""
    require(steps >= 2, "steps", steps, "at least 2")
    starts, ends = (
        evaluation.prepare(trained, images[np.asarray(index)], index) for index in (first, second)
    )
    z0, z1 = (evaluation.embed(trained, batch.input) for batch in (starts, ends))
    t = np.linspace(0, 1, steps, dtype=z0.dtype).reshape(1, steps, *[1] * (z0.ndim - 1))
    codes = (1 - t) * z0[:, None] + t * z1[:, None]
    decoded = evaluation.decode(trained, codes.reshape(-1, *z0.shape[1:]))
    decoded = decoded.reshape(len(z0), steps, *decoded.shape[1:])
    ends_shown = (evaluation.pixels(trained, batch.target) for batch in (starts, ends))
    arrays = {"codes": codes, "images": decoded, "originals": np.stack([*ends_shown], axis=1)}
    return arrays, figures.interpolations(_visible(decoded), _visible(arrays["originals"]))


def traversals(
    trained: Trained, images: np.ndarray, index: int = 0, steps: int = 11, dims: int = 10
) -> Picture:
    """One latent of `images[index]`'s code varied at a time.

    Shown are the `dims` latents that say most about `images`: by mean KL for a VAE, whose latents
    run over -3..3 (standard deviations of the prior); by standard deviation for an AE, whose
    latents run over three of these on either side of their mean, within the codes' range.

    Raises:
        ValueError: the code is a feature map.
    """
    require(steps >= 1, "steps", steps, "at least 1")
    require(dims >= 1, "dims", dims, "at least 1")
    x = evaluation.prepare(trained, images).input
    codes = evaluation.embed(trained, x)
    if codes.ndim != 2:
        raise UsageError(f"traverse: needs a vector code; a CAE's is a map of {codes.shape[1:]}")
    offsets = np.linspace(-3, 3, steps, dtype=codes.dtype)
    if evaluation.has_prior(trained):
        mean, logvar = evaluation.posterior(trained, x)
        kl = gaussian_kl(jnp.asarray(mean.T[..., None]), jnp.asarray(logvar.T[..., None]))
        weight = np.asarray(kl).mean(axis=1)
        center, spread = np.zeros_like(codes[0]), np.ones_like(codes[0])
        low, high = center - np.inf, center + np.inf
        xlabel = "value of the latent (standard deviations of the prior)"
    else:
        weight = codes.std(axis=0)
        center, spread = codes.mean(axis=0), codes.std(axis=0)
        low, high = codes.min(axis=0), codes.max(axis=0)  # a ReLU's codes are never negative
        xlabel = (
            "value of the latent (standard deviations of the codes from their mean, in their range)"
        )
    shown = np.sort(np.argsort(-weight, kind="stable")[:dims])
    varied = np.tile(codes[index], (len(shown), steps, 1))
    for row, i in enumerate(shown):
        varied[row, :, i] = np.clip(center[i] + spread[i] * offsets, low[i], high[i])
    decoded = evaluation.decode(trained, varied.reshape(-1, codes.shape[1]))
    decoded = decoded.reshape(*varied.shape[:2], *decoded.shape[1:])
    arrays = {"codes": varied, "images": decoded, "values": offsets, "dims": shown}
    return arrays, figures.traversals(_visible(decoded), offsets, shown.tolist(), xlabel=xlabel)


def manifold(trained: Trained, codes: np.ndarray, side: int = 19) -> Picture:
    """Images decoded from a grid over a two-dimensional latent space.

    For a VAE the grid lies at equal quantiles of the prior (Kingma and Welling 2014, figure 4); for
    an AE it spans the central 98 % of `codes`, (n, 2), in each direction.
    """
    if evaluation.has_prior(trained):
        quantiles = (np.arange(side) + 0.5) / side
        z1 = z2 = np.array([NormalDist().inv_cdf(q) for q in quantiles], np.float32)
    else:
        low, high = np.percentile(codes, [1, 99], axis=0)
        z1, z2 = (np.linspace(low[i], high[i], side, dtype=np.float32) for i in (0, 1))
    grid = np.stack(np.meshgrid(z1, z2), axis=-1)
    images = evaluation.decode(trained, grid.reshape(-1, 2))
    images = images.reshape(side, side, *images.shape[1:])
    return {"z1": z1, "z2": z2, "images": images}, figures.manifold(_visible(images), z1, z2)


def _visible(images: np.ndarray) -> np.ndarray:
    """The channels that a picture can show: grey, or the first three."""
    channels = images.shape[-1]
    return images[..., :3] if channels >= 3 else images[..., :1]


def require_prior(trained: Trained, command: str) -> None:
    """Raise a ValueError unless the model can be sampled."""
    if not evaluation.has_prior(trained):
        family = trained.experiment.model.family
        raise UsageError(
            f"{command}: needs a VAE; this run's model is an {family}, without a prior"
        )


def write_progress(
    trained: Trained, dataset: Dataset, rows: list[dict[str, Any]], folder: Path, epoch: int
) -> None:
    """While training: the curves so far, and reconstructions and samples of this epoch."""
    figures.save(figures.training_curves(rows), folder / "curves.png")
    of_epoch = folder / f"epoch-{epoch:04d}"
    _, figure = reconstructions(trained, dataset.test.images[:20])
    figures.save(figure, of_epoch / "reconstructions.png")
    if evaluation.has_prior(trained):
        figures.save(samples(trained)[1], of_epoch / "samples.png")


def write_all(
    trained: Trained, dataset: Dataset, rows: list[dict[str, Any]], folder: Path
) -> list[Path]:
    """Every picture that the model allows, from the test images; returns the files written."""
    images, labels = dataset.test
    code_size = evaluation.embed(trained, evaluation.prepare(trained, images[:1]).input).size
    n = min(SCATTERED, SCATTERED_NUMBERS // code_size)
    shown = Split(images[:n], None if labels is None else labels[:n])
    arrays, scatter = embedding(trained, shown, dataset.classes)
    pairs = min(6, len(images) // 2)
    made = {
        "reconstructions": reconstructions(trained, images[:20])[1],
        "latents": scatter,
    }
    if rows:
        made["curves"] = figures.training_curves(rows)
    if pairs:
        first, second = range(pairs), range(pairs, 2 * pairs)
        made["interpolations"] = interpolations(trained, images, first, second)[1]
    if evaluation.has_prior(trained):
        made["samples"] = samples(trained)[1]
    if trained.experiment.model.family != "CAE":
        made["traversals"] = traversals(trained, images[:1000])[1]
        if arrays["codes"].shape[1] == 2:
            made["manifold"] = manifold(trained, arrays["codes"])[1]
    for name, figure in made.items():
        figures.save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in made]
