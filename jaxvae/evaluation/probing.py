"""Group probes: what a simple classifier makes of the codes."""

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.views import FITTED, beside_baselines, chosen, labelled, notes_on, views
from jaxvae.metrics import probes as probing

KS = (1, 5, 10)
FEW = (100, 600, 1000)
"""Labels of all classes together, as in Kingma et al. 2014, table 1 (arXiv:1406.5298)."""
DRAWS = 5
"""Of the examples with few labels, over which accuracies are averaged."""


def probes(subject: Subject) -> Findings:
    """Accuracies on the split of classifiers that are fitted on the codes of training examples.

    `linear_probe`: logistic regression on standardised codes; `linear_probe_100` and so on: on as
    many labels, balanced; `knn_1` and so on: the nearest neighbours. `_pixels` and `_pca`: the same
    on what the encoder was given, and on as many principal components as a code has numbers.

    Raises:
        UsageError: labels are missing or of one class, or all codes are the same.
    """
    train, test = subject.dataset.train, subject.split
    seed = subject.settings.seed
    own = chosen(labelled(train, "training examples"), FITTED, seed)
    to_judge = chosen(labelled(test, "images"), FITTED, seed)
    labels, truth = train.every_label[own], test.every_label[to_judge]
    if len(own) < max(KS):
        raise UsageError(f"{len(own)} training examples have labels: must be at least {max(KS)}")
    sides = beside_baselines(
        views(subject.trained, train, own), views(subject.trained, test, to_judge), seed
    )
    if np.all(sides[""].train == sides[""].train[:1]):
        raise UsageError("all training examples have the same code")

    values: dict[str, float] = {}
    unfinished = []

    def add(name: str, correct: np.ndarray) -> None:
        values.update(mean_of(name, correct))

    for suffix, (x, y) in sides.items():
        predicted, converged = probing.linear_probe(x, labels, y)
        add(f"linear_probe{suffix}", predicted == truth)
        if not converged:
            unfinished.append(f"linear_probe{suffix}")
    few = [n for n in FEW if probing.balanced(labels, n, seed) is not None]
    for number in few:
        for suffix, (x, y) in sides.items():
            correct = np.zeros(len(truth))
            for draw in range(DRAWS):
                index = probing.balanced(labels, number, seed + draw)
                predicted, _ = probing.linear_probe(x[index], labels[index], y)
                correct += (predicted == truth) / DRAWS
            add(f"linear_probe_{number}{suffix}", correct)
    by_k = {s: probing.nearest_neighbours(x, labels, y, KS) for s, (x, y) in sides.items()}
    for k in KS:
        for suffix, predicted_by in by_k.items():
            add(f"knn_{k}{suffix}", predicted_by[k] == truth)

    notes = [f"fitted on {len(own):,} of {len(train.images):,} training examples"]
    if few:
        notes.append(f"linear_probe_N: means over {DRAWS} draws of N labels, as many of each class")
    if left := [n for n in FEW if n not in few]:
        notes.append(f"too few training examples of a class for {_listed(left)} labels")
    if unfinished:
        notes.append(f"not converged in {probing.ITERATIONS} iterations: {', '.join(unfinished)}")
    size, components = sides[""].train.shape[1], sides["_pca"].train.shape[1]
    if components < size:
        notes.append(f"pca: {components} components, for codes of {size} numbers")
    return Findings(values, (*notes, *notes_on(subject, own, to_judge)))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))
