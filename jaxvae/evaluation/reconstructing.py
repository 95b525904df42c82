"""Group reconstruction: how near the decoded posterior mean is to the example."""

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.evaluation import score
from jaxvae.evaluation.subject import Findings, Subject, mean_of
from jaxvae.evaluation.trained import batches, is_images, pixels, reconstruct
from jaxvae.metrics import similarity


def reconstruction(subject: Subject) -> Findings:
    """`mse_at_mean`, and of images `psnr` in decibels and `ssim`, of each image and on average.

    Against the target of the training: the clean image where the input is corrupted, the binarized
    one where images are. Pixels are in [0, 1]; other values as the model sees them.
    """
    trained, split = subject.trained, subject.split
    mse = score.terms(trained, split, sampled=False).rows["mse"].astype(np.float64)
    rows, values = {"mse_at_mean": mse}, mean_of("mse_at_mean", mse)
    if not is_images(trained):
        return Findings(values, ("psnr and ssim are of images",), rows)
    notes = []
    rows["psnr"] = similarity.psnr(mse)
    if len(finite := rows["psnr"][np.isfinite(rows["psnr"])]):
        values |= mean_of("psnr", finite)
    if exact := len(mse) - len(finite):
        notes.append(f"psnr: without {exact:,} images that are reproduced exactly (infinite)")
    try:
        parts = [
            similarity.ssim(pixels(trained, x.target), reconstruct(trained, x))
            for x, _ in batches(trained, split, np.arange(len(mse)))
        ]
        rows["ssim"] = np.concatenate(parts)
        values |= mean_of("ssim", rows["ssim"])
    except UsageError as error:  # images that are too small
        notes.append(f"without ssim: {error}")
    if trained.experiment.data.binarize != "none":
        notes.append(
            "images are binarized, and what is decoded are the probabilities of their ones"
        )
    return Findings(values, tuple(notes), rows)
