"""What a page is about, as one value that JSON can hold; its arrays go into `Blobs`."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxvae import __version__, runs
from jaxvae.config import Objective
from jaxvae.data import Dataset
from jaxvae.evaluation import Trained, has_prior, is_images, knows_labels, prepare
from jaxvae.evaluation.drawn import columns, kind
from jaxvae.evaluation.trained import codes_of
from jaxvae.figures.style import PALETTE, class_color
from jaxvae.report import codebooks, facts, looks, measures, priors, weights
from jaxvae.report.blobs import Blobs
from jaxvae.runs import measured

Json = dict[str, Any]

UNUSED = 0.01
"""Variance of a latent's mean up to which it is not used (Burda et al. 2016)."""
MACHINE = ("seconds", "images_per_second")
PANELS = {"loss": "Loss", "recon": "Reconstruction", "kl": "KL divergence"}
TITLES = {
    **PANELS,
    "mse": "Mean squared error",
    "mi": "Mutual information of example and code",
    "tc": "Total correlation",
    "dw_kl": "KL divergence, latent by latent",
    "off_diagonal": "Covariances of latents",
    "diagonal": "Variances of latents, from 1",
    "kl_continuous": "KL divergence of the latents",
    "kl_discrete": "KL divergence of the category",
    "mmd": "Maximum mean discrepancy",
    "from_capacity": "Distance from the capacity",
    "lacking": "Nats that latents lack",
    "critic": "Loss of the critic",
    "grad_norm": "Norm of the gradient",
    "beta_eff": "Effective beta",
}


class Reported(NamedTuple):
    """A run and what a page needs of it.

    folder: the run folder. trained: the model. rows: of metrics.csv, those of a run alone.
    summary: as summary.json has it; {} where there is none. step: of the checkpoint, None: not
    known. member: which of a population this is, in words. called: the run, as commands name it.
    number: of the member; the folder is the population's.
    """

    folder: Path
    trained: Trained
    dataset: Dataset
    rows: list[dict[str, float]]
    summary: Mapping[str, Any]
    step: int | None = None
    member: str = ""
    called: str = "RUN"
    number: int | None = None


def contents(run: Reported, blobs: Blobs) -> Json:
    """Everything the page says and shows."""
    trained, split = run.trained, run.dataset.test
    experiment = dataclasses.asdict(trained.experiment)  # a member's own
    config = runs.saved_config(run.folder) | {"experiment": experiment}
    shown, objective = kind(trained), trained.experiment.objective
    found: Json = {
        "title": trained.experiment.name,
        "member": run.member,
        "number": run.number,
        "by": f"jaxvae {__version__}",
        "kind": shown,
        "unit": f"nats per {'image' if is_images(trained) else 'example'}",
        "shape": list(trained.info.shape),
        "columns": list(columns(trained)),
        "center": list(trained.info.center),
        "scale": list(trained.info.scale),
        "palette": list(PALETTE),
        "notes": [],
        "noise": facts.noise(trained.experiment.data),
        **_words(run, config),
        "curves": curves(run.rows),
        "scheduled": objective.warmup_steps > 0 or type(objective).at is not Objective.at,
        "measures": _measures(run, config),
        "figures": looks.over_time(run.folder),
    }
    if shown is None:
        shape = "x".join(map(str, trained.info.shape))
        found["notes"].append(f"Examples of shape {shape} are not drawn.")
        return found
    seen = looks.look(trained, split)
    found["classes"] = _classes(run, seen)
    count = len(found["classes"])
    found["class_colors"] = [class_color(i, count) for i in range(count)]
    found["reconstructions"] = looks.pairs(trained, split, seen, blobs)
    rows = seen.rows[: looks.FEW]
    few = prepare(trained, split.take(rows), rows)
    network = weights.export(trained, few)
    found["notes"] += network.lacks
    found["network"] = weights.as_json(network, blobs) | _ends(trained)
    found["latents"] = _latents(run, seen, blobs) | _parts(trained, codes_of(trained, few))
    found["prior"] = priors.prior_of(trained)
    if has_prior(trained):
        found |= looks.samples(trained, run.dataset.train, blobs)
        if found["prior"] is None and network.decoder is not None and not knows_labels(trained):
            found["drawn"] = looks.drawn(trained, seen.codes.shape[1], blobs)
    found["codebooks"], found["rounded"] = codebooks.use(trained, split, seen.rows)
    found["counted"] = min(len(seen.rows), codebooks.MOST)
    if network.decoder is None and seen.codes.shape[1] >= 2:
        found["grid"] = looks.grid(trained, seen, found["latents"]["plane"], blobs)
    return found


def _words(run: Reported, config: Mapping[str, Any]) -> Json:
    """The texts, and the numbers that stand at the top."""
    basis, summary = facts.basis_of(config), run.summary
    best = _best(run.rows)
    return {
        "facts": facts.facts(config, summary, basis, run.step),
        "settings": facts.differences(config, basis),
        "basis": basis.listed.name if basis.listed else "",
        "command": facts.command(config, basis),
        "expected": basis.listed.expect if basis.listed else "",
        "best": best,
        "active": summary.get("active_latents"),
        "num_parameters": summary.get("num_parameters"),
        "seconds": summary.get("total_seconds"),
        "status": summary.get("status", ""),
    }


