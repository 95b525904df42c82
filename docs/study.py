"""Does the objective matter, its weight, or the seed? Five objectives of disentangling on sprites.

    python docs/study.py            300 members, as five studies; goes on where it stopped
    python docs/study.py --quick    two weights, two seeds, few steps: whether it runs
    python docs/study.py --table    print what docs/study.json has, and draw it

Locatello et al. 2019 (arXiv:1811.12359) trained 12,600 models for that question, of which these
objectives are five of their six. Weights are theirs, but for the capacities, which are below what
the sprites' KL comes to. More steps, seeds and widths are options of the same `jaxvae study`.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from results import record

from jaxvae.atomic import atomic
from jaxvae.figures import save
from jaxvae.figures.style import LABEL, PALETTE, SINGLE, plot_figure, style_axes

FOUND = Path(__file__).with_name("study.json")
FIGURE = Path(__file__).parent / "images" / "studies" / "sprites.png"
SEEDS = 10


class Swept(NamedTuple):
    """An experiment, and the values of one of its fields."""

    title: str
    experiment: str
    field: str
    values: tuple[float, ...]


STUDIES = (
    Swept("beta-VAE", "sprites_beta_vae", "objective.beta", (1, 2, 4, 6, 8, 16)),
    Swept("capacity", "sprites_capacity_vae", "objective.capacity", (2, 5, 10, 15, 20, 25)),
    Swept("FactorVAE", "sprites_factor_vae", "objective.gamma", (10, 20, 30, 40, 50, 100)),
    Swept("beta-TC", "sprites_beta_tc_vae", "objective.tc_weight", (1, 2, 4, 6, 8, 10)),
    Swept("DIP-II", "sprites_dip_vae", "objective.off_diagonal", (1, 2, 5, 10, 20, 50)),
)
MEASURES = {"mig": "MIG", "factor_vae_score": "FactorVAE score", "sap": "SAP"}
QUICK = "--data.limit 6400 --train.epochs 1 --limit 500"


def read() -> dict[str, Any]:
    """What was found, by objective."""
    found: dict[str, Any] = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    return found


def study(swept: Swept, folder: Path, quick: bool) -> dict[str, Any]:
    """Train and measure the members of one objective: of each its weight and measures; where."""
    values, seeds = (swept.values[:2], 2) if quick else (swept.values, SEEDS)
    named = f"{swept.field}={','.join(f'{value:g}' for value in values)}"
    command = [swept.experiment, "--sweep", named, "--seeds", str(seeds)]
    command += ["--metrics", "disentanglement", "--out", str(folder)]
    command += QUICK.split() if quick else []
    began = None if folder.exists() else time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "jaxvae", "study", *command], check=True, stdout=sys.stderr
    )
    with (folder / "study.csv").open() as file:
        rows = [{name: float(x) for name, x in row.items() if x} for row in csv.DictReader(file)]
    members = [
        {"weight": row[swept.field], "seed": int(row["seed"]), "recon": round(row["recon"], 3)}
        | {name: round(row[f"disentanglement.{name}"], 4) for name in MEASURES}
        for row in rows
    ]
    return {"members": members} | record(began)


def lines_of(found: dict[str, Any]) -> str:
    """JSON with a line for each member."""
    text = json.dumps(found)
    return text.replace('{"weight"', '\n {"weight"') + "\n"


def done(found: dict[str, Any]) -> list[Swept]:
    """The studies that have been carried out."""
    return [swept for swept in STUDIES if swept.title in found]


def shares(found: dict[str, Any], name: str) -> tuple[float, float, float]:
    """Of the variance of a measure over all members, the parts of objective, weight and seed.

    They add up to 1: means by objective, means by weight about those, members about these.
    """
    of_objective, of_weight, of_seed = [], [], []
    everyone = [m[name] for one in found.values() for m in one["members"]]
    grand = statistics.fmean(everyone)
    for one in found.values():
        by_weight = grouped(one["members"], name)
        mean = statistics.fmean(x for values in by_weight.values() for x in values)
        for values in by_weight.values():
            own = statistics.fmean(values)
            of_objective += [(mean - grand) ** 2] * len(values)
            of_weight += [(own - mean) ** 2] * len(values)
            of_seed += [(x - own) ** 2 for x in values]
    total = statistics.fmean((x - grand) ** 2 for x in everyone)
    parts = (statistics.fmean(part) / total for part in (of_objective, of_weight, of_seed))
    return tuple(parts)  # type: ignore[return-value]


def grouped(members: list[dict[str, float]], name: str) -> dict[float, list[float]]:
    """A measure of the members, by weight."""
    by_weight: dict[float, list[float]] = {}
    for member in members:
        by_weight.setdefault(member["weight"], []).append(member[name])
    return by_weight


def table(found: dict[str, Any]) -> str:
    """Of each objective, the weight of its highest mean MIG, and what it comes to; shares."""
    names = ["recon", *MEASURES]
    heads = ["objective", "best weight", "recon, nats", *MEASURES.values(), "MIG of all"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for swept in done(found):
        members = found[swept.title]["members"]
        means = {w: statistics.fmean(x) for w, x in grouped(members, "mig").items()}
        best = max(means, key=lambda weight: means[weight])
        own = [m for m in members if m["weight"] == best]
        values = [
            f"{statistics.fmean(x):.{digits}f} ({statistics.stdev(x):.{digits}f})"
            for name in names
            for x, digits in [([m[name] for m in own], 1 if name == "recon" else 2)]
        ]
        every = [m["mig"] for m in members]
        row = [swept.title, f"{best:g}", *values, f"{min(every):.2f} to {max(every):.2f}"]
        lines.append(f"| {' | '.join(row)} |")
    lines += ["", "| variance of | objective | weight | seed |", "|---|---|---|---|"]
    for name, title in MEASURES.items():
        parts = (f"{share:.0%}".replace("%", " %") for share in shares(found, name))
        lines.append(f"| {title} | {' | '.join(parts)} |")
    return "\n".join(lines)


def draw(found: dict[str, Any], path: Path) -> None:
    """MIG and FactorVAE score by weight, and MIG against reconstruction; a point per member."""
    columns = done(found)
    figure = plot_figure(2.3 * len(columns), 6.6)
    every = figure.subplots(3, len(columns), sharey="row", squeeze=False)
    for column, swept in enumerate(columns):
        members = found[swept.title]["members"]
        position = {weight: i for i, weight in enumerate(swept.values)}
        own = [m for m in members if m["weight"] in position]
        for axes, name in zip(every[:2, column], ("mig", "factor_vae_score"), strict=True):
            title = swept.title if name == "mig" else ""
            style_axes(axes, title, swept.field.rpartition(".")[2].replace("_", " "), "")
            by_weight = grouped(own, name)
            places = [position[weight] for weight in by_weight]
            # Points of a weight side by side, so that ten seeds are ten points.
            x = [position[m["weight"]] + (m["seed"] / SEEDS - 0.45) * 0.5 for m in own]
            axes.plot(x, [m[name] for m in own], "o", color=SINGLE, markersize=2.5, alpha=0.7)
            means = [statistics.fmean(values) for values in by_weight.values()]
            axes.plot(places, means, color=PALETTE[2], linewidth=1.2, label="mean of the seeds")
            axes.set_xlim(-0.5, len(swept.values) - 0.5)
            axes.set_xticks(range(len(swept.values)), [f"{w:g}" for w in swept.values])
        axes = every[2, column]
        style_axes(axes, "", "reconstruction (nats)\ndarker: larger weight", "")
        grey = {weight: str(0.8 - 0.8 * i / len(position)) for weight, i in position.items()}
        where = ([m[name] for m in own] for name in ("recon", "mig"))
        axes.scatter(*where, c=[grey[m["weight"]] for m in own], s=9)
    for axes, name in zip(every[:, 0], ("MIG", "FactorVAE score", "MIG"), strict=True):
        axes.set_ylabel(name, fontsize=LABEL)
    every[0, 0].legend(fontsize=LABEL - 2, frameon=False, loc="upper left")
    save(figure, path)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--quick", action="store_true", help="a trial of the commands")
    parser.add_argument("--table", action="store_true", help="print and draw what was found")
    given = parser.parse_args()
    found = {} if given.quick else read()
    for swept in () if given.table else STUDIES:
        if swept.title in found:
            continue
        found[swept.title] = study(swept, given.out / swept.experiment, given.quick)
        if not given.quick:
            with atomic(FOUND) as temporary:
                temporary.write_text(lines_of(found))
    print(table(found))
    draw(found, given.out / "sprites.png" if given.quick else FIGURE)


if __name__ == "__main__":
    main()
