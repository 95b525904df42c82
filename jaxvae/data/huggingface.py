"""Image sets as Hugging Face stores them: columns of encoded images in Parquet and Arrow files."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxvae.checks import UsageError, absent, reason
from jaxvae.config import Data
from jaxvae.data.checked import class_names, to_labels
from jaxvae.data.decode import decode
from jaxvae.data.folder import PARTS
from jaxvae.data.found import Found, classes_in_words
from jaxvae.data.headers import SUFFIXES, Encoded, described, rules_of, survey
from jaxvae.data.splits import Source

IMAGE = ("image", "img")
"""Names of a column of encoded images."""
LABEL = ("label", "labels", "class", "target", "y")
"""Names, in any case, of the column that holds labels."""


def find_folder(path: Path, data: Data) -> Found | None:
    """The images of a folder of such files; None for a folder that is none.

    It is one that `save_to_disk` of `datasets` wrote, of one split or of several; or a data set as
    it is downloaded from the hub: files named like `train-00000-of-00002.parquet`, here or in
    `data/`, and no images beside them. Splits of other names than those of `folder.PARTS` are not
    read, and named.

    Raises:
        UsageError: no split is for training, one has no column of images, a file is damaged, or
            pyarrow is not installed.
    """
    files = _files_of(path)
    if not files:
        return None
    parts: dict[str, Any] = {}
    where: dict[str, str] = {}
    for split, own in files.items():
        if (key := PARTS.get(split.lower())) is not None and key not in parts:
            parts[key], where[key] = read_tables(own), split if split != key else ""
    if "train" not in parts:
        raise UsageError(f"{path}: no split `train`; its splits are {', '.join(files)}")
    names = parts["train"].column_names
    column = next((name for name in IMAGE if name in names), None)
    if column is None:
        raise UsageError(f"{path}: no column {' or '.join(IMAGE)}; its columns are {names}")
    used = {where[key] or key for key in parts}
    left = [split for split in files if split not in used]
    notes = [f"its split{'s' * (len(left) > 1)} {', '.join(left)} not read"] if left else []
    return of_images(path, parts, column, data, notes, where)


def _files_of(path: Path) -> dict[str, list[Path]]:
    """The files of each split, by the name that the folder gives it."""
    if (path / "dataset_dict.json").is_file():
        folders = sorted(file.parent for file in path.glob("*/state.json"))
        return {folder.name: sorted(folder.glob("*.arrow")) for folder in folders}
    if (path / "state.json").is_file():
        return {"train": sorted(path.glob("*.arrow"))}
    beside = [*path.iterdir(), *path.glob("data/*")]
    beside = [file for file in beside if not file.name.startswith(".") and file != path / "data"]
    if any(file.suffix.lower() in SUFFIXES or file.is_dir() for file in beside):
        return {}
    files: dict[str, list[Path]] = {}
    for file in sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")]):
        files.setdefault(file.stem.partition("-")[0], []).append(file)
    return files


def read_tables(files: list[Path]) -> Any:
    """Tables of the same columns, one behind the other.

    Raises:
        UsageError: one is damaged, they differ in columns, or pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise absent(str(files[0]), "pyarrow", "pyarrow") from error

    def stream(file: Path) -> Any:
        with pyarrow.memory_map(str(file)) as mapped:
            return pyarrow.ipc.open_stream(mapped).read_all()

    readers: dict[str, Callable[[Path], Any]] = {".arrow": stream}
    tables = []
    for file in files:
        try:
            tables.append(readers.get(file.suffix, pyarrow.parquet.read_table)(file))
        except Exception as error:  # a damaged file makes it raise nearly anything
            kind = "Arrow" if file.suffix == ".arrow" else "Parquet"
            raise UsageError(f"{file}: not a readable {kind} file ({reason(error)})") from error
    if wrong := [t for t in tables if t.column_names != tables[0].column_names]:
        raise UsageError(
            f"{files[tables.index(wrong[0])]}: its columns are {wrong[0].column_names}, those of"
            f" {files[0].name} {tables[0].column_names}"
        )
    return pyarrow.concat_tables(tables)


def of_images(
    path: Path,
    tables: Mapping[str, Any],
    column: str,
    data: Data,
    notes: list[str],
    where: Mapping[str, str],
) -> Found:
    """Encoded images in a column, each as bytes or as {"bytes": ..., "path": ...}, of each part."""
    first = tables["train"]
    name = next((name for name in first.column_names if name.lower() in LABEL), None)
    labels = {key: _array(t[name]) for key, t in tables.items() if name in t.column_names}
    texts = class_names([*labels.values()])
    classes = texts or _stored_names(first, name)
    encoded = {}
    for key, table in tables.items():
        cells = table[column].to_pylist()
        files = [cell["bytes"] if isinstance(cell, dict) else cell for cell in cells]
        names = [f"{path} {key} row {i}" for i in range(len(files))]
        for file, where_it_is in zip(files, names, strict=True):
            if not isinstance(file, bytes):
                kind = type(file).__name__
                raise UsageError(f"{where_it_is}: {column} holds no image, but {kind}")
        if key in labels:
            labels[key], _ = to_labels(labels[key], len(files), f"{path}: {name}", texts)
        encoded[key] = Encoded(files, names, labels.get(key))
    rules = rules_of(data)
    what, more = described(survey(encoded), rules)
    if labels:
        what = f"{what}; {classes_in_words([*labels.values()], classes)}"
    if others := [other for other in first.column_names if other not in (column, name)]:
        notes = [*notes, f"not read: {', '.join(others)}"]

    def read() -> Source:
        splits = decode(encoded, rules)
        return Source(
            path.stem,
            splits["train"],
            splits.get("test"),
            classes,
            f"images of {path.name}",
            splits.get("validation"),
        )

    counts = {key: len(part.files) for key, part in encoded.items()}
    return Found(path.name, what, counts, where, [*more, *notes], read)


def _array(column: Any) -> np.ndarray:
    array: np.ndarray = column.to_numpy()
    return array.astype(str) if array.dtype == object else array


def _stored_names(table: Any, name: str | None) -> tuple[str, ...] | None:
    """Names of the classes of a column, where Hugging Face noted them beside the table."""
    try:
        stored = json.loads((table.schema.metadata or {})[b"huggingface"])
        return tuple(map(str, stored["info"]["features"][name]["names"])) or None
    except (KeyError, TypeError, ValueError):  # there are none, or in another form
        return None
