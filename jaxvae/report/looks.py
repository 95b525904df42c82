"""What a page shows of a model's examples: codes on a map, reconstructions, samples, pictures."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvae.batch import Batch
from jaxvae.data import Split
from jaxvae.evaluation import (
    Trained,
    decode,
    embed,
    is_images,
    kl_per_latent,
    labels_for,
    pixels,
    prepare,
    sample,
)
from jaxvae.evaluation.trained import batches, from_prior
from jaxvae.evaluation.views import chosen
from jaxvae.evaluation.written import by_epoch, epoch_and_member
from jaxvae.figures.latents import pca
from jaxvae.report.blobs import Blobs, Reference

POINTS = 10_000
"""Codes on the map, at most."""
NUMBERS = 800_000
"""Numbers in all these codes together: fewer points where codes are long."""
CARRIED = 2000
"""Points that carry their example, at most."""
CARRIED_BYTES = 3_000_000
"""Of all that are carried, before they are deflated."""
FEW = 24
"""Examples that are reconstructed to be seen, sampled, or compared with the network as layers: as
many of each, so that every program is compiled once."""
PAIRS = FEW // 3
"""Reconstructions of each kind that are shown: the best, the worst, any."""
HELD = 500
"""Draws of a prior that the page cannot draw from, whose codes it holds; fewer of long ones."""
GRID = 21
"""Places along either side of a grid of decoded examples."""
GRID_BYTES = 1_500_000
FIGURE_BYTES = 1_000_000
"""Files of the figures while training, together."""


class Look(NamedTuple):
    """What a pass over some test examples gives; rows are points.

    codes: (n, numbers), each of this `shape` in the model.
    label: (n,), -1: none.
    error: (n,), mean squared error per value of the reconstruction, of pixels in [0, 1] or of
        standardised values.
    kl: (numbers,) nats, the mean over examples; None where latents have none.
    rows: (n,), which examples of the split they are.
    carried: the first of these examples, as `stored` has them.
    """

    codes: np.ndarray
    shape: tuple[int, ...]
    label: np.ndarray
    error: np.ndarray
    kl: np.ndarray | None
    rows: np.ndarray
    carried: np.ndarray


def stored(trained: Trained, x: np.ndarray) -> np.ndarray:
    """Examples as the page keeps them: images uint8, other values as the model sees them, float16.

    x: in the model's range, (n, ...).
    """
    if is_images(trained):
        return np.round(pixels(trained, x) * 255).astype(np.uint8)
    return np.asarray(x, np.float32).astype(np.float16)


def standard(trained: Trained, x: np.ndarray) -> np.ndarray:
    """What `decode` returns, as the page keeps examples."""
    if is_images(trained):
        return np.round(x * 255).astype(np.uint8)
    center, scale = trained.info.center, trained.info.scale
    values = (x - np.asarray(center)) / np.asarray(scale) if center else x
    return values.astype(np.float16)


def target(batch: Batch) -> np.ndarray:
    """What is to be reconstructed, with NaN where it was not observed."""
    x = np.asarray(batch.target)
    return x if batch.observed is None else np.where(np.asarray(batch.observed), x, np.nan)


def look(trained: Trained, split: Split) -> Look:
    """Codes, errors and first examples of a split, in an order that follows from nothing."""
    first = prepare(trained, split.take(np.arange(1)))
    length = max(1, embed(trained, first).size)
    n = min(POINTS, len(split.images), max(PAIRS, NUMBERS // length))
    every = chosen(np.arange(len(split.images)), n, seed=0)
    order = np.random.default_rng(0).permutation(every)
    size = stored(trained, np.asarray(first.target)).nbytes
    keep = min(CARRIED, n, max(PAIRS, CARRIED_BYTES // size))
    codes, labels, errors, kls, carried, kept = [], [], [], [], [], 0
    for batch, _ in batches(trained, split, order):
        code = embed(trained, batch)
        codes.append(code.reshape(len(code), -1))
        labels.append(np.asarray(batch.label))
        errors.append(errors_of(trained, batch, decode(trained, code, batch.label)))
        if (kl := kl_per_latent(trained, batch)) is not None:
            kls.append(kl)
        if kept < keep:  # not all: ten thousand photos may not fit into memory
            carried.append(stored(trained, target(batch))[: keep - kept])
            kept += len(carried[-1])
    return Look(
        np.concatenate(codes),
        code.shape[1:],
        np.concatenate(labels),
        np.concatenate(errors),
        np.concatenate(kls).mean(axis=0) if kls else None,
        order,
        np.concatenate(carried),
    )


def errors_of(trained: Trained, batch: Batch, recon: np.ndarray) -> np.ndarray:
    """Of reconstructions, (n,), as `Look` has them: over the values that were observed."""
    x = target(batch)
    if is_images(trained):
        off = pixels(trained, x) - recon
    else:
        off = x - standard(trained, recon).astype(np.float32)
    squares = np.square(off).reshape(len(off), -1)
    known = np.isfinite(squares).sum(axis=1)
    return np.nansum(squares, axis=1) / np.maximum(known, 1)


def pairs(trained: Trained, split: Split, seen: Look, blobs: Blobs) -> list[dict[str, Any]]:
    """Groups of originals and reconstructions: any, those of the least error, of the largest; of a
    model that is given images with noise these too, `inputs`."""
    order = np.argsort(seen.error, kind="stable")
    groups = {
        "Any": np.arange(min(PAIRS, len(order))),
        "Best": order[:PAIRS],
        "Worst": order[::-1][:PAIRS],
    }
    index = seen.rows[np.concatenate([*groups.values()])]
    batch = prepare(trained, split.take(index), index)
    originals = stored(trained, target(batch))
    recons = standard(trained, decode(trained, embed(trained, batch), batch.label))
    noisy = trained.experiment.data.corruption != "none" and is_images(trained)
    inputs = stored(trained, np.asarray(batch.input)) if noisy else None
    found, start = [], 0
    for name, points in groups.items():
        own = slice(start, start := start + len(points))
        found.append(
            {
                "name": name,
                "error": seen.error[points].tolist(),
                "index": index[own].tolist(),
                "label": seen.label[points].tolist(),
                "originals": blobs.add(f"originals-{name}", originals[own]),
                "reconstructions": blobs.add(f"reconstructions-{name}", recons[own]),
                "inputs": None if inputs is None else blobs.add(f"inputs-{name}", inputs[own]),
            }
        )
    return found


def samples(trained: Trained, train: Split, blobs: Blobs) -> dict[str, Reference]:
    """Draws of the model's own prior, and the training examples next to each, by squared error.

    Of at most 10,000 training examples, fewer where they are large.
    """
    _, drawn = sample(trained, FEW, seed=0)
    size = max(1, int(np.prod(trained.info.shape)))
    among = chosen(np.arange(len(train.images)), min(POINTS, 30_000_000 // size + 1), seed=0)
    near = np.full(FEW, np.inf)
    found = np.zeros((FEW, *trained.info.shape), np.float32)
    rows = standard(trained, drawn).astype(np.float32).reshape(FEW, -1)
    for batch, _ in batches(trained, train, among):
        theirs = np.nan_to_num(stored(trained, np.asarray(batch.target)).astype(np.float32))
        flat = theirs.reshape(len(theirs), -1)
        distance = np.square(rows).sum(1)[:, None] - 2 * rows @ flat.T + np.square(flat).sum(1)
        best = distance.argmin(axis=1)
        closer = distance[np.arange(FEW), best] < near
        near = np.where(closer, distance[np.arange(FEW), best], near)
        found[closer] = theirs[best[closer]]
    kept = found.astype(np.uint8 if is_images(trained) else np.float16)
    return {
        "samples": blobs.add("samples", standard(trained, drawn)),
        "nearest": blobs.add("nearest", kept),
    }


def drawn(trained: Trained, length: int, blobs: Blobs) -> Reference:
    """Codes from the model's own prior, (n, length); the first are those of `samples`."""
    labels = labels_for(trained, max(FEW, min(HELD, NUMBERS // length)), None)
    z = np.asarray(from_prior(trained, labels, seed=0)[1])
    return blobs.add("drawn", z.reshape(len(z), length).astype(np.float16))


def components(codes: np.ndarray) -> dict[str, Any]:
    """The plane of the first two principal components: mean, directions and share of variance."""
    mean = codes.mean(axis=0)
    projected, share = pca(codes)
    count = min(2, projected.shape[1])
    # Directions from projections: pca returns coordinates in the basis, not the basis.
    centred = codes - mean
    norms = np.square(projected[:, :count]).sum(axis=0)
    basis = np.zeros((2, len(mean)))  # a single code has no second direction
    basis[:count] = (projected[:, :count].T @ centred) / np.maximum(norms, 1e-12)[:, None]
    shares = [*share[:count].tolist(), 0.0][:2]
    return {"mean": mean.tolist(), "directions": basis.tolist(), "share": shares}


def grid(trained: Trained, seen: Look, plane: dict[str, Any], blobs: Blobs) -> dict[str, Any]:
    """Examples decoded from a grid over the map's plane: of a decoder that the page has not.

    The plane is that of the two latents, or of the first two principal components.
    """
    direction = np.asarray(plane["directions"], np.float32)
    mean = np.asarray(plane["mean"], np.float32)
    at = (seen.codes - mean) @ direction.T
    low, high = np.percentile(at, [0.5, 99.5], axis=0)
    size = standard(trained, np.zeros((1, *trained.info.shape), np.float32)).nbytes
    side = int(np.clip(np.sqrt(GRID_BYTES / size), 5, GRID))
    axes = [np.linspace(low[i], high[i], side, dtype=np.float32) for i in range(2)]
    places = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    z = (mean + places @ direction).astype(np.float32).reshape(-1, *seen.shape)
    decoded = standard(trained, decode(trained, z))
    return {
        "side": side,
        "low": low.tolist(),
        "high": high.tolist(),
        "images": blobs.add("grid", decoded),
    }


def over_time(folder: Path) -> list[dict[str, Any]]:
    """The figures that were written while training, by epoch, as data URLs; of a population with
    the number of the member, which may be another one at each epoch.

    Of many epochs so many as fit, evenly spaced, the last one among them.
    """
    every = [(path, sorted(path.glob("*.png"))) for path in by_epoch(folder / "figures")]
    packed = [
        (epoch_and_member(path), [(file.stem, small_webp(file, 700)) for file in files])
        for path, files in every
        if files
    ]
    if not packed:
        return []
    size = max(sum(len(webp) for _, webp in files) for _, files in packed)
    number = min(len(packed), max(1, FIGURE_BYTES // size))
    places = np.unique(np.linspace(len(packed) - 1, 0, number).round().astype(int))
    kept = [packed[i] for i in places]
    return [{"epoch": e, "member": m, "pictures": [*_urls(files)]} for (e, m), files in kept]


def _urls(files: list[tuple[str, bytes]]) -> Iterator[dict[str, str]]:
    for name, webp in files:
        yield {"name": name, "url": data_url(webp)}


def data_url(webp: bytes) -> str:
    """A WebP file as what an image's `src` may be."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode('ascii')}"


def small_webp(file: Path, width: int) -> bytes:
    """A figure at most so wide, in pixels, and twice as high; a third of a PNG of 128 colours."""
    from PIL import Image

    with Image.open(file) as image:
        small = image.convert("RGB")
        small.thumbnail((width, 2 * width))
        buffer = io.BytesIO()
        small.save(buffer, "webp", quality=80)
    return buffer.getvalue()
