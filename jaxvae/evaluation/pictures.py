"""From a trained model to pictures: each function returns the arrays shown and their figure.

The command line and the training loop both call these, so a picture made while training, after it
or from a saved run is the same picture.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxvae import evaluation, figures
from jaxvae.checks import UsageError, require
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import Trained, drawn
from jaxvae.evaluation.density import Density

Picture = tuple[dict[str, np.ndarray], Figure | None]
"""Arrays, and their figure; None of what is neither image nor signal nor row of a table."""

FIGURES = (
    *("latents", "curves", "interpolations", "samples", "traversals", "manifold"),
    "reconstructions",  # last, which tells that all were drawn
)
"""Names of the figures of a run, in the order in which they are drawn."""
SCATTERED = 10_000  # images in the scatter plot of a run, fewer where their codes are long
SCATTERED_NUMBERS = 4_000_000


def _measured(x: np.ndarray, observed: Any) -> np.ndarray:
    """The examples x, (n, ...), in which NaN is what was not observed."""
    return x if observed is None else np.where(observed, x, np.nan)


def reconstructions(trained: Trained, split: Split) -> Picture:
    """Originals over reconstructions (and what the encoder saw, where it was corrupted).

    Of rows of a table also the names of their `columns`.
    """
    batch = evaluation.prepare(trained, split)
    originals = _measured(evaluation.pixels(trained, batch.target), batch.observed)
    decoded = evaluation.reconstruct(trained, batch)
    inputs = evaluation.pixels(trained, batch.input)
    arrays = {"originals": originals, "reconstructions": decoded, "inputs": inputs}
    corrupted = trained.experiment.data.corruption != "none"
    seen = inputs if corrupted else None
    if columns := drawn.columns(trained):
        arrays["columns"] = np.array(columns)
    return arrays, drawn.reconstructions(trained, originals, decoded, seen)


def samples(
    trained: Trained,
    n: int = 64,
    seed: int = 0,
    label: int | None = None,
    density: Density | None = None,
) -> Picture:
    """Examples decoded from draws of the model's prior: of one class, or of each in turn.

    With a `density` that was fitted on codes, the draws are from that.

    Raises:
        UsageError: the model has no prior, or does not look at labels.
    """
    require(n >= 1, "n", n, "at least 1")
    allowed = "left out: this model does not look at labels"
    labelled = evaluation.knows_labels(trained)
    require(label is None or labelled, "--label", label, allowed)
    if density is None:
        z, images = evaluation.sample(trained, n, seed, label)
    else:
        z = density.sample(n, seed)
        images = evaluation.decode(trained, z, evaluation.labels_for(trained, n, label))
    arrays = {"codes": z, "images": images}
    if labelled:
        arrays["labels"] = evaluation.labels_for(trained, n, label)
    return arrays, drawn.samples(trained, images)


def embedding(
    trained: Trained, split: Split, classes: tuple[str, ...] | None, layer: str | None = None
) -> Picture:
    """The codes of a split, flattened to (n, latents), and their scatter plot by class.

    Of images that are files also their `names`: paths within the folder, or archive.
    Labels are not drawn where one is below 0 ("unlabelled") or where they are more than 100.
    """
    codes = evaluation.embed(trained, evaluation.prepare(trained, split), layer)
    arrays = {"codes": codes.reshape(len(codes), -1)}
    if split.labels is not None:
        arrays["labels"] = split.labels
        if classes is not None:
            arrays["classes"] = np.array(classes)  # the labels' names
    if split.names is not None:
        arrays["names"] = np.array(split.names)
    labels = split.labels
    if labels is not None and (labels.min() < 0 or len(np.unique(labels)) > 100):
        labels = None
    title = None
    if (kind := drawn.kind(trained)) != "image":
        title = f"Codes of {len(codes):,} {kind or 'example'}{'s' if len(codes) > 1 else ''}"
    return arrays, figures.latent_scatter(arrays["codes"], labels, classes, title)


def interpolations(
    trained: Trained, split: Split, first: Sequence[int], second: Sequence[int], steps: int = 11
) -> Picture:
    """Decoded on the straight lines between the codes of examples first[i] and second[i].

    Where the model knows labels, that of the first holds on the whole line.
    """
    require(steps >= 2, "steps", steps, "at least 2")
    starts, ends = (
        evaluation.prepare(trained, split.take(index), index) for index in (first, second)
    )
    z0, z1 = (evaluation.embed(trained, batch) for batch in (starts, ends))
    t = np.linspace(0, 1, steps, dtype=z0.dtype).reshape(1, steps, *[1] * (z0.ndim - 1))
    codes = (1 - t) * z0[:, None] + t * z1[:, None]
    labels = np.repeat(starts.label, steps)
    decoded = evaluation.decode(trained, codes.reshape(-1, *z0.shape[1:]), labels)
    decoded = decoded.reshape(len(z0), steps, *decoded.shape[1:])
    originals = np.stack(
        [_measured(evaluation.pixels(trained, b.target), b.observed) for b in (starts, ends)],
        axis=1,
    )
    arrays = {"codes": codes, "images": decoded, "originals": originals}
    pairs = [*zip(first, second, strict=True)]
    return arrays, drawn.interpolations(trained, decoded, originals, pairs)


def traversals(
    trained: Trained, split: Split, index: int = 0, steps: int = 11, dims: int = 10
) -> Picture:
    """One latent of an example's code varied at a time.

    Shown are the `dims` latents that say most about the examples. Where the posterior is compared
    with N(0, I) latent by latent they are those of largest mean KL, and run over -3..3, standard
    deviations of the prior; otherwise those of largest standard deviation, over three of these on
    either side of their mean, within the codes' range.

    Raises:
        UsageError: the code is no vector.
    """
    require(steps >= 1, "steps", steps, "at least 1")
    require(dims >= 1, "dims", dims, "at least 1")
    batch = evaluation.prepare(trained, split)
    codes = evaluation.embed(trained, batch)
    if codes.ndim != 2:
        shape = codes.shape[1:]
        raise UsageError(f"traverse: needs a vector code; this model's is a map of {shape}")
    offsets = np.linspace(-3, 3, steps, dtype=codes.dtype)
    kl = evaluation.kl_per_latent(trained, batch)
    if kl is not None:
        weight = kl.mean(axis=0)
        center, spread = np.zeros_like(weight), np.ones_like(weight)
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
    labels = np.full(len(shown) * steps, batch.label[index])
    decoded = evaluation.decode(trained, varied.reshape(-1, codes.shape[1]), labels)
    decoded = decoded.reshape(*varied.shape[:2], *decoded.shape[1:])
    arrays = {"codes": varied, "images": decoded, "values": offsets, "dims": shown}
    originals = _measured(evaluation.pixels(trained, batch.target), batch.observed)
    figure = drawn.traversals(trained, decoded, (offsets, xlabel), shown.tolist(), originals)
    return arrays, figure


def manifold(trained: Trained, codes: np.ndarray, standard: bool = True, side: int = 19) -> Picture:
    """Examples decoded from a grid over a two-dimensional latent space.

    Where the prior is `standard`, N(0, I), the grid lies at its quantiles (Kingma and Welling 2014,
    figure 4); otherwise it spans the central 98 % of `codes`, (n, 2), in each direction.
    """
    if standard:
        quantiles = (np.arange(side) + 0.5) / side
        z1 = z2 = np.array([NormalDist().inv_cdf(q) for q in quantiles], np.float32)
    else:
        low, high = np.percentile(codes, [1, 99], axis=0)
        z1, z2 = (np.linspace(low[i], high[i], side, dtype=np.float32) for i in (0, 1))
    grid = np.stack(np.meshgrid(z1, z2), axis=-1)
    images = evaluation.decode(trained, grid.reshape(-1, 2))
    images = images.reshape(side, side, *images.shape[1:])
    figure = drawn.images(trained, figures.manifold, images, z1, z2)
    return {"z1": z1, "z2": z2, "images": images}, figure


def write_progress(
    trained: Trained, dataset: Dataset, rows: list[dict[str, Any]], folder: Path, epoch: int
) -> None:
    """While training: the curves so far, and reconstructions and samples of this epoch."""
    figures.save(figures.training_curves(rows), folder / "curves.png")
    of_epoch = folder / f"epoch-{epoch:04d}"
    _, pair = reconstructions(trained, first(dataset.test, _reconstructed(trained)))
    made = {"reconstructions": pair}
    if evaluation.has_prior(trained):
        made["samples"] = samples(trained)[1]
    _save(made, of_epoch)


def first(split: Split, n: int) -> Split:
    """The first n examples, or all."""
    return split.take(np.arange(min(n, len(split.images))))


def _reconstructed(trained: Trained) -> int:
    """How many examples are drawn: few are seen one by one, points of a scatter plot together."""
    return 1000 if drawn.kind(trained) == "row" else 20


def figure(
    name: str, trained: Trained, dataset: Dataset, rows: list[dict[str, Any]]
) -> Figure | None:
    """One of `FIGURES`, of the test split; None where model or data do not allow it.

    `rows` are those of metrics.csv.
    """
    test = dataset.test
    one = evaluation.prepare(trained, first(test, 1))
    code = evaluation.embed(trained, one)
    scattered = min(SCATTERED, SCATTERED_NUMBERS // code.size)
    match name:
        case "latents":
            return embedding(trained, first(test, scattered), dataset.classes)[1]
        case "reconstructions":
            return reconstructions(trained, first(test, _reconstructed(trained)))[1]
        case "curves" if rows:
            return figures.training_curves(rows)
        case "interpolations" if pairs := min(6, len(test.images) // 2):
            return interpolations(trained, test, range(pairs), range(pairs, 2 * pairs))[1]
        case "samples" if evaluation.has_prior(trained):
            return samples(trained)[1]
        case "traversals" if code.ndim == 2:
            return traversals(trained, first(test, 1000))[1]
        case "manifold" if code.shape[1:] == (2,) and not evaluation.knows_labels(trained):
            standard = evaluation.kl_per_latent(trained, one) is not None
            if not standard:  # the grid lies where the codes are
                code = evaluation.embed(
                    trained, evaluation.prepare(trained, first(test, scattered))
                )
            return manifold(trained, code, standard)[1]
    return None


def write_all(
    trained: Trained, dataset: Dataset, rows: list[dict[str, Any]], folder: Path
) -> list[Path]:
    """Every picture that model and data allow, of the test split; returns the files written."""
    return _save({name: figure(name, trained, dataset, rows) for name in FIGURES}, folder)


def _save(made: dict[str, Figure | None], folder: Path) -> list[Path]:
    """Write those figures that there are; return their files."""
    written = {folder / f"{name}.png": figure for name, figure in made.items() if figure}
    for path, figure in written.items():
        figures.save(figure, path)
    return [*written]
