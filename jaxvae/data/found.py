"""What a source holds, as names and headers show it: said before anything is decoded."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxvae.config import Data
from jaxvae.data.splits import Source, number_held_out

LISTED = 6
"""Classes whose numbers of images are listed one by one."""


class Found(NamedTuple):
    """A source before its examples are read.

    name: the source's.
    what: what its examples are, such as "images of 28x28x1 (height x width x channels; uint8)".
    counts: how many there are of each part: `train`, and perhaps `validation` and `test`.
    where: of each part, where it is, such as "val/"; empty where that is the source itself.
    notes: what was guessed, and what lies there and is not read.
    read: reads them.
    """

    name: str
    what: str
    counts: Mapping[str, int]
    where: Mapping[str, str]
    notes: Sequence[str]
    read: Callable[[], Source]

    def line(self, data: Data) -> str:
        """All of it in one line, and which examples are for what."""
        parts = [f"{self.name}: {sum(self.counts.values()):,} {self.what}", self.splits(data)]
        return "; ".join([*parts, *self.notes])

    def fitted(self, data: Data) -> "Found":
        """The same, which also says how images come to the size that is asked for."""
        if data.resize is None or data.aspect == "stretch":
            return self
        height, width = data.resize
        done = {
            "crop": f"resized to {height}x{width}, of another aspect the middle (data.aspect)",
            "pad": f"resized to within {height}x{width}, of another aspect on {data.background}"
            " (data.aspect)",
        }
        return self._replace(notes=[*self.notes, done[data.aspect]])

    def splits(self, data: Data) -> str:
        """Which examples are for what."""
        held_out = number_held_out(self.counts, data, self.name.rstrip("/"))
        limit = data.limit

        def number(n: int) -> str:
            return f"{n:,}" if limit is None or n <= limit else f"the first {limit:,} of {n:,}"

        def of(part: str) -> str:
            where = self.where.get(part)
            return number(self.counts[part]) + (f" of {where}" if where else "")

        if held_out is None:
            said = [f"{of('train')} to train on"]
            own = [part for part in ("validation", "test") if part in self.counts]
            said += [f"{of(part)} for {part}" for part in own]
            alike = "" if len(own) == 2 else f", which are for {_other(own[0])} too"
            return ", ".join(said) + alike
        kept = self.counts["train"] - held_out
        where = f" of {self.where['train']}" if self.where.get("train") else ""
        said = [f"{number(kept)}{where} to train on", f"{number(held_out)} held out for validation"]
        if "test" in self.counts:
            return ", ".join([*said, f"{of('test')} for test"])
        return ", ".join(said) + ", which are for test too"


def _other(part: str) -> str:
    return "test" if part == "validation" else "validation"


def classes_in_words(labels: Sequence[np.ndarray], names: Sequence[str] | None) -> str:
    """Classes with the number of their images; empty where there are no labels."""
    known = np.concatenate([part[part >= 0] for part in labels]) if labels else np.zeros(0, int)
    found = Counter(known.tolist())
    if not found:
        return ""
    counts = sorted(found.values())
    if len(found) > LISTED:
        most = f" to {counts[-1]:,}" if counts[-1] > counts[0] else " each"
        return f"{len(found):,} classes of {counts[0]:,}{most}"
    of = [f"{names[c] if names else c} {n:,}" for c, n in sorted(found.items())]
    return f"{len(found)} class{'es' if len(of) > 1 else ''} ({', '.join(of)})"


def as_found(source: Source, name: str, notes: Sequence[str] = (), stored: str = "") -> Found:
    """A source that is read already; `stored` is what it was given as: type and range."""
    classes = classes_in_words(source.labels, source.classes)
    what = _in_words(source, stored)
    counts = {key: len(part.images) for key, part in source.parts.items()}
    what = f"{what}; {classes}" if classes else what
    return Found(name, what, counts, {}, notes, lambda: source)


def type_and_range(array: np.ndarray) -> str:
    """Such as "float64, 0 to 1"; what is not a number does not count."""
    known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    return f"{array.dtype}, {float(known.min()):.5g} to {float(known.max()):.5g}"


def _in_words(source: Source, stored: str) -> str:
    """What examples are: their shape, and what they were given as."""
    images = source.train.images
    shape = "x".join(str(length) for length in images.shape[1:])
    assert isinstance(images, np.ndarray)
    stored = stored or type_and_range(images)
    if images.dtype.kind == "f":
        kinds = {2: "rows of {} values", 3: "signals of {} (length x channels)"}
        return f"{kinds.get(images.ndim, 'examples of {}').format(shape)} ({stored})"
    return f"images of {shape} (height x width x channels; {stored})"
