"""Decoded images as files, one each."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from jaxvae.checks import UsageError
from jaxvae.evaluation.trained import Trained


def refuse(trained: Trained) -> None:
    """Raise a UsageError where the examples are no images that a PNG file can hold."""
    maximum, channels = trained.info.maximum, trained.info.shape[-1]
    if maximum is None:
        raise UsageError("--each: the examples of this run are no images")
    if channels not in (1, 3) or (maximum > 255 and channels != 1):
        bits = 8 if maximum == 255 else 16
        raise UsageError(
            f"--each: images of {channels} channels of {bits} bits: must be grey, or of 3 channels"
            " of 8 bits, to be written as PNG files; OUT.npz has them"
        )


def write(trained: Trained, images: np.ndarray, folder: Path, stem: str) -> list[Path]:
    """Write images (n, height, width, channels) in [0, 1] as STEM-0000.png and so on.

    Numbers are those of the data: of 8 bits, or of 16 where the run's are, up to its brightest
    pixel. All are written or none. The folder is new or empty.

    Raises:
        UsageError: as `refuse`.
        OSError: they cannot be written.
    """
    refuse(trained)
    maximum = trained.info.maximum
    pixels = np.rint(images * maximum).astype(np.uint8 if maximum == 255 else np.uint16)
    digits = max(4, len(str(len(pixels) - 1)))
    names = [f"{stem}-{i:0{digits}d}.png" for i in range(len(pixels))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".each-", dir=folder.parent) as temporary:
        whole = Path(temporary) / "images"
        whole.mkdir()
        for name, image in zip(names, pixels, strict=True):
            Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(whole / name)
        if folder.exists():
            folder.rmdir()  # it is empty
        whole.rename(folder)
    return [folder / name for name in names]
