"""What was found, as text that can be pasted into a document."""

from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import median
from typing import Any

from gpu.phases import PHASES

WAYS = {
    "eager": "PyTorch, eager",
    "compiled": "PyTorch, compiled",
    "cuda_graph": "PyTorch, CUDA graph",
    "compiled cuda_graph": "PyTorch, compiled, CUDA graph",
    "loop": "jaxvae",
}


def report(results: Mapping[str, Any]) -> str:
    """All phases so far, each with how it ended and its table."""
    about = results["about"]
    parts = ["\n".join(f"{name}: {value}" for name, value in about.items())]
    titles = {phase.name: phase.title for phase in PHASES}
    for name, phase in results["phases"].items():
        head = f"{titles[name]}: {phase['status']}"
        if phase["seconds"] is not None:
            head += f", {phase['seconds']:.0f} s (limit {phase['limit']:.0f} s)"
        lines = [head, "=" * len(head), *phase["reasons"]]
        if phase["result"]:
            lines.append(TABLES[name](phase["result"]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def grid(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Columns as wide as their widest cell; those of `left` begin at the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def doctor(found: Mapping[str, Any]) -> str:
    """Whatever it says: its lists as tables, with a column for each field, the rest as lines."""
    parts, lines = [], []
    for name, value in found.items():
        if isinstance(value, Mapping):
            parts.append("\n".join(f"{key}: {part}" for key, part in value.items()))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            fields = list(value[0])
            texts = [i for i, field in enumerate(fields) if isinstance(value[0][field], str)]
            rows = [[_cell(row[field]) for field in fields] for row in value]
            parts.append(grid([[name, *fields[1:]], *rows], left=texts))
        else:
            lines.append(f"{name}: {value}")
    return "\n\n".join([*parts, "\n".join(lines)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "-" if value is None else str(value)


def parity(found: Mapping[str, Any]) -> str:
    """The largest differences: a row for each quantity, a column for each model."""
    parts = []
    for dtype in ("float64", "float32"):
        comparisons = {
            name: {d["quantity"]: d for d in c["differences"]}
            for name, result in found.items()
            for c in result[dtype]
        }
        longest = sorted(comparisons.values(), key=len, reverse=True)
        rows = [[dtype, *comparisons, "tolerance", "verdict"]]
        for quantity in dict.fromkeys(q for differences in longest for q in differences):
            there = [c.get(quantity) for c in comparisons.values()]
            equal = all(d is None or d["equal"] for d in there)
            tolerance = max(d["tolerance"] for d in there if d is not None)
            cells = ["-" if d is None else _scientific(d["relative"]) for d in there]
            verdict = "equal" if equal else "NOT EQUAL"
            rows.append([quantity, *cells, f"{tolerance:.0e}", verdict])
            theirs = [None if d is None else d["theirs"] for d in there]
            if any(relative is not None for relative in theirs):
                cells = ["-" if relative is None else f"{relative:.0e}" for relative in theirs]
                rows.append(["  PyTorch", *cells, "", ""])
        parts.append(grid(rows))
    return "\n\n".join(parts)


def _scientific(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.0e}"


def speed(lines: Sequence[Mapping[str, Any]]) -> str:
    """Microseconds per step of each way to train, and how many times as fast jaxvae is."""
    head = ("microseconds per step", "median", "min - max", "images/s", "loss")
    parts = []
    for line in lines:
        steps = line["images"] // line["batch_size"]
        rows = [[*head, "jaxvae is", "of limit", "compile"]]
        for name, c in line["contestants"].items():
            times = [1e6 * seconds / steps for seconds in c["seconds"]]
            label = WAYS[name] + (f" ({c['options']})" if c["options"] else "")
            rows.append(
                [
                    label,
                    f"{median(times):.1f}",
                    f"{min(times):.1f} - {max(times):.1f}",
                    f"{line['batch_size'] * 1e6 / median(times):,.0f}",
                    f"{c['loss']:.3f}",
                    f"{c['loop_is_times_as_fast']:.2f}x",
                    f"{c['limit_share']:.0%}",
                    f"{c['compile_seconds']:.1f} s",
                ]
            )
        limit = line["limit"]
        rates = (
            f"limit: {1e6 * median(limit['seconds']) / steps:.1f} microseconds per step: matrix"
            f" products at {limit['flops_per_second'] / 1e12:.2f} TFLOP/s, Adam's memory traffic at"
            f" {limit['bytes_per_second'] / 1e9:.0f} GB/s"
        )
        agree = "agree" if line["losses_agree"] else "DO NOT AGREE"
        parts.append(
            "\n".join(
                [
                    f"{line['title']}, batch {line['batch_size']}, {steps} steps per epoch",
                    grid(rows),
                    rates,
                    f"losses {agree}, {line['loss_difference']:.2%} apart",
                    *(f"not taken: {name}: {why}" for name, why in line["rejected"].items()),
                    *(f"NOT STEADY: {name}" for name in line["noisy"]),
                ]
            )
        )
    return "\n\n".join(parts)


def experiments(found: Mapping[str, Any]) -> str:
    """What each run reached and how long it took."""
    head = ("run", "status", "epochs", "best", "at epoch", "last", "training", "compile", "all")
    rows: list[Sequence[str]] = [head]
    for name, run in found.items():
        best, last = run["best"], run["last"]
        rows.append(
            (
                name,
                run["status"],
                f"{run['epochs']}",
                f"{best['val_loss']:.3f}",
                f"{best['epoch']:.0f}",
                f"{last['val_loss']:.3f}",
                *(_seconds(run[key]) for key in ("seconds", "compile_seconds", "total_seconds")),
            )
        )
    return (
        f"{grid(rows)}\nvalidation loss in nats per image; training: the steps alone; all: with"
        " validation, checkpoints and compiling; the runs shared the card"
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


def tests(found: Sequence[Mapping[str, Any]]) -> str:
    """Each test, its outcome and why it failed."""
    rows = [[t["name"], t["outcome"], f"{t['seconds']:.1f} s"] for t in found]
    failed = [f"{t['name']}: {t['message']}" for t in found if t["message"]]
    return "\n".join([grid(rows), *failed])


def populations(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for each size; the gain is over members trained one after another."""
    rows = [("members", "us per step", "us per member", "gain", "memory", "compile", "loss")]
    alone = next((median(p["step_microseconds"]) for p in found if p["size"] == 1), None)
    for p in found:
        step, size = median(p["step_microseconds"]), p["size"]
        gain = "-" if alone is None else f"{size * alone / step:.1f}x"
        memory = "-" if p["peak_bytes"] is None else f"{p['peak_bytes'] / 2**20:,.0f} MiB"
        compiling = f"{p['compile_seconds']:.1f} s"
        each = f"{step / size:.1f}"
        rows.append((f"{size}", f"{step:.1f}", each, gain, memory, compiling, f"{p['loss']:.2f}"))
    return grid(rows)


def profile(found: Sequence[Mapping[str, Any]]) -> str:
    """A row for each model: a step without CUDA graphs, and what its kernels take of it."""
    rows: list[tuple[str, ...]] = [
        ("microseconds per step", "without graphs", "kernels alone", "their number")
    ]
    for p in found:
        trace = ("-", "-")
        if p["trace"] is not None:
            trace = (
                f"{p['trace']['busy_microseconds']:.1f}",
                f"{p['trace']['kernels_per_step']:.1f}",
            )
        rows.append(
            (f"{p['model']}, batch {p['batch_size']}", f"{p['step_microseconds']:.1f}", *trace)
        )
    note = "kernels alone: the time in which any ran, which is the same with CUDA graphs"
    if any(p["trace"] is None for p in found):
        note = "No accelerator in the trace: kernels cannot be told on this device."
    return f"{grid(rows)}\n{note}"


def kernels(found: Sequence[Mapping[str, Any]]) -> str:
    """The profile's table, and below it the kernels that took longest."""
    parts = [profile(found)]
    for p in found:
        if p["trace"] is not None:
            rows = [[p["model"], "per step", "microseconds per step"]]
            for kernel in p["trace"]["top"]:
                count = f"{kernel['per_step']:.2f}"
                rows.append([kernel["kernel"][:80], count, f"{kernel['microseconds']:.2f}"])
            parts.append(grid(rows))
    return "\n\n".join(parts) + "\n"


TABLES: dict[str, Callable[[Any], str]] = {
    "doctor": doctor,
    "parity": parity,
    "speed": speed,
    "speed-1024": speed,
    "tests": tests,
    "populations": populations,
    "profile": profile,
    "experiments": experiments,
}
