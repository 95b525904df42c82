"""A folder of image files as a data set."""

import os
from pathlib import Path

import numpy as np

from jaxvae.checks import UsageError
from jaxvae.data import cache
from jaxvae.data.decode import Encoded, decode, decode_lazily
from jaxvae.data.splits import Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""File names that count as images, in any case; other files are ignored, hidden ones too."""


def load(path: Path, resize: tuple[int, int] | None, streaming: bool = False) -> Source:
    """The images below `path`, in sorted order.

    A subfolder `train` makes `train` and, where present, `test` the splits. Within a split, each
    subfolder is a class; images directly inside have no labels.

    Args:
        path: the folder.
        resize: height and width for images of different sizes.
        streaming: leave the images in their files, of which only the headers are read.

    Raises:
        ValueError: there are no images, an image is damaged, images lie both inside and beside
            class folders, or sizes differ and `resize` is None.
    """
    path = path.resolve()
    roots = {"train": path}
    if (path / "train").is_dir():
        roots = {key: path / key for key in ("train", "test") if (path / key).is_dir()}
    files = {key: _image_files(root) for key, root in roots.items()}
    # The class of each image: the first folder below its split, None directly inside.
    folders = {key: [_class(file, roots[key]) for file in files[key]] for key in roots}

    classes = tuple(sorted({c for split in folders.values() for c in split if c is not None}))
    parts = {
        key: Encoded(files[key], [str(file) for file in files[key]], _labels(folders[key], classes))
        for key in roots
    }
    if streaming:
        splits = decode_lazily(parts, resize)
    else:
        every_file = [file for split in files.values() for file in split]
        splits = cache.cached(
            path.name,
            len(every_file),
            ["folder", str(path), [cache.fingerprint(file) for file in every_file], resize],
            lambda: decode(parts, resize),
        )
    description = f"images of the folder {path.name}"
    return Source(path.name, splits["train"], splits.get("test"), classes or None, description)


def _image_files(root: Path) -> list[Path]:
    files = []
    for folder, subfolders, names in os.walk(root, onerror=_refuse):  # follows no links to folders
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if file.suffix.lower() in SUFFIXES and not name.startswith("."):
                if not file.is_file():
                    raise UsageError(f"{file}: not a file")  # a pipe, or a link to nothing
                files.append(file)
    files.sort()
    if not files:
        raise UsageError(f"{root}: no images ({', '.join(SUFFIXES)}) in this folder")
    classes = [_class(file, root) for file in files]
    if None in classes and set(classes) != {None}:
        direct, nested = files[classes.index(None)], next(f for f in files if f.parent != root)
        raise UsageError(
            f"{root}: images must lie either all directly inside or all in class folders, but it"
            f" holds {direct.name} and {nested.relative_to(root)}"
        )
    return files


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would be a class that is missing."""
    raise error


def _class(file: Path, root: Path) -> str | None:
    parts = file.relative_to(root).parts
    return parts[0] if len(parts) > 1 else None


def _labels(folders: list[str | None], classes: tuple[str, ...]) -> np.ndarray | None:
    if None in folders:
        return None
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in folders if name is not None], np.int32)
