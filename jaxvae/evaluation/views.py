"""Examples as rows of numbers: their codes, and beside them what they are compared with.

The baselines of a code are the values that the encoder was given and their principal components, as
many as a code has numbers.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from jaxvae.batch import Batch
from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation.subject import Subject
from jaxvae.evaluation.trained import Trained, batches, embed

FITTED = 10_000
"""Examples that probes, components and clusters are fitted on, and that probes judge, at most."""


class Views(NamedTuple):
    """codes: (n, numbers); pixels: what the encoder saw, (n, values)."""

    codes: np.ndarray
    pixels: np.ndarray


def views(trained: Trained, split: Split, index: np.ndarray | None = None) -> Views:
    """The examples at `index` of a split, by default all; codes are posterior means.

    Raises:
        UsageError: a code is not finite.
    """
    parts = [(_rows(embed(trained, x)), _rows(x.input)) for x, _ in batches(trained, split, index)]
    found = Views(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))
    if not np.isfinite(found.codes).all():
        raise UsageError("codes are not finite")
    return found


def _rows(x: object) -> np.ndarray:
    array = np.asarray(x, np.float32)
    return array.reshape(len(array), -1)


class Sides(NamedTuple):
    """Rows of the training examples, (m, features), and of the split's, (n, features)."""

    train: np.ndarray
    test: np.ndarray


def beside_baselines(train: Views, test: Views, seed: int) -> dict[str, Sides]:
    """Codes (""), `_pixels` and `_pca`; components are of the training examples alone.

    There are as many components as a code has numbers, or as many as there can be.
    """
    components = min(train.codes.shape[1], *train.pixels.shape)
    pca = PCA(components, random_state=seed).fit(train.pixels)
    return {
        "": Sides(train.codes, test.codes),
        "_pixels": Sides(train.pixels, test.pixels),
        "_pca": Sides(pca.transform(train.pixels), pca.transform(test.pixels)),
    }


def chosen(candidates: np.ndarray, limit: int, seed: int) -> np.ndarray:
    """All indices, or a seeded choice of `limit` of them, in order."""
    if len(candidates) <= limit:
        return candidates
    return np.sort(np.random.default_rng(seed).choice(candidates, limit, replace=False))


def labelled(split: Split, which: str) -> np.ndarray:
    """Indices of the examples whose label is known.

    Raises:
        UsageError: there is none, or all are of one class.
    """
    labels = split.every_label
    index = np.flatnonzero(labels >= 0)
    if not len(index):
        raise UsageError(f"the {which} have no labels")
    if len(np.unique(labels[index])) < 2:
        raise UsageError(f"the {which} are of one class alone, {labels[index[0]]}")
    return index


def notes_on(subject: Subject, train: np.ndarray | None, test: np.ndarray) -> list[str]:
    """What a reader of numbers about codes has to know: labels, copies, examples left out.

    train: indices of the training examples that something was fitted on; None: nothing was.
    test: indices of the split's examples that are measured.
    """
    split, notes = subject.split, []
    if (left := len(split.images) - len(test)) > 0:
        notes.append(
            f"on {len(test):,} images; {left:,} others have no label or are beyond a limit"
        )
    fitted = None if train is None else subject.dataset.train.take(train)
    if fitted is not None and (same := copies(fitted, split.take(test))):
        notes.append(f"{same:,} of {len(test):,} images are also among those fitted on")
    if sees_labels(subject.trained):
        notes.append("the encoder is given each image's label, which its code may tell of")
    return notes


def copies(train: Split, test: Split) -> int:
    """How many examples of `test` are in `train` too, as they are stored."""
    own = {hash(row.tobytes()) for row in train.images[:]}
    return sum(hash(row.tobytes()) in own for row in test.images[:])


def sees_labels(trained: Trained) -> bool:
    """Whether the code of an example depends on its label."""
    if trained.info.num_classes < 2:
        return False
    x = jnp.zeros((2, *trained.info.shape))
    two = Batch(x, x, jnp.arange(2, dtype=jnp.int32), None, None, trained.info)
    a, b = embed(trained, two)
    return not bool(np.allclose(a, b))
