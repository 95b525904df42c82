"""Codes that are chosen from books: the layers that choose them, and how often each is chosen."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.data import Split
from jaxvae.evaluation import Trained
from jaxvae.evaluation.trained import batches
from jaxvae.variants.codebooks import FSQ

MOST = 2000
"""Examples whose codes are counted."""

Layer = dict[str, Any]
Json = dict[str, Any]


def values_of(levels: tuple[int, ...]) -> list[np.ndarray]:
    """The values that each channel of `FiniteScalars` is rounded to."""
    return [(np.arange(level) - level // 2) / (level // 2) for level in levels]


def books_of(trained: Trained) -> np.ndarray | None:
    """The books of a model, (books, codes, length), of which the code at a position is a sum: of
    each book the code next to what those before it leave. None: it has no books.

    Rounding is such a choice too: a channel's values are codes along an axis, which leave all other
    channels as they are. Where a channel has fewer values than another, the last one is repeated.
    """
    model, variables = trained.experiment.model, trained.variables.model
    if isinstance(model, FSQ):
        most = max(model.levels)
        books = np.zeros((len(model.levels), most, len(model.levels)), np.float32)
        for channel, values in enumerate(values_of(model.levels)):
            books[channel, :, channel] = np.pad(values, (0, most - len(values)), mode="edge")
        return books
    codes = variables.get("codebook", variables["params"]).get("codes")
    if getattr(codes, "ndim", 0) not in (2, 3):
        return None
    return np.asarray(codes, np.float32).reshape(-1, *codes.shape[-2:])


def choice(trained: Trained, books: np.ndarray) -> list[Layer]:
    """The layers from the projected features to the codes."""
    _, count, length = books.shape
    chosen = {"kind": "nearest", "codes": books, "count": count, "length": length}
    model = trained.experiment.model
    if not isinstance(model, FSQ):
        return [chosen]
    # What is rounded is half tanh(z + arctanh(offset / half)) - offset, here in units of the codes.
    of_zero = jnp.zeros(length)
    scalars = model.quantiser()
    half, offset = map(np.asarray, scalars.bounds(of_zero))
    unit = np.asarray(scalars.from_zero(of_zero))

    def affine(scale: np.ndarray, shift: np.ndarray) -> Layer:
        return {"kind": "affine", "scale": np.float32(scale), "shift": np.float32(shift)}

    return [
        affine(np.ones(length), np.arctanh(offset / half)),
        {"kind": "activation", "name": "tanh", "slope": 0.0},
        affine(half / unit, -offset / unit),
        chosen,
    ]


def use(trained: Trained, split: Split, rows: np.ndarray) -> tuple[list[Json], Json | None]:
    """How often each code of each book is chosen at all positions of some test examples.

    Returns:
        Of a book `counts`, the `perplexity` of their use, and `values` where it is a channel's; no
        books: an empty list. Of rounded channels together the number of `codes`, how many are
        `used`, and their `perplexity`; of others None.
    """
    books, model = books_of(trained), trained.experiment.model
    if books is None:
        return [], None
    indices_of = jax.jit(lambda v, batch: trained.model.apply(v, batch).aux.get("indices"))
    of_batches = batches(trained, split, rows[:MOST])
    found = [indices_of(trained.variables.model, batch) for batch, _ in of_batches]
    if found[0] is None:
        return [], None
    if not isinstance(model, FSQ):
        each = np.concatenate([np.reshape(indices, (-1, len(books))) for indices in found]).T
        return [_counted(own, books.shape[1]) for own in each], None
    chosen = np.concatenate([np.ravel(indices) for indices in found])
    digits = np.unravel_index(chosen, model.levels, order="F")
    channels = [
        _counted(own, len(values)) | {"values": values.tolist()}
        for own, values in zip(digits, values_of(model.levels), strict=True)
    ]
    number = math.prod(model.levels)
    _, counts = np.unique(chosen, return_counts=True)
    return channels, {"codes": number, "used": len(counts), "perplexity": _perplexity(counts)}


def _counted(chosen: np.ndarray, codes: int) -> Json:
    counts = np.bincount(chosen, minlength=codes)
    return {"counts": counts.tolist(), "perplexity": _perplexity(counts[counts > 0])}


def _perplexity(counts: np.ndarray) -> float:
    """exp of the entropy of the use of codes, each of which was chosen."""
    usage = counts / counts.sum()
    return float(np.exp(-(usage * np.log(usage)).sum()))