def _measures(run: Reported, config: Mapping[str, Any]) -> Json:
    """Of the checkpoint of the page, or not, which is said."""
    epochs = {int(row["step"]): int(row["epoch"]) for row in run.rows}
    best = runs.best_row(run.rows)
    step = run.step if run.step is not None or best is None else int(best["step"])
    records = measured.read_or_say(run.folder)
    own = [record for record in records if record.options.get("member") == run.number]
    return measures.tables(own, config, epochs, step, run.called)


def _best(rows: list[dict[str, float]]) -> Json | None:
    """The row of the lowest validation loss, without what is no number."""
    row = runs.best_row(rows)
    if row is None:
        return None
    return {name: value for name, value in row.items() if math.isfinite(value)}


def curves(rows: list[dict[str, float]]) -> Json:
    """Columns of metrics.csv in panels: loss, recon, kl, the terms of a variant, the learning rate.

    A panel has `title`, and `series` of a `name` and `values`, one per epoch, None where there is
    no number. Terms that are always 0, such as the KL of an AE, are left out. `constant` are the
    columns that never change, and `machine` the panels of speeds and the like.
    """
    names = [*dict.fromkeys(name for row in rows for name in row)]
    terms = [n.removeprefix("val_") for n in names if n.startswith("val_")]
    terms += [t for n in names if (t := n.removeprefix("train_")) != n and t not in terms]
    terms = [*PANELS, *(t for t in terms if t not in PANELS)]
    rest = [n for n in names if not n.startswith(("val_", "train_"))]
    rest = [n for n in rest if n not in ("epoch", "step", "member", "finite")]

    def series(column: str, name: str) -> Json | None:
        values = [row.get(column, math.nan) for row in rows]
        if not any(math.isfinite(v) and v != 0 for v in values):
            return None
        return {"name": name, "values": [v if math.isfinite(v) else None for v in values]}

    panels: list[Json] = []
    for term in terms:
        both = [series(f"train_{term}", "training"), series(f"val_{term}", "validation")]
        panels.append({"title": _title(term), "series": both})
    machine: list[Json] = []
    constant: list[Json] = []
    for name in rest:
        title, own = _title(name), series(name, name)
        if own is not None and len(set(own["values"])) == 1:
            constant.append({"name": title, "value": own["values"][0]})
        elif own is not None:
            (machine if name in MACHINE else panels).append({"title": title, "series": [own]})
    for panel in panels:
        panel["series"] = [s for s in panel["series"] if s is not None]
    best = _best(rows)
    return {
        "epoch": [row["epoch"] for row in rows],
        "best": None if best is None else best["epoch"],
        "panels": [panel for panel in panels if panel["series"]],
        "machine": machine,
        "constant": constant,
    }


def _title(column: str) -> str:
    return TITLES.get(column, column.replace("_", " ").capitalize())


def _classes(run: Reported, seen: looks.Look) -> list[str]:
    """Names of the classes; none where there are no labels, or too many for a legend."""
    count = run.trained.info.num_classes
    if not count or (seen.label < 0).all() or count > 100:
        return []
    names = run.dataset.classes or ()
    return [str(names[i]) if i < len(names) else str(i) for i in range(count)]


def _ends(trained: Trained) -> Json:
    """How examples become what the encoder sees, and what the decoder returns becomes examples."""
    data = trained.experiment.data
    return {
        "output": trained.model.output,
        "input": {
            "range": list(data.range),
            "pad": data.pad,
            "quantize": data.quantize,
            "binarize": data.binarize,
        },
        "labels": trained.info.num_classes if knows_labels(trained) else 0,
    }


def _parts(trained: Trained, codes: Any) -> Json:
    """What a code has to be told apart: `layers`, the first of which is shown, and `categories`,
    where their one-hot vectors are `from` in the code, of which `size`; None: it has none."""
    parts = priors.categories_of(trained)
    categories = None if parts is None else {"from": parts[0], "size": parts[1]}
    return {"layers": [*codes] if isinstance(codes, dict) else [], "categories": categories}


def _latents(run: Reported, seen: looks.Look, blobs: Blobs) -> Json:
    """The map: codes as float16, labels, carried examples; and what is known of each latent."""
    codes = seen.codes
    variance = codes.astype(np.float64).var(axis=0)
    vector = len(codes[0]) <= 256
    plane = looks.components(codes)
    if codes.shape[1] == 2:
        plane = {"mean": [0.0, 0.0], "directions": [[1.0, 0.0], [0.0, 1.0]], "share": []}
    label = seen.label.astype(np.int16)
    return {
        "codes": blobs.add("codes", codes.astype(np.float16)),
        "label": blobs.add("labels", label),
        "error": blobs.add("errors", seen.error.astype(np.float16)),
        "carried": blobs.add("carried", seen.carried),
        "of": len(run.dataset.test.images),
        "kl": None if seen.kl is None else seen.kl.tolist(),
        "std": np.sqrt(variance).tolist() if vector else [],
        "used": (variance > UNUSED).tolist() if vector else [],
        "low": codes.min(axis=0).tolist() if vector else [],
        "high": codes.max(axis=0).tolist() if vector else [],
        "plane": plane,
    }
