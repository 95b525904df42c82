"""A small classifier whose features samples are compared on, in the place of a published network.

Its features are of these data alone, so numbers compare models of one data set, of one classifier
(its digest says which), and no others.
"""

import hashlib
import json
import logging
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from jaxvae.atomic import atomic
from jaxvae.data import cache

FORMAT = 1
"""Part of every digest: raise it when the training changes."""
HIDDEN = (256, 64)
"""Widths of its layers, ReLU after each; the last one's values are the features."""
BATCH = 200
STEPS = 3000
"""Of Adam, at the least."""

log = logging.getLogger("jaxvae")


class Classifier(NamedTuple):
    """weights, biases: of each layer; classes: the labels that the last one tells apart."""

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    classes: np.ndarray

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Values of the last hidden layer, (n, 64), of examples as rows."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            rows = np.maximum(rows @ weight + bias, 0)
        return rows

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Classes, (n,)."""
        logits = self.features(rows) @ self.weights[-1] + self.biases[-1]
        if logits.shape[1] == 1:  # of two classes scikit-learn has one output
            return self.classes[(logits[:, 0] > 0).astype(int)]
        return self.classes[logits.argmax(axis=1)]

    @property
    def digest(self) -> str:
        """Of the weights: the same only where they are the same bits."""
        found = hashlib.blake2b(digest_size=6)
        for array in (*self.weights, *self.biases):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def classifier(rows: np.ndarray, labels: np.ndarray, seed: int) -> Classifier:
    """The classifier of these examples and this seed, kept beside the decoded data sets.

    Args:
        rows: float32 (n, values).
        labels: their classes, (n,), two at least.
        seed: of weights and order.
    """
    found = hashlib.blake2b(
        json.dumps([FORMAT, HIDDEN, BATCH, STEPS, seed]).encode(), digest_size=12
    )
    for array in (rows, labels):
        found.update(np.ascontiguousarray(array).tobytes())
    path = cache.folder() / f"classifier-{found.hexdigest()}.npz"
    try:
        if path.is_file():
            return _read(path)
    except Exception as error:  # zip, NumPy and what is missing each raise their own
        log.warning("%s: damaged (%s): training the classifier again", path, error)
    trained = train(rows, labels, seed)
    try:
        _write(trained, path)
    except OSError as error:
        log.warning("cannot keep the classifier for the next time: %s", error)
    return trained


def train(rows: np.ndarray, labels: np.ndarray, seed: int) -> Classifier:
    """Adam on the cross entropy, for 3000 steps or a little more; the arguments of `classifier`."""
    batch = min(BATCH, len(rows))
    epochs = -(-STEPS * batch // len(rows))
    network = MLPClassifier(
        HIDDEN,
        batch_size=batch,
        max_iter=epochs,
        n_iter_no_change=epochs,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is to take so many steps
        network.fit(rows, labels)
    return Classifier(network.coefs_, network.intercepts_, network.classes_)


def _write(found: Classifier, path: Path) -> None:
    arrays = {"classes": found.classes}
    arrays |= {f"weight_{i}": w for i, w in enumerate(found.weights)}
    arrays |= {f"bias_{i}": b for i, b in enumerate(found.biases)}
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read(path: Path) -> Classifier:
    layers = range(len(HIDDEN) + 1)
    with np.load(path, allow_pickle=False) as arrays:
        weights, biases = ([arrays[f"{kind}_{i}"] for i in layers] for kind in ("weight", "bias"))
        return Classifier(weights, biases, arrays["classes"])
