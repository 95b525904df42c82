"""Group clusters: whether k-means on the codes finds the classes."""

import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from jaxvae.checks import UsageError
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.views import FITTED, beside_baselines, chosen, labelled, notes_on, views
from jaxvae.metrics.clusters import STARTS, k_means, matched


def clusters(subject: Subject) -> Findings:
    """K-means on the split's codes, with as many clusters as the split has classes.

    `accuracy`: of clusters matched with classes one to one; `nmi`: normalised mutual information
    (arithmetic mean of the entropies); `ari`: adjusted Rand index, 0 by chance. `_pixels` and
    `_pca` as in group probes.

    Raises:
        UsageError: labels are missing or of one class, or there are fewer different codes than
            classes: all are the same, say.
    """
    trained, split, seed = subject.trained, subject.split, subject.settings.seed
    index = chosen(labelled(split, "images"), FITTED, seed)
    labels = split.every_label[index]
    k = len(np.unique(labels))
    train = subject.dataset.train
    own = chosen(np.arange(len(train.images)), FITTED, seed)
    sides = beside_baselines(views(trained, train, own), views(trained, split, index), seed)
    if np.all(sides[""].test == sides[""].test[:1]):
        raise UsageError("all images have the same code")
    found = {suffix: k_means(side.test, k, seed) for suffix, side in sides.items()}
    values: dict[str, float] = {}
    for suffix, cluster in found.items():
        values |= mean_of(f"accuracy{suffix}", matched(labels, cluster) == labels)
    for suffix, cluster in found.items():
        values[f"nmi{suffix}"] = float(normalized_mutual_info_score(labels, cluster))
    for suffix, cluster in found.items():
        values[f"ari{suffix}"] = float(adjusted_rand_score(labels, cluster))
    note = f"k-means with k = {k}, the number of classes, the best of {STARTS} starts"
    return Findings(values, (note, *notes_on(subject, None, index)))
