"""Figures as the pixels that are written."""

import io

import matplotlib.image
import numpy as np


def rendered(figure):
    """RGB in [0, 1], (height, width, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=figure.dpi)
    buffer.seek(0)
    return matplotlib.image.imread(buffer)[..., :3]


def of_the_edge(pixels):
    """The outermost three pixels on each side, (n, channels)."""
    margin = np.ones(pixels.shape[:2], bool)
    margin[3:-3, 3:-3] = False
    return pixels[margin]
