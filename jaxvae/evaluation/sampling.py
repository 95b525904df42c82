"""Group samples: whether samples lie where examples do, and whether they are copies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from sklearn.decomposition import PCA

from jaxvae.checks import UsageError
from jaxvae.data import Split
from jaxvae.evaluation.classifier import HIDDEN, classifier
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import Trained, batches, knows_labels, pixels, sample
from jaxvae.evaluation.views import chosen, copies, labelled
from jaxvae.metrics.frechet import frechet_distance
from jaxvae.metrics.manifold import K, expected_coverage, nearest_distances, prdc

VALUES = 100_000_000
"""Of training examples, at most, that are in memory for the classifier and as neighbours."""
NEAREST = 1000
"""Samples, and examples, whose nearest training example is looked for."""

Features = Callable[[np.ndarray], np.ndarray]


def samples(subject: Subject) -> Findings:
    """Samples of the prior against the split's examples, as many of each.

    On features of a small classifier that is trained on the training examples (of principal
    components where these have no labels): Frechet distance, precision, recall, density and
    coverage; `_train`: the same of training examples in the place of samples. In values: the
    distance to the nearest training example.

    Raises:
        UsageError: the model has no prior, or there are too few examples.
    """
    trained, split, settings = subject.trained, subject.split, subject.settings
    train = subject.dataset.train
    n = min(settings.generated, len(split.images), len(train.images))
    if n <= K:
        raise UsageError(
            f"{n} samples and images: must be at least {K + 1}, since a ball reaches to the {K}th"
            " neighbour"
        )
    _, decoded = sample(trained, n, settings.seed)
    fake = _rows(trained, decoded)
    if not np.isfinite(fake).all():
        raise UsageError("samples are not finite")
    limit = max(n, VALUES // fake.shape[1])
    own = chosen(np.arange(len(train.images)), limit, settings.seed)
    neighbours = _compared(trained, train, own)
    real_index = chosen(np.arange(len(split.images)), n, settings.seed)
    real = _compared(trained, split, real_index)
    beside = chosen(np.arange(len(own)), n, settings.seed + 1)
    distance, features, notes = _features(subject, train, own, neighbours)

    values: dict[str, float] = {}
    a = features(real)
    for suffix, rows in (("", fake), ("_train", neighbours[beside])):
        b = features(rows)
        values[f"{distance}{suffix}"] = frechet_distance(a, b)
        for name, each in prdc(a, b).items():
            values |= mean_of(f"{name}{suffix}", each)
    of_samples = nearest_distances(fake[:NEAREST], neighbours)
    some = chosen(np.arange(n), NEAREST, settings.seed + 2)  # the split may be in order of classes
    of_images = nearest_distances(real[some], neighbours)
    values |= mean_of("nearest_training_distance", of_samples)
    values |= mean_of("nearest_training_distance_images", of_images)
    if of_images.mean() > 0:
        values["memorisation_ratio"] = float(of_samples.mean() / of_images.mean())

    notes = [
        f"{n:,} samples, images and training images each; Frechet distances grow with fewer",
        *notes,
        "of two sets of one distribution density is 1 on average, and coverage"
        f" {expected_coverage(n):.4g}",
        "_train: training images in the place of samples, as near as can be expected",
        f"nearest among {len(own):,} of {len(train.images):,} training images, of"
        f" {len(of_samples):,} each; ratio near 0: copies; blur alone brings it below 1",
    ]
    if same := copies(train.take(own), split.take(real_index)):
        notes.append(f"{same:,} of these images are training images too")
    if n < settings.generated:
        notes.append(f"fewer than the {settings.generated:,} that were asked for: no more images")
    if knows_labels(trained):
        notes.append("samples are of each class in turn")
    if trained.info.missing:
        notes.append("values that were not observed count as their mean")
    return Findings(values, tuple(notes))


def _features(
    subject: Subject, train: Split, own: np.ndarray, rows: np.ndarray
) -> tuple[str, Features, list[str]]:
    """What the Frechet distance is called, what it is computed on, and what to say of that."""
    seed = subject.settings.seed
    labels = train.every_label[own]
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        components = min(HIDDEN[-1], *rows.shape)
        pca = PCA(components, random_state=seed).fit(rows)
        says = f"no labels to train a classifier on: features are {components} principal components"
        return "frechet_pca_distance", pca.transform, [says]
    network = classifier(rows[known], labels[known], seed)
    says = f"features of a classifier of {known.sum():,} training images, seed {seed}"
    says += f", digest {network.digest}: numbers of another one do not compare"
    notes = [says]
    test = subject.dataset.test
    try:
        index = chosen(labelled(test, "test images"), len(own), seed)
        right = network.predict(_compared(subject.trained, test, index)) == test.every_label[index]
        notes[0] += f"; right on {right.mean():.2%} of the run's test images"
    except UsageError as error:
        notes.append(f"whether the classifier is right is not known: {error}")
    return "frechet_classifier_distance", network.features, notes


def _compared(trained: Trained, split: Split, index: np.ndarray) -> np.ndarray:
    """Clean examples, (n, values), as a decoder's means are: grey where a draw made them binary."""
    data = trained.experiment.data
    if data.binarize != "threshold":
        data = replace(data, binarize="none")
    data = replace(data, corruption="none", corruption_level=0.0)
    clean = trained._replace(experiment=replace(trained.experiment, data=data))
    parts = [_rows(clean, pixels(clean, x.target)) for x, _ in batches(clean, split, index)]
    return np.concatenate(parts)


def _rows(trained: Trained, x: np.ndarray) -> np.ndarray:
    """Examples as rows, float32: pixels in [0, 1]; other values standardised, if the run's are."""
    info = trained.info
    if info.center:
        x = (x - np.array(info.center)) / np.array(info.scale)
    return np.asarray(x, np.float32).reshape(len(x), -1)
