"""How far two sets of arrays are apart, and whether that is rounding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Difference:
    """The worst entry of one quantity of ours, over all of its arrays.

    In float64 it is the distance from PyTorch; in float32 that from PyTorch's model in float64, and
    `theirs` is the distance of PyTorch's own float32.
    """

    quantity: str
    absolute: float
    relative: float
    """To the largest entry of the array that it is in."""
    where: str
    """Array and index."""
    tolerance: float
    """Of `relative`."""
    theirs: float | None = None
    """As `relative`, of PyTorch."""
    kinks: int = 0
    """Inputs of activations on another side of the kink than the truth's; they alone explain it."""
    their_kinks: int = 0
    """As `kinks`, where it is PyTorch that is not equal."""

    @property
    def equal(self) -> bool:
        """Whether the difference is within the tolerance; one that is not a number is not."""
        return self.relative <= self.tolerance

    @property
    def verdict(self) -> str:
        """In words: whether it is equal, where it is not, and what explains that."""
        if not self.equal:
            because = f", explained by {_entries(self.kinks)}" if self.kinks else ""
            return f"NOT EQUAL at {self.where}{because}"
        if self.theirs is None or self.theirs <= self.tolerance:
            return "equal"
        because = f", explained by {_entries(self.their_kinks)}" if self.their_kinks else ""
        return f"equal; PyTorch is off by {self.theirs:.0e}{because}"


def _entries(count: int) -> str:
    return f"{count} input{'s' if count > 1 else ''} at the kink of an activation"


@dataclass(frozen=True)
class Comparison:
    """A model against its counterpart, quantity by quantity."""

    name: str
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether every quantity is equal within its tolerance."""
        return all(d.equal for d in self.differences)

    @property
    def failed(self) -> list[str]:
        """The quantities that are not."""
        return [d.quantity for d in self.differences if not d.equal]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; a difference that is not finite becomes null."""
        rows = [asdict(d) | {"equal": d.equal, "verdict": d.verdict} for d in self.differences]
        for row in rows:
            for name in ("absolute", "relative", "theirs", "tolerance"):
                known = row[name] is not None and np.isfinite(row[name])
                row[name] = row[name] if known else None
        return {"name": self.name, "passed": self.passed, "differences": rows}

    def __str__(self) -> str:
        """A table: quantity, largest absolute and relative difference, tolerance, verdict."""
        width = max(len(d.quantity) for d in self.differences)
        both = any(d.theirs is not None for d in self.differences)
        other = "  PyTorch's" if both else ""
        head = f"{'quantity':<{width}}  absolute  relative{other}  tolerance  verdict"
        lines = [f"{self.name}: {'equal' if self.passed else 'NOT EQUAL'}", head]
        for d in self.differences:
            theirs = f"  {'-' if d.theirs is None else format(d.theirs, '.1e'):>9}" if both else ""
            numbers = f"{d.absolute:8.1e}  {d.relative:8.1e}{theirs}  {d.tolerance:9.0e}"
            lines.append(f"{d.quantity:<{width}}  {numbers}  {d.verdict}")
        return "\n".join(lines)


def difference(
    quantity: str,
    ours: Mapping[str, np.ndarray],
    theirs: Mapping[str, np.ndarray],
    tolerance: float,
    floor: float = 0.0,
) -> Difference:
    """Compare arrays of equal names.

    Relative differences are to the largest entry of each array, but at least to `floor` times the
    largest entry of all of them: an entry that is 0 but for rounding (the gradient of a bias in
    front of BatchNorm) has no relative accuracy of its own. Names or shapes that differ, and
    entries that are not finite, are infinitely far apart.
    """
    if ours.keys() != theirs.keys():
        only = sorted(ours.keys() ^ theirs.keys())
        return Difference(
            quantity, np.inf, np.inf, f"only on one side: {', '.join(only)}", tolerance
        )
    largest = float(max((np.abs(a).max() for a in theirs.values()), default=0.0))
    worst = Difference(quantity, 0.0, 0.0, "", tolerance)
    for name, a in theirs.items():
        b = np.asarray(ours[name])
        if a.shape != b.shape:
            where = f"{name}: shape {b.shape}, in PyTorch {a.shape}"
            return Difference(quantity, np.inf, np.inf, where, tolerance)
        with np.errstate(invalid="ignore"):  # inf - inf
            gap = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
        gap = np.where(np.isfinite(gap), gap, np.inf)
        index = np.unravel_index(int(gap.argmax()), gap.shape)
        absolute = float(gap[index])
        scale = max(float(np.abs(a).max()), floor * largest)
        relative = 0.0 if absolute == 0 else np.inf
        if 0 < absolute < np.inf and scale > 0:
            relative = absolute / scale
        if relative > worst.relative:
            where = f"{name}[{', '.join(map(str, index))}]"
            worst = Difference(quantity, absolute, relative, where, tolerance)
    return worst
