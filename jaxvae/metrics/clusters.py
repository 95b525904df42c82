"""Clusters: whether k-means finds the classes without being told them."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from jaxvae.checks import UsageError, require

STARTS = 10
"""Of k-means, of which the one with the least squared distances counts."""


def k_means(features: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """The cluster of each example, (n,), in 0..k-1: Lloyd's algorithm from 10 k-means++ starts.

    Arthur and Vassilvitskii 2007; https://scikit-learn.org/stable/modules/clustering.html#k-means.
    Starts are drawn from the examples in sorted order, so that their own order does not matter.

    Args:
        features: (n, features).
        k: how many clusters.
        seed: of the starts.

    Raises:
        UsageError: there are fewer than k different examples, or features that are no numbers.
    """
    if not np.isfinite(features).all():
        raise UsageError("features to be divided into clusters are not finite")
    require(2 <= k <= len(features), "k", k, f"in 2..{len(features)}, the number of examples")
    different = len(np.unique(features, axis=0))
    if different < k:
        raise UsageError(f"k = {k}: must be at most {different}, the number of different examples")
    order = np.lexsort(features.T)
    clusters = np.empty(len(features), int)
    clusters[order] = KMeans(k, n_init=STARTS, random_state=seed).fit_predict(features[order])
    return clusters


def matched(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The class that each example's cluster stands for, (n,), one class per cluster.

    Classes are assigned to clusters so that most examples agree, by the Hungarian method (Kuhn
    1955); the share that agrees is the clustering accuracy ACC (Yang et al. 2010). -1 in clusters
    beyond the number of classes. To let every cluster vote for its majority instead, so that two
    may stand for the same class, is another and larger number.

    Args:
        labels: classes, (n,), at least 0.
        clusters: clusters, (n,), at least 0.
    """
    classes, label = np.unique(labels, return_inverse=True)
    groups, cluster = np.unique(clusters, return_inverse=True)
    counts = np.zeros((len(groups), len(classes)), int)
    np.add.at(counts, (cluster, label), 1)
    stands = np.full(len(groups), -1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    stands[rows] = classes[columns]
    return stands[cluster]
