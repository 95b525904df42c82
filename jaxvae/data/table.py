"""Tables of numbers, one example per row: .csv, .tsv and .parquet files."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxvae.checks import UsageError, reason
from jaxvae.config import Data
from jaxvae.data.arrays import Given, of_arrays
from jaxvae.data.found import Found
from jaxvae.data.huggingface import IMAGE, LABEL, of_images, read_tables

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
"""Texts, in any case, of what was not observed."""


def find_csv(path: Path) -> Found:
    """The rows of a .csv or .tsv file, with or without a header.

    The separator is the one of comma, semicolon and tab that the first line has most of. A column
    named like one of `LABEL` holds the labels; one of other texts is not read, and named.

    Raises:
        UsageError: no text in UTF-8, rows of different lengths, or no column of numbers.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not text in UTF-8 ({error.reason})") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        lines = io.StringIO(text, newline="")
        rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    except csv.Error as error:
        raise UsageError(f"{path}: {error}") from error
    if not rows:
        raise UsageError(f"{path}: no rows")
    header = any(_number(cell) is None for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if header else [f"x{i}" for i in range(len(rows[0]))]
    content = rows[1:] if header else rows
    for i, row in enumerate(content):
        if len(row) != len(names):
            line = i + 1 + header
            raise UsageError(f"{path}: row {line} has {len(row)} values: must have {len(names)}")
    if not content:
        raise UsageError(f"{path}: no rows below its header")
    if len({*names}) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{path}: two columns are named {twice!r}")
    cells = {name: [row[i] for row in content] for i, name in enumerate(names)}
    notes = [] if header else ["no header: columns are x0, x1, ..."]
    return of_columns(path, {name: _column(values) for name, values in cells.items()}, notes)


def find_parquet(path: Path, data: Data) -> Found:
    """The rows of a .parquet file; or its images, where a column `image` holds encoded ones.

    Such columns are those of Hugging Face's data sets, which also store the names of classes.

    Raises:
        UsageError: it is damaged, has no column of numbers, or pyarrow is not installed.
    """
    table = read_tables([path])
    if image := next((name for name in IMAGE if name in table.column_names), None):
        return of_images(path, {"train": table}, image, data, [], {})
    try:
        columns = {name: table[name].to_numpy() for name in table.column_names}
    except Exception as error:  # columns of lists, of other tables, ...: each has its own
        raise UsageError(f"{path}: not a table of numbers ({reason(error)})") from error
    return of_columns(path, columns, [])


def of_columns(path: Path, columns: Mapping[str, np.ndarray], notes: list[str]) -> Found:
    """Columns as a source: those of numbers are the features.

    Raises:
        UsageError: there are none.
    """
    named = [name for name in columns if name.lower() in LABEL]
    labels = columns[named[0]] if named else None
    if labels is not None:
        notes = [*notes, f"labels are column {named[0]!r}"]
        if labels.dtype == object:
            labels = labels.astype(str)
    features = [
        name
        for name, column in columns.items()
        if name not in named and column.dtype.kind in "biuf"
    ]
    if left := [name for name in columns if name not in features and name not in named[:1]]:
        notes = [*notes, f"not read, since it holds text: {', '.join(left)}"]
    if not features:
        raise UsageError(f"{path}: no column of numbers; its columns are {', '.join(columns)}")
    values = np.stack([columns[name].astype(np.float64) for name in features], axis=1)
    constant = [name for name in features if _is_constant(columns[name])]
    if constant:
        notes = [*notes, f"the same in every row: {', '.join(constant)}"]
    given = Given(values, labels, str(path), f"{path}: {named[0] if named else ''}")
    return of_arrays(path.name, {"train": given}, False, notes, path.stem, tuple(features))


def _is_constant(column: np.ndarray) -> bool:
    known = column[~np.isnan(column.astype(np.float64))]
    return len(known) > 0 and bool((known == known[0]).all())


def _number(cell: str) -> float | None:
    """The number that a cell holds; NaN where nothing was observed, None of other texts."""
    if cell.strip().lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        return None


def _column(cells: list[str]) -> np.ndarray:
    """A column of numbers, or of texts where one of them is no number."""
    numbers = [_number(cell) for cell in cells]
    if None in numbers:
        return np.array([cell.strip() for cell in cells])
    return np.array(numbers, np.float64)
