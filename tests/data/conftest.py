from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("JAXVAE_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two classes of grey 4x3 images, three each, of known values."""
    folder = tmp_path / "photos"
    for c, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.full((4, 3), 100 * c + i, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder
