"""What each value of a group of measures is, in a line: as docs/evaluation.md has it."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

NATS = "nats"
"""Of an example, as losses are."""


class Definition(NamedTuple):
    """text: what it is. unit: of the value; empty: a number, or a share between 0 and 1. better:
    which of two values is the better one; empty: neither."""

    text: str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""


DEFINITIONS = {
    "loss": Definition("the objective that is trained, schedules at their end", NATS, "lower"),
    "recon": Definition("-log p(x|z) with z a sample of q(z|x)", NATS, "lower"),
    "kl": Definition("KL(q(z|x) || p(z))", NATS),
    "mse": Definition("squared error per value, pixels in [0, 1]", "", "lower"),
    "NAME_over_full_batches": Definition(
        "a term of the whole batch: its mean over full batches", NATS
    ),
    "elbo": Definition("-(recon + kl), at weight 1 whatever beta was in training", NATS, "higher"),
    "elbo_at_mean": Definition("the same with z the posterior mean: no bound", NATS, "higher"),
    "recon_at_mean": Definition("recon with z the posterior mean", NATS, "lower"),
    "mse_at_mean": Definition("mse with z the posterior mean", "", "lower"),
    "bits_per_dim": Definition("nats per value of an example, over log 2", "bits", "lower"),
    "nll": Definition(
        "a bound on -log p(x) from above, by K draws of the posterior", NATS, "lower"
    ),
    "num_samples": Definition("K, draws for each example"),
    "ess": Definition("effective sample size of the K draws", "", "higher"),
    "ess_smallest": Definition("that of the example with the least"),
    "grid_images": Definition("examples of which log p(x) was summed over a grid of codes"),
    "grid_log_p": Definition("log p(x) of these, by the sum over 400 x 400 codes", NATS, "higher"),
    "grid_elbo": Definition("the ELBO of these", NATS, "higher"),
    "grid_bound": Definition("-nll of these", NATS, "higher"),
    "active": Definition("latents whose posterior mean has a variance above 0.01"),
    "latents": Definition("how many there are"),
    "collapsed": Definition(
        "latents whose KL is below 0.01 nats for at least 99 % of the examples"
    ),
    "kl_N": Definition("mean KL(q(z_j|x) || N(0, 1)) of this latent", NATS),
    "mutual_information": Definition("I(x; z), at most log N of N training examples", NATS),
    "total_correlation": Definition("KL(q(z) || product of its marginals)", NATS),
    "dimension_wise_kl": Definition("sum over latents of KL(q(z_j) || p(z_j))", NATS),
    "linear_probe": Definition("accuracy of logistic regression on the codes", "", "higher"),
    "linear_probe_N": Definition("the same fitted on so many labels", "", "higher"),
    "knn_N": Definition("accuracy of the majority of so many nearest codes", "", "higher"),
    "accuracy": Definition("clusters assigned to classes one to one", "", "higher"),
    "nmi": Definition("normalised mutual information of clusters and classes", "", "higher"),
    "ari": Definition("adjusted Rand index: 0 by chance", "", "higher"),
    "anomalous": Definition("share of the examples that are anomalous"),
    "auroc_NAME": Definition("P(score of an anomalous > score of a normal one)", "", "higher"),
    "average_precision_NAME": Definition(
        "to be compared with the share of the anomalous", "", "higher"
    ),
    "frechet_classifier_distance": Definition(
        "distance of the samples' features from the images', as Gaussians", "", "lower"
    ),
    "frechet_pca_distance": Definition("the same of 64 principal components", "", "lower"),
    "precision": Definition("share of samples within the ball of some image", "", "higher"),
    "recall": Definition("share of images within the ball of some sample", "", "higher"),
    "density": Definition("balls of images that a sample is in, over 5", "", "higher"),
    "coverage": Definition("share of images with a sample in their ball", "", "higher"),
    "nearest_training_distance": Definition(
        "mean distance of a sample to the nearest training image"
    ),
    "nearest_training_distance_images": Definition("that of an image of the split"),
    "memorisation_ratio": Definition("the first over the second: near 0 samples are copies"),
    "psnr": Definition("-10 log10 MSE, the mean over images", "dB", "higher"),
    "ssim": Definition("structural similarity of image and reconstruction", "", "higher"),
    "mig": Definition("mutual information gap of a factor's two best latents", "", "higher"),
    "sap": Definition("gap in accuracy of a factor's two best latents", "", "higher"),
    "sap_r2": Definition("gap in squared correlation of a factor's two best latents", "", "higher"),
    "modularity": Definition("whether a latent knows of one factor alone", "", "higher"),
    "factor_vae_score": Definition(
        "accuracy in telling which factor is fixed, by the latent that varies least", "", "higher"
    ),
    "beta_vae_score": Definition("accuracy in telling which factor 64 pairs share", "", "higher"),
    "dci_disentanglement": Definition("whether a latent is important for one factor", "", "higher"),
    "dci_completeness": Definition("whether one latent is important for a factor", "", "higher"),
    "dci_informativeness": Definition(
        "accuracy of boosted trees that tell the factors from the codes", "", "higher"
    ),
    "chord": Definition("distance between the two decoded ends"),
    "straight_length": Definition("length of the image of the straight line between the codes"),
    "geodesic_length": Definition("length of the image of the shortest curve that was found"),
    "length_ratio": Definition("geodesic to straight: 1 of a linear decoder"),
}
"""By name; N stands for a number, NAME for what else is measured. Terms of a variant have none."""

BESIDE = {
    "pixels": "on pixels",
    "pca": "on components",
    "train": "training images",
    "mws": "weighted batches",
    "mss": "stratified batches",
    "plain": "plain batches",
}
"""Ends of names of what stands beside a value, to compare it with, and what that is."""


def definition(name: str) -> Definition:
    """Of a value of a group, or of a term; an empty one where there is none."""
    if name in DEFINITIONS:
        return DEFINITIONS[name]
    numbered = re.sub(r"_\d+$", "_N", name)
    if numbered in DEFINITIONS:
        return DEFINITIONS[numbered]
    for pattern, found in DEFINITIONS.items():
        end = pattern.removeprefix("NAME")
        if end != pattern and name.endswith(end):
            return found
        begin = pattern.removesuffix("NAME")
        if begin != pattern and name.startswith(begin):
            return found
    layer = re.match(r"(active|latents)_", name)  # of a model with several layers
    return DEFINITIONS[layer[1]] if layer else Definition("")


def base_of(name: str, values: Mapping[str, float]) -> tuple[str, str]:
    """What a value stands beside, and how, of `BESIDE`: ("knn_5", "pixels"); else (name, "")."""
    base, _, end = name.rpartition("_")
    return (base, end) if end in BESIDE and base in values else (name, "")
