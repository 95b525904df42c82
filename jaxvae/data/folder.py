"""A folder of image files as a data set."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from jaxvae import config
from jaxvae.checks import UsageError
from jaxvae.data import cache
from jaxvae.data.decode import decode, decode_lazily
from jaxvae.data.found import Found, classes_in_words
from jaxvae.data.headers import SUFFIXES, Encoded, described, rules_of, survey
from jaxvae.data.splits import Source, Split

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of folders that are splits, in any case."""


def find(path: Path, data: config.Data) -> Found:
    """The images below `path`, in sorted order.

    A subfolder `train` makes it and its like (`val`, `test`, ...) the splits; or each class folder
    may have them below it. Within a split, each subfolder is a class; images directly inside have
    no labels.

    Raises:
        UsageError: there are no images, one whose header is read is damaged, or images lie both
            inside and beside class folders.
    """
    path = path.resolve()
    files, not_read = _walk(path)
    parts, folders, where = _divided(path, files)
    notes = [f"not read: {', '.join(not_read)}"] if not_read else []
    outside = {file for part in parts.values() for file in part}
    if beside := [file for file in files if file not in outside]:
        of = sorted({_first_folder(file, path) for file in beside})
        notes.append(f"not read: {len(beside):,} images outside of the splits ({', '.join(of)})")
    classes = tuple(sorted({c for part in folders.values() for c in part if c is not None}))
    if odd := [name for name in classes if name.lower() in PARTS]:
        notes.append(f"{odd[0]!r} is taken as a class, since there is no folder train")
    encoded = {
        key: Encoded(part, [str(file) for file in part], _labels(folders[key], classes))
        for key, part in parts.items()
    }
    rules = rules_of(data)
    what, more = described(survey(encoded), rules)
    labels = [part.labels for part in encoded.values() if part.labels is not None]
    if labels:
        what = f"{what}; {classes_in_words(labels, classes)}"

    def read() -> Source:
        if data.streaming:
            splits = decode_lazily(encoded, rules)
        else:
            every_file = [file for part in parts.values() for file in part]
            made_from = [cache.fingerprint(file) for file in every_file]
            splits = cache.cached(
                path.name,
                len(every_file),
                ["folder", str(path), [*parts], made_from, rules],
                lambda: decode(encoded, rules),
            )
        named = {
            key: Split(part.images, part.labels, [str(f.relative_to(path)) for f in parts[key]])
            for key, part in splits.items()
        }
        return Source(
            path.name,
            named["train"],
            named.get("test"),
            classes or None,
            f"images of the folder {path.name}",
            named.get("validation"),
        )

    counts = {key: len(part) for key, part in parts.items()}
    return Found(f"{path.name}/", what, counts, where, [*more, *notes], read)


def _walk(root: Path) -> tuple[list[Path], list[str]]:
    """Image files below a folder, sorted, and what else there is, in words with its number.

    Links to folders are followed out of `root`, each folder once: it may lead back to itself.
    """
    files: list[Path] = []
    others: Counter[str] = Counter()
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=_refuse, followlinks=True):
        for name in [*subfolders]:
            real = os.path.realpath(Path(folder, name))
            linked = os.path.islink(Path(folder, name))
            within = Path(real) == root or root in Path(real).parents
            leads_back = linked and (within or Path(real) in root.parents or real in seen)
            if name.startswith(".") or leads_back:
                others["hidden folders" if name.startswith(".") else "links that lead back"] += 1
                subfolders.remove(name)
            elif linked:
                seen.add(real)
        for name in names:
            file = Path(folder, name)
            if name.startswith("."):
                others["hidden files"] += 1
            elif file.suffix.lower() not in SUFFIXES:
                others[file.suffix or "files without a suffix"] += 1
            elif not file.is_file():
                raise UsageError(f"{file}: not a file")  # a pipe, or a link to nothing
            else:
                files.append(file)
    files.sort()
    not_read = [f"{name} ({n:,})" for name, n in others.most_common()]
    if not files:
        there = f"; it holds {', '.join(not_read)}" if not_read else ""
        raise UsageError(f"{root}: no images ({', '.join(SUFFIXES)}) in this folder{there}")
    return files, not_read


def _divided(
    root: Path, files: list[Path]
) -> tuple[dict[str, list[Path]], dict[str, list[str | None]], dict[str, str]]:
    """The files of each part, the class of each, and where the part is."""
    below = [file.relative_to(root).parts for file in files]
    depth = next((d for d in (0, 1) if _has_splits(below, d)), None)
    if depth is None:
        folders = [names[0] if len(names) > 1 else None for names in below]
        _refuse_mixed(root, files, folders)
        return {"train": files}, {"train": folders}, {}
    parts: dict[str, list[Path]] = {}
    classes: dict[str, list[str | None]] = {}
    where: dict[str, str] = {}
    for file, names in zip(files, below, strict=True):
        key = PARTS.get(names[depth].lower()) if len(names) > depth + 1 else None
        if key is None:
            continue
        # The other folder of the first two, if there is one, is the class.
        folder = names[0] if depth else (names[1] if len(names) > 2 else None)
        parts.setdefault(key, []).append(file)
        classes.setdefault(key, []).append(folder)
        name = f"*/{names[1]}/" if depth else f"{names[0]}/"
        if where.setdefault(key, name) != name:
            raise UsageError(f"{root}: {where[key]} and {name} are both taken for {key}: keep one")
    found = {name.rstrip("/").lower() for name in where.values()}
    for below_root in root.iterdir() if depth == 0 else ():
        if below_root.name.lower() in {*PARTS} - found and below_root.is_dir():
            raise UsageError(f"{below_root}: no images ({', '.join(SUFFIXES)}) in this folder")
    for key in parts:
        _refuse_mixed(root / where[key].strip("*/"), parts[key], classes[key])
    order = [key for key in ("train", "validation", "test") if key in parts]
    return {key: parts[key] for key in order}, classes, where


def _has_splits(below: list[tuple[str, ...]], depth: int) -> bool:
    """Whether the folders at this depth are splits: below classes all of them must be."""
    names = {names[depth].lower() for names in below if len(names) > depth + 1}
    if depth == 1 and not all(len(names) > 2 for names in below):
        return False
    return any(PARTS.get(name) == "train" for name in names) and (depth == 0 or names <= {*PARTS})


def _refuse_mixed(root: Path, files: list[Path], folders: list[str | None]) -> None:
    if None in folders and set(folders) != {None}:
        direct = files[folders.index(None)]
        nested = next(f for f, c in zip(files, folders, strict=True) if c is not None)
        raise UsageError(
            f"{root}: images must lie either all directly inside or all in class folders, but it"
            f" holds {direct.name} and {nested.relative_to(root)}"
        )


def _first_folder(file: Path, root: Path) -> str:
    names = file.relative_to(root).parts
    return f"{names[0]}/" if len(names) > 1 else names[0]


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed would be a class that is missing."""
    raise error


def _labels(folders: list[str | None], classes: tuple[str, ...]) -> np.ndarray | None:
    if None in folders:
        return None
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[name] for name in folders if name is not None], np.int32)
