"""From a trained model to pictures: each function returns the arrays shown and their figure.

The command line and the training loop both call these, so a picture made while training, after it
or from a saved run is the same picture.
"""

from collections.abc import Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxvae import evaluation, figures
from jaxvae.checks import UsageError, require
from jaxvae.data import Dataset, Split
from jaxvae.evaluation import Trained, drawn, ranges
from jaxvae.evaluation.density import Density
from jaxvae.evaluation.trained import gaussian_posterior, has_gaussian, has_standard_prior

Picture = tuple[dict[str, np.ndarray], Figure | None]
"""Arrays, and their figure; None of what is neither image nor signal nor row of a table."""

FIGURES = (
    *("latents", "kl", "curves", "interpolations", "samples", "traversals", "manifold"),
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
    prior = codes.shape[1:] == (2,) and has_standard_prior(trained)
    return arrays, figures.latent_scatter(arrays["codes"], labels, classes, title, prior)


def divergences(trained: Trained, split: Split) -> Picture:
    """The mean KL of each latent over the examples, in nats, and whether it is `used`.

    Raises:
        UsageError: the model does not compare q(z|x) with N(0, I) latent by latent.
    """
    batch = evaluation.prepare(trained, split)
    posterior = gaussian_posterior(trained, batch)
    if posterior is None:
        raise UsageError("this model has no KL of each latent with N(0, 1)")
    known = ranges.ranges(posterior[0], posterior)
    return {"kl": known.weight, "used": known.used}, figures.kl_bars(known.weight, known.used)


def interpolations(
    trained: Trained,
    split: Split,
    pairs: Sequence[tuple[int, int]],
    steps: int = 11,
    classes: Sequence[str] | None = None,
) -> Picture:
    """Decoded on the straight lines between the codes of the examples of each pair.

    Where the model knows labels, that of the first holds on the whole line. `classes` are the
    labels' names.
    """
    require(steps >= 2, "steps", steps, "at least 2")
    starts, ends = (
        evaluation.prepare(trained, split.take(index), index) for index in zip(*pairs, strict=True)
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
    names = [_pair(split.every_label, classes, pair) for pair in pairs]
    return arrays, drawn.interpolations(trained, decoded, originals, names)


def _pair(
    labels: np.ndarray, classes: Sequence[str] | None, pair: tuple[int, int]
) -> tuple[str, bool]:
    """What two examples are, and whether that is their classes."""
    a, b = labels[[*pair]].tolist()
    if a < 0 or b < 0:
        return f"example {pair[0]} to {pair[1]}", False
    return " to ".join(classes[i] if classes else str(i) for i in (a, b)), True


def traversals(
    trained: Trained, split: Split, index: int = 0, steps: int = 11, dims: int = 10
) -> Picture:
    """One latent of an example's code varied at a time, over what it takes in the split.

    Shown are at most `dims` latents, those that say most about the examples first: by their mean
    KL where the posterior is compared with N(0, I) latent by latent, otherwise by their standard
    deviation. Each runs evenly from the 1st to the 99th percentile of the aggregated posterior, or
    of the codes (`ranges`); those that are not used are left out, and the title says so.

    Arrays: `codes` and `images` (dims, steps, ...); `values` (dims, steps); `dims`, the latents;
    `weight`, the KL or standard deviation of each of these; `unchanged`, the example reconstructed.

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
    known = ranges.ranges(codes, gaussian_posterior(trained, batch))
    shown = known.shown(dims)
    values = np.linspace(known.low[shown], known.high[shown], steps, axis=1, dtype=codes.dtype)
    varied = np.tile(codes[index], (len(shown), steps, 1))
    for row, i in enumerate(shown):
        varied[row, :, i] = values[row]
    every = np.concatenate([varied.reshape(-1, codes.shape[1]), codes[index][None]])
    decoded = evaluation.decode(trained, every, np.full(len(every), batch.label[index]))
    images = decoded[:-1].reshape(*varied.shape[:2], *decoded.shape[1:])
    arrays = {"codes": varied, "images": images, "values": values, "dims": shown}
    arrays |= {"weight": known.weight[shown], "unchanged": decoded[-1]}
    originals = _measured(evaluation.pixels(trained, batch.target), batch.observed)
    return arrays, drawn.traversals(trained, arrays, known, originals)


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
    where = "at quantiles of the prior" if standard else "over the central 98 % of the codes"
    draw = partial(figures.manifold, where=where)
    figure = drawn.images(trained, draw, images, z1, z2)
    return {"z1": z1, "z2": z2, "images": images}, figure


def first(split: Split, n: int) -> Split:
    """The first n examples, or all."""
    return split.take(np.arange(min(n, len(split.images))))


def reconstructed(trained: Trained) -> int:
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
            return reconstructions(trained, first(test, reconstructed(trained)))[1]
        case "curves" if rows:
            return figures.training_curves(rows)
        case "kl" if code.ndim == 2 and code.shape[1] > 2 and has_gaussian(trained):
            return divergences(trained, first(test, 1000))[1]
        case "interpolations" if pairs := ranges.pairs(test, 6, evaluation.knows_labels(trained)):
            return interpolations(trained, test, pairs, classes=dataset.classes)[1]
        case "samples" if evaluation.has_prior(trained):
            return samples(trained)[1]
        case "traversals" if code.ndim == 2:
            return traversals(trained, first(test, 1000))[1]
        case "manifold" if code.shape[1:] == (2,) and not evaluation.knows_labels(trained):
            standard = has_standard_prior(trained)
            if not standard:  # the grid lies where the codes are
                code = evaluation.embed(
                    trained, evaluation.prepare(trained, first(test, scattered))
                )
            return manifold(trained, code, standard)[1]
    return None
