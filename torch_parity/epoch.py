"""`python -m torch_parity.epoch`: a whole epoch of MNIST in both, in float64, as a figure.

From equal initial weights, with the same order of the data and the same noise: the MLP VAE, the
BatchNorm VAE (with dropout, and masks shared) and the CAE. Prints the largest relative difference
of each curve. 3 minutes on 2 CPU cores.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import tyro

from torch_parity import NO_TORCH

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    sys.exit(str(NO_TORCH))

from jaxvae import data, figures
from jaxvae.figures.style import WIDTH, plot_figure, style_axes
from jaxvae.interop.maps import reference_map
from torch_parity.experiments import experiment_of
from torch_parity.recipes import RECIPES
from torch_parity.trajectory import compare_training, train_both

NAMES = {"mnist_vae": "MLP VAE", "mnist_vae_bn": "BatchNorm VAE", "mnist_cae": "CAE"}


def main(path: tyro.conf.Positional[Path] = Path("parity.png")) -> None:
    """Train, compare and draw.

    Args:
        path: The figure, a .png.
    """
    figure = plot_figure(WIDTH, 3.6)
    axes = figure.subplots(2, len(NAMES), sharex="col", height_ratios=(2, 1))
    for (upper, lower), (name, title) in zip(axes.T, NAMES.items(), strict=True):
        experiment = experiment_of(name)
        experiment = replace(experiment, train=replace(experiment.train, epochs=1))
        weight_map = reference_map(experiment.model, (28, 28, 1))
        dataset = data.load(experiment.data)
        trainings = train_both(experiment, dataset, RECIPES[name], weight_map)
        ours, theirs, _ = trainings
        for difference in compare_training(trainings, tolerance=1e-6):
            print(f"{name}: {difference.quantity}: {difference.relative:.1e}", flush=True)

        per_image = experiment.objective.scale(784, experiment.data.batch_size)
        steps = np.arange(1, len(ours.training_losses) + 1)
        upper.plot(steps, theirs.training_losses / per_image, color="0.7", lw=2.5, label="PyTorch")
        upper.plot(steps, ours.training_losses / per_image, color="C3", lw=0.7, label="jaxvae")
        gap = np.abs(ours.training_losses - theirs.training_losses)
        relative = np.where(gap > 0, gap / theirs.training_losses, np.nan)  # 0 is not drawn
        lower.semilogy(steps, relative, color="0.3", ls="", marker=".", ms=1.5)
        lower.axhline(np.finfo(np.float64).eps, color="C0", lw=0.8, ls="--")
        first = upper is axes[0, 0]
        style_axes(upper, title, "", "nats per image" if first else "")
        style_axes(lower, "", "step", "relative difference" if first else "")
        lower.set_ylim(1e-17, 1e-12)
    axes[0, 0].legend(fontsize=8, frameon=False)
    figures.save(figure, path)
    print(path)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m torch_parity.epoch")
