"""Figures for a paper: pure functions from arrays to `matplotlib.figure.Figure`.

No global state of `pyplot` is used: figures can be drawn without a display and from any thread, and
are freed like any other object. `save` writes one to a PNG, PDF or SVG file.
"""

from jaxvae.figures.curves import training_curves, validation_curves
from jaxvae.figures.files import FORMATS, save, save_images
from jaxvae.figures.films import MOVING, frame, save_film
from jaxvae.figures.grid import image_grid
from jaxvae.figures.images import (
    interpolations,
    manifold,
    reconstructions,
    samples,
    traversals,
)
from jaxvae.figures.latents import kl_bars, latent_scatter, pca
from jaxvae.figures.scatter import reconstruction_scatter
from jaxvae.figures.sweeps import sweep_curves
from jaxvae.figures.values import lines, reconstruction_lines

__all__ = [
    "FORMATS",
    "MOVING",
    "frame",
    "image_grid",
    "interpolations",
    "kl_bars",
    "latent_scatter",
    "lines",
    "manifold",
    "pca",
    "reconstruction_lines",
    "reconstruction_scatter",
    "reconstructions",
    "samples",
    "save",
    "save_film",
    "save_images",
    "sweep_curves",
    "training_curves",
    "traversals",
    "validation_curves",
]
