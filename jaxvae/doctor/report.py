"""What an examination found: checks, speeds, and how they are told to people and programs."""

import math
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

WIDTH = 100

RIGHT, WRONG = "right", "WRONG"
REPEATS, DIFFERS = "repeats", "differs (normal without --xla_gpu_deterministic_ops=true)"
NOT_CHECKED = "not checked"
INTERRUPTED = "interrupted"
XLA_BUG = "XLA BUG"
"""Wrong, but a known fault of the compiler on this backend, in a form that no program of this
package has: what the package computes has been checked by itself."""


@dataclass(frozen=True)
class Check:
    """One thing that was examined.

    error: the largest difference found, relative to the largest entry of the array that it is in,
        or how many numbers differ where none may. None where nothing could be measured.
    allowed: up to which it is right; None where there is no error.
    verdict: one of the words above, or `right (TF32)` and the like.
    """

    name: str
    error: float | None
    allowed: float | None
    verdict: str
    note: str = ""


@dataclass(frozen=True)
class Speed:
    """One rate that was measured, in words with its unit, such as `61.2 Gflop/s`."""

    name: str
    rate: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All that an examination found.

    environment: name and value of what is there.
    computes, repeats: whether it computes right, and whether it repeats bit for bit.
    speed: how fast it is; empty where that could not be measured, which is then a check.
    """

    environment: dict[str, str]
    computes: tuple[Check, ...]
    repeats: tuple[Check, ...]
    speed: tuple[Speed, ...]
    quick: bool
    seconds: float

    @property
    def wrong(self) -> tuple[Check, ...]:
        """The checks that say `WRONG`."""
        return tuple(c for c in (*self.computes, *self.repeats) if c.verdict == WRONG)

    @property
    def bugs(self) -> tuple[Check, ...]:
        """The known faults of the compiler that are present."""
        return tuple(c for c in (*self.computes, *self.repeats) if c.verdict == XLA_BUG)

    @property
    def interrupted(self) -> bool:
        """Whether some checks were not finished."""
        return any(c.verdict == INTERRUPTED for c in (*self.computes, *self.repeats))

    @property
    def summary(self) -> str:
        """In words whether all is well and, if not, what to do."""
        if self.wrong:
            listed = "; ".join(_says(check) for check in self.wrong)
            return (
                f"Something is wrong: {listed}. Do this: update jaxlib and the driver; try "
                f"{_flags(self.environment['backend'])}; if it stays, report it with the output of "
                "`jaxvae doctor --json`."
            )
        if self.interrupted:
            return "Interrupted: nothing wrong was found until then."
        lines = ["All is well: what jaxvae computes here is right"]
        if any(check.verdict == DIFFERS for check in self.repeats):
            lines.append(
                "; it repeats to rounding, and bit for bit with "
                "XLA_FLAGS=--xla_gpu_deterministic_ops=true"
            )
        elif self.repeats:
            lines.append(" and repeats bit for bit")
        lines.append(".")
        if self.bugs:
            names = " and ".join(f"`{check.name}`" for check in self.bugs)
            lines.append(
                f" But XLA itself computes {names} wrong on this backend; jaxvae's own models do "
                "not contain this, code of your own may: update jaxlib, or set "
                f"{_flags(self.environment['backend'])}."
            )
        return "".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values; errors that are not finite are words."""
        return {
            "environment": self.environment,
            "computes": [_plain(check) for check in self.computes],
            "repeats": [_plain(check) for check in self.repeats],
            "speed": [asdict(speed) for speed in self.speed],
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "wrong": [check.name for check in self.wrong],
            "summary": self.summary,
        }

    def as_text(self) -> str:
        """A table of at most `WIDTH` columns, and the summary as its last line."""
        lines = ["What is there"]
        for name, value in self.environment.items():
            lines += _wrapped(f"  {name:<20}", value)
        for title, measure, checks in (
            ("Whether it computes right", "error", self.computes),
            ("Whether it repeats, bit for bit", "differ", self.repeats),
        ):
            lines += ["", f"{title:<46}{measure:>9}{'allowed':>9}  verdict", *_rows(checks)]
        lines += ["", "How fast it is"]
        for speed in self.speed:
            rate = f"{speed.rate:,.3g}" if speed.rate < 1000 else f"{speed.rate:,.0f}"
            lines += _wrapped(f"  {speed.name:<30}{rate:>9} {speed.unit:<9}  ", speed.note)
        end = textwrap.wrap(self.summary, WIDTH, break_on_hyphens=False, break_long_words=False)
        return "\n".join([*lines, "", f"{self.seconds:.0f} s", "", *end])


Checks = dict[str, Callable[[bool], list[Check]]]
"""By name, what examines one thing, with fewer cases where its argument, `quick`, is True."""


def guarded(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """What a check finds; a check that fails is one that says `WRONG`, and the others go on."""
    try:
        return check()
    except Exception as error:  # whatever it is, it is the finding
        reason = str(error).strip().partition("\n")[0]
        return [Check(name, None, None, WRONG, f"{type(error).__name__}: {reason}")]


def interrupted(name: str) -> Check:
    """The line of a check that was not finished when somebody pressed Ctrl-C."""
    return Check(name, None, None, INTERRUPTED)


def _rows(checks: tuple[Check, ...]) -> Iterator[str]:
    for check in checks:
        numbers = "".join(f"{_number(value):>9}" for value in (check.error, check.allowed))
        yield f"  {check.name:<44}{numbers}  {check.verdict}".rstrip()
        if check.note:
            yield from _wrapped("      ", check.note)


def _wrapped(indent: str, text: str) -> list[str]:
    """Text after an indent that only the first line shows."""
    room = WIDTH - len(indent)
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    blank = " " * len(indent)
    return [(indent + lines[0]).rstrip(), *(blank + line for line in lines[1:])]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value in (0, 1) or 10 <= value < 1e6 else f"{value:.0e}"


def _says(check: Check) -> str:
    if check.error is None or check.allowed is None:
        return f"{check.name} ({check.note})" if check.note else check.name
    return f"{check.name} is off by {_number(check.error)}, allowed {_number(check.allowed)}"


def _flags(backend: str) -> str:
    """What turns off those parts of the compiler that known faults were in."""
    if backend == "cpu":
        return "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type="
    return (
        "XLA_FLAGS=--xla_gpu_autotune_level=0, XLA_FLAGS=--xla_gpu_enable_triton_gemm=false and "
        "JAX_DEFAULT_MATMUL_PRECISION=highest"
    )


def _plain(check: Check) -> dict[str, Any]:
    finite = check.error is None or math.isfinite(check.error)
    return asdict(check) | ({} if finite else {"error": str(check.error)})
