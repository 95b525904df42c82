"""Keep in docs/speeds.json what `python -m torch_parity.speed --json` found, and print it.

    python -m torch_parity.speed --variant all --json > found.json
    python docs/speeds.py variants found.json --where "Intel Xeon, 2 virtual cores"
    python docs/speeds.py benchmarks *.json ...      lines of several files, in their order
    python docs/speeds.py --table                    as docs/performance.md has it

tests/test_speeds.py compares the two.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from jaxvae.atomic import atomic

KEPT = Path(__file__).with_name("speeds.json")
OTHERS = {
    "tutorial": "tutorial PyTorch",
    "workers": "with 2 workers",
    "tuned": "tuned PyTorch",
    "streamed": "from PNGs",
    "step": "step by step",
    "against": "the other version",
}
"""Whom the compiled loop is compared with, and the columns' names."""


def read() -> dict[str, Any]:
    """All that is kept, by name."""
    found: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return found


def kept(line: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a line: the compiled loop's speed, and how many times that of others.

    Of tuned PyTorch also the lowest and the highest of the rounds, in which they took turns.
    """
    found = line["contestants"]
    tuned = found.get("tuned")
    rounds = zip(tuned["seconds"], found["loop"]["seconds"], strict=True) if tuned else ()
    ratios = [round(theirs / ours, 2) for theirs, ours in rounds]
    measured = [name for name in ("loop", "tuned") if name in found]
    return {
        "title": line["title"],
        "batch_size": line["batch_size"],
        "images_per_second": round(line["images"] / median(found["loop"]["seconds"])),
        "times": {n: round(found[n]["loop_is_times_as_fast"], 2) for n in OTHERS if n in found},
        "tuned_by": tuned["options"] if tuned else None,
        "tuned_between": [min(ratios), max(ratios)] if ratios else None,
        "limit_share": round(found["loop"]["limit_share"], 2),
        "mebibytes": {n: round(found[n]["peak_bytes"] / 2**20) for n in measured},
        "losses_agree": line["losses_agree"],
        "noisy": line["noisy"],
    }


def table(lines: list[dict[str, Any]]) -> str:
    """Rows of Markdown, with a column for each contestant that there was."""
    others = [name for name in OTHERS if any(name in line["times"] for line in lines)]
    tuned = "tuned" in others
    head = ["", "batch", "images/s", *(OTHERS[name] for name in others), "of limit", "MiB"]
    rows = [head + ["tuned, MiB"] * tuned]
    rows.append(["---"] * len(rows[0]))
    for line in lines:
        times = [line["times"].get(name) for name in others]
        said = ["" if x is None else f"{x:.2f}" for x in times]
        if tuned and line.get("tuned_between"):  # older lines have none
            said[others.index("tuned")] += " ({:.2f} to {:.2f})".format(*line["tuned_between"])
        memory = [str(line["mebibytes"].get(name, "")) for name in ("loop", "tuned")]
        row = [line["title"], str(line["batch_size"]), f"{line['images_per_second']:,}", *said]
        rows.append([*row, f"{line['limit_share']:.0%}".replace("%", " %"), *memory[: 1 + tuned]])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", nargs="?", help="under which it is kept")
    parser.add_argument("found", nargs="*", type=Path, help="what the command printed")
    parser.add_argument("--where", help="the machine")
    parser.add_argument("--table", action="store_true", help="print what is kept")
    given = parser.parse_args()
    if given.table:
        for name, record in read().items():
            print(f"{name} ({record['where']})\n{table(record['lines'])}\n")
        return
    if not (given.name and given.found and given.where):
        parser.error("a name, a file and --where are needed, or --table")
    found = [json.loads(path.read_text()) for path in given.found]
    abouts = [{key: each[key] for key in ("device", "data", "jax", "torch")} for each in found]
    if any(about != abouts[0] for about in abouts):
        parser.error("the files are of different machines, data or versions")
    lines = [kept(line) for each in found for line in each["lines"]]
    record = abouts[0] | {"where": given.where, "lines": lines}
    with atomic(KEPT) as temporary:
        temporary.write_text(json.dumps(read() | {given.name: record}, indent=1) + "\n")


if __name__ == "__main__":
    main()
