"""How far two sets of arrays are apart, and whether that is rounding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Difference:
    """The worst entry of one quantity, over all of its arrays."""

    quantity: str
    absolute: float
    relative: float
    """To the largest entry of the array that it is in."""
    where: str
    """Array and index."""
    tolerance: float
    """Of `relative`."""

    @property
    def equal(self) -> bool:
        """Whether the difference is within the tolerance; one that is not a number is not."""
        return self.relative <= self.tolerance


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
        rows = [asdict(d) | {"equal": d.equal} for d in self.differences]
        for row in rows:
            for name in ("absolute", "relative"):
                row[name] = row[name] if np.isfinite(row[name]) else None
        return {"name": self.name, "passed": self.passed, "differences": rows}

    def __str__(self) -> str:
        """A table: quantity, largest absolute and relative difference, tolerance, verdict."""
        width = max(len(d.quantity) for d in self.differences)
        head = f"{'quantity':<{width}}  absolute  relative  tolerance  verdict"
        lines = [f"{self.name}: {'equal' if self.passed else 'NOT EQUAL'}", head]
        for d in self.differences:
            verdict = "equal" if d.equal else f"NOT EQUAL at {d.where}"
            numbers = f"{d.absolute:8.1e}  {d.relative:8.1e}  {d.tolerance:9.0e}"
            lines.append(f"{d.quantity:<{width}}  {numbers}  {verdict}")
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
