"""What a page says of several runs: in what they differ, what each came to, and how it looks."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxvae import __version__, noise, runs
from jaxvae.checks import UsageError
from jaxvae.evaluation import decode, embed, knows_labels, labels_for, prepare
from jaxvae.evaluation.drawn import kind
from jaxvae.evaluation.trained import has_standard_prior
from jaxvae.evaluation.views import chosen
from jaxvae.figures.style import PALETTE
from jaxvae.report import html, looks
from jaxvae.report.blobs import Blobs
from jaxvae.report.contents import Json, Reported, curves
from jaxvae.report.facts import text
from jaxvae.report.measures import TITLES, examples_of, settings_of

SCRIPTS = (
    *(html.UPLOT, "dom.js", "data.js", "draw.js", "measures.js", "curves.js", "open.js"),
    "comparison.js",
)
STANDING = ("experiment", "state", "epoch", "epochs", "seconds", "parameters", "best")
IMAGES = 12
"""Test examples that every run reconstructs, and codes that every run decodes."""


class Seen(NamedTuple):
    """What one model makes of some test examples, and of codes; arrays as a page keeps them.

    kind, shape: of an example. rows: which examples of the split, (n,), of so many, `total`.
    source: the name of the data. originals, recons: (n, ...). error: (n,), as `looks.Look` has it.
    latents: numbers of a code that has the prior N(0, I); None: it has another form or prior.
    decoded: (IMAGES, ...), from `codes`; None where `latents` is. classes: whether by class.
    """

    kind: str
    shape: tuple[int, ...]
    source: str
    total: int
    rows: np.ndarray
    originals: np.ndarray
    recons: np.ndarray
    error: np.ndarray
    latents: int | None
    decoded: np.ndarray | None
    classes: bool

    @property
    def examples(self) -> tuple[Any, ...]:
        """Equal where two models were given the same examples to reconstruct."""
        return self.kind, self.shape, self.total, self.rows.tobytes(), self.originals.tobytes()


class Member(NamedTuple):
    """One model of a run in the plane of rate and distortion.

    words: which member of a population, and what it has of its own; "" of a run alone.
    best: the row of its best epoch.
    """

    words: str
    best: Mapping[str, float]


class Compared(NamedTuple):
    """One of the runs that are compared.

    folder: the run folder. rows: of metrics.csv, of a population those of one member. member:
    which one that is, in words. members: all of them that have a best epoch; of a run alone, one.
    others: the rows of a population's other members, each's by itself. seen: what its model makes
    of examples, or why that is not known.
    """

    folder: Path
    rows: list[dict[str, float]]
    member: str
    members: list[Member]
    others: list[list[dict[str, float]]]
    seen: Seen | str


def look(run: Reported) -> Seen:
    """What a run's model makes of a few test examples and of draws from N(0, I).

    Raises:
        UsageError: its examples are such as are not drawn.
    """
    trained, split = run.trained, run.dataset.test
    if (shown := kind(trained)) is None:
        raise UsageError(f"examples of shape {_by(trained.info.shape)} are not drawn")
    rows = chosen(np.arange(len(split.images)), IMAGES, seed=0)
    batch = prepare(trained, split.take(rows), rows)
    code = embed(trained, batch)
    recons = decode(trained, code, batch.label)
    latents, decoded = None, None
    if has_standard_prior(trained) and code.ndim == 2:
        latents = code.shape[1]
        decoded = decode(trained, codes(latents), labels_for(trained, IMAGES, None))
    return Seen(
        shown,
        trained.info.shape,
        run.dataset.name,
        len(split.images),
        rows,
        looks.stored(trained, looks.target(batch)),
        looks.standard(trained, recons),
        looks.errors_of(trained, batch, recons),
        latents,
        None if decoded is None else looks.standard(trained, decoded),
        knows_labels(trained),
    )


def codes(latents: int) -> np.ndarray:
    """Draws of N(0, I), (IMAGES, latents): the same for every model of so many latents."""
    return np.asarray(jax.random.normal(noise.root(0), (IMAGES, latents)))


def write(found: Mapping[str, Any], each: Sequence[Compared], out: Path) -> Path:
    """Write the page of some runs, whole or not at all; return where it is.

    Args:
        found: what `runs.listing.compared` says of them.
        each: the runs, in the same order.
        out: the file.
    """
    blobs = Blobs()
    return html.save(contents(found, each, out, blobs), blobs, SCRIPTS, out)


def contents(found: Mapping[str, Any], each: Sequence[Compared], out: Path, blobs: Blobs) -> Json:
    """Everything the page says and shows; links are relative to the folder of the page `out`."""
    names = _names([run.folder for run in each])
    standings = found["runs"]
    seen = {i: run.seen for i, run in enumerate(each) if isinstance(run.seen, Seen)}
    images = all(runs.saved_config(run.folder)["info"]["maximum"] is not None for run in each)
    return {
        "title": f"{', '.join(names) if len(names) < 4 else f'{len(names)} runs'} compared",
        "by": f"jaxvae {__version__}",
        "unit": f"nats per {'image' if images else 'example'}",
        "palette": list(PALETTE),
        "notes": [f"{note[0].upper()}{note[1:]}." for note in found["notes"]],
        "one_kind": found["one_kind"],
        "runs": [
            {
                "name": name,
                "link": html.link(run.folder, out),
                "color": PALETTE[i % len(PALETTE)],
                "dashed": i // len(PALETTE),
                "member": run.member,
                "lacks": run.seen if isinstance(run.seen, str) else "",
                **{name: standing[name] for name in STANDING},
            }
            for i, (name, run, standing) in enumerate(zip(names, each, standings, strict=True))
        ],
        "settings": [
            {"name": name, "values": [None if v is None else _setting(name, v) for v in values]}
            for name, values in found["settings"].items()
        ],
        **_shared(each, names),
        "points": [
            {"run": i, "words": member.words, **_terms(member.best)}
            for i, run in enumerate(each)
            for member in run.members
        ],
        "measures": [_measures(table, each) for table in found["measures"]],
        "examples": _examples(seen, blobs),
        "latents": _latents(seen, blobs),
    }


def _measures(table: Mapping[str, Any], each: Sequence[Compared]) -> Json:
    """What runs have in common of a group; `epochs`: where it is not of the best one, of which."""
    options, epochs = table["options"], []
    for run, step in zip(each, table["steps"], strict=True):
        best = runs.best_row(run.rows)
        known = {int(row["step"]): int(row["epoch"]) for row in run.rows}
        old = step is not None and best is not None and step != best["step"]
        epochs.append((known.get(step) or f"of step {step:,}") if old else None)
    return {
        "title": TITLES.get(table["group"], table["group"]),
        "of": f"{examples_of(table['images'], options)} of {options.get('source')}",
        "settings": settings_of(options),
        "epochs": epochs,
        "rows": table["rows"],
    }


def _names(folders: Sequence[Path]) -> list[str]:
    """What tells run folders apart: their paths below the folder that all are in."""
    places = [folder.resolve() for folder in folders]
    top = os.path.commonpath([place.parent for place in places])
    return [Path(os.path.relpath(place, top)).as_posix() for place in places]


def _setting(name: str, value: Any) -> str:
    """A setting in words; of the class of a part its own name, without those of its modules."""
    return text(value).rpartition(".")[2] if name in runs.PARTS else text(value)


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _terms(best: Mapping[str, float]) -> dict[str, float | None]:
    """Of a row what its place in the plane is; a model without a KL, which is then 0, has none."""
    terms = {name: best.get(f"val_{name}", math.nan) for name in ("loss", "recon", "kl")}
    known = {name: x if math.isfinite(x) else None for name, x in terms.items()}
    return {"epoch": best["epoch"], **known, "kl": known["kl"] or None}


def _shared(each: Sequence[Compared], names: Sequence[str]) -> Json:
    """Curves over each other: `curves` of the panels that two runs have at least, on the epochs of
    all; and the titles of what one run has alone, `alone`.

    A series has its `run`, its `values`, and what it is `of`: training, or a member that is not the
    best one. These come first, so that they are behind, with numbers as precise as a thin line.
    """
    own = [(i, "", curves(run.rows)) for i, run in enumerate(each)]
    others = [(i, "member", curves(rows)) for i, run in enumerate(each) for rows in run.others]
    epochs = sorted({epoch for *_, found in own + others for epoch in found["epoch"]})
    panels: dict[str, list[Json]] = {}
    for i, of, found in others + own:
        places = {epoch: at for at, epoch in enumerate(found["epoch"])}
        for panel in found["panels"]:
            for series in panel["series"]:
                is_training = series["name"] == "training"
                if is_training and of:
                    continue
                values = [
                    series["values"][places[epoch]] if epoch in places else None for epoch in epochs
                ]
                if of:
                    values = [x if x is None else float(f"{x:.5g}") for x in values]
                one = {"run": i, "of": "training" if is_training else of, "values": values}
                panels.setdefault(panel["title"], []).append(one)
    counts = {title: len({one["run"] for one in series}) for title, series in panels.items()}
    return {
        "curves": {
            "epoch": epochs,
            "best": None,
            "panels": [{"title": t, "series": s} for t, s in panels.items() if counts[t] > 1],
            "machine": [],
            "constant": [],
        },
        "alone": [
            f"{title} ({names[series[0]['run']]})"
            for title, series in panels.items()
            if counts[title] == 1
        ],
    }


def _examples(seen: Mapping[int, Seen], blobs: Blobs) -> list[Json]:
    """Groups of runs that were given the same test examples, the largest group first."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, one in seen.items():
        groups.setdefault(one.examples, []).append(i)
    found = []
    for number, own in enumerate(sorted(groups.values(), key=len, reverse=True)):
        first = seen[own[0]]
        found.append(
            {
                "source": f"{first.source}, {_by(first.shape)}",
                "kind": first.kind,
                "shape": list(first.shape),
                "index": first.rows.tolist(),
                "count": first.total,
                "originals": blobs.add(f"originals-{number}", first.originals),
                "runs": [
                    {
                        "run": i,
                        "error": seen[i].error.tolist(),
                        "images": blobs.add(f"reconstructions-{i}", seen[i].recons),
                    }
                    for i in own
                ],
            }
        )
    return found


def _latents(seen: Mapping[int, Seen], blobs: Blobs) -> Json:
    """`groups` of runs with as many latents, and `others`, whose codes have another prior."""
    sizes = Counter(one.latents for one in seen.values() if one.latents is not None)
    groups = [
        {
            "latents": size,
            "runs": [
                {
                    "run": i,
                    "kind": one.kind,
                    "shape": list(one.shape),
                    "classes": one.classes,
                    "images": blobs.add(f"decoded-{i}", one.decoded),
                }
                for i, one in seen.items()
                if one.latents == size and one.decoded is not None
            ],
        }
        for size, _ in sizes.most_common()
    ]
    return {"groups": groups, "others": [i for i, one in seen.items() if one.latents is None]}
