"""The handwritten digits that come with scikit-learn: a data set that needs no download."""

import numpy as np
from PIL import Image

from jaxvae.data.splits import Source, Split

SIZE = 28
"""Height and width in pixels that the 8x8 digits are resized to, those of MNIST."""


def load() -> Source:
    """The 1797 digits as uint8 (1797, 28, 28, 1) with labels 0..9; no test split."""
    from sklearn.datasets import load_digits  # here, because it takes more than a second

    digits = load_digits()
    small = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # values are 0..16
    images = np.stack([_resized(image) for image in small])
    return Source(
        name="digits",
        train=Split(images[..., None], digits.target.astype(np.int32)),
        test=None,
        classes=tuple(str(name) for name in digits.target_names),
        description=f"8x8 handwritten digits of scikit-learn, resized to {SIZE}x{SIZE}",
    )


def _resized(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
