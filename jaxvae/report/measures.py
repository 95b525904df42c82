"""What `evaluate` measured on the run, as tables of the page: read, not computed."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from jaxvae.evaluation.definitions import BESIDE, base_of, definition
from jaxvae.held import PREFIX
from jaxvae.runs import measured
from jaxvae.runs.classes import needed_option
from jaxvae.runs.measured import Record

Json = dict[str, Any]

TITLES = {
    measured.TERMS: "Objective",
    "elbo": "ELBO",
    "nll": "Bound on -log p(x)",
    "units": "Latents in use",
    "decomposition": "What the KL consists of",
    "probes": "Classifiers on codes",
    "clusters": "Clusters of codes",
    "anomaly": "Anomalies",
    "samples": "Samples",
    "reconstruction": "Reconstruction",
    "disentanglement": "Disentanglement",
    "dci": "Disentanglement, completeness, informativeness",
    "geometry": "How curved the decoder is",
}
COUNTED = {"num_samples": "draws", "generated": "samples"}
"""Settings that are numbers of something, and of what."""
USUAL = {"checkpoint": "best", "z": "sampled", "num_samples": 500, "generated": 10_000, "seed": 0}
"""Options that a command can leave out."""


def tables(
    records: Sequence[Record],
    config: Mapping[str, Any],
    epochs: Mapping[int, int],
    step: int | None,
    called: str,
) -> Json:
    """What the page has of measures: `groups`, and the `command` that measures all and shows it.

    A group has its title, the examples it is `of`, what to know (`notes`), whether it is of another
    checkpoint than the page (`other`; empty: it is not), the command that measured it (None: none
    can), `columns`, and `rows` of a name, its definition, and for each column a value and its
    standard error (None: it has none).

    Args:
        records: of the run, or of the member that the page is of.
        config: its config.json.
        epochs: by the step at which they end.
        step: of the page's checkpoint; None: not known.
        called: the run, as commands name it.
    """
    source = str(config["experiment"]["data"]["source"])
    needs = needed_option(config)

    def when(step: int) -> str:
        return f"epoch {epochs[step]}" if step in epochs else f"step {step:,}"

    def table(record: Record) -> Json:
        other = ""
        if step not in (None, record.checkpoint_step):
            then, now = when(record.checkpoint_step), when(step or 0)
            other = f"Measured at {then}. The model of this page is that of {now}."
        return {
            "name": record.group,
            "title": TITLES.get(record.group, record.group),
            "of": _of(record, source),
            "settings": settings_of(record.options),
            "other": other,
            "notes": list(record.notes),
            "command": _command(record, source, called, needs),
            "by": f"jaxvae {record.jaxvae}, {record.date[:10]}",
            **_rows(record.values),
        }

    # Those of the run's own data first, and of these the terms.
    def place(record: Record) -> tuple[bool, bool]:
        return record.options.get("source") != source, record.group != measured.TERMS

    measure = f"jaxvae evaluate {called} --metrics all{needs} && jaxvae report {called}{needs}"
    command = None if source.startswith(PREFIX) else measure
    whole = {r.which[1]: r.checkpoint_step for r in records if r.group == "elbo"}
    shown = [record for record in records if not _is_within(record, whole)]
    return {"groups": [table(record) for record in sorted(shown, key=place)], "command": command}


def _is_within(record: Record, whole: Mapping[str, int]) -> bool:
    """Whether the terms are in a table of group elbo too, which has more, of no older checkpoint.

    whole: steps of the records of that group, by their options.
    """
    options = {name: value for name, value in record.options.items() if name != "z"}
    sampled = record.group == measured.TERMS and record.options.get("z") == "sampled"
    newest = whole.get(json.dumps(options, sort_keys=True), -1)
    return sampled and newest >= record.checkpoint_step


def _rows(values: Mapping[str, float]) -> Json:
    """A row per value; what stands beside it, such as the same of pixels, is in its row."""
    names = [name for name in values if not (name.endswith("_se") and name[:-3] in values)]
    places = {name: base_of(name, values) for name in names}
    ends = ["", *(end for end in BESIDE if any(e == end for _, e in places.values()))]

    def cell(name: str) -> Json | None:
        if name not in values:
            return None
        return {"value": values[name], "error": values.get(f"{name}_se")}

    rows = [
        {"name": name, **definition(name)._asdict()}
        | {"values": [cell(f"{name}_{end}" if end else name) for end in ends]}
        for name in names
        if not places[name][1]
    ]
    return {"columns": ["value", *(BESIDE[end] for end in ends[1:])], "rows": rows}


def _of(record: Record, source: str) -> str:
    """Which examples, in words."""
    which = examples_of(record.images, record.options)
    own = record.options.get("source") == source
    return which if own else f"{which} of {record.options.get('source')}, not the run's own data"


def examples_of(images: int, options: Mapping[str, Any]) -> str:
    """How many, and of which split: "the first 100 test examples"."""
    split = options.get("split", "")
    which = "examples" if split == "all" else f"{split} examples"
    return f"{'the first ' if 'limit' in options else ''}{images:,} {which}"


def settings_of(options: Mapping[str, Any]) -> str:
    """What else the values depend on: "500 draws, seed 0"."""
    said = [] if options.get("checkpoint") == "best" else ["latest checkpoint"]
    said += ["z the posterior mean"] if options.get("z") == "mean" else []
    said += [f"{options[n]:,} {what}" for n, what in COUNTED.items() if n in options]
    if normal := options.get("normal"):
        said.append(f"normal classes {', '.join(map(str, normal))}")
    said += [f"anomalies of {options['anomalies']}"] if "anomalies" in options else []
    said += [f"seed {options['seed']}"] if "seed" in options else []
    return ", ".join(said)


def _command(record: Record, source: str, called: str, needs: str) -> str | None:
    """The command that measures it again; None where it was of arrays, or read in its own way."""
    options = dict(record.options)
    known = {"source", "split", "limit", "member", "normal", "anomalies", *USUAL}
    texts = [str(options.get(name, "")) for name in ("source", "anomalies")]
    if options.keys() - known or any(text.startswith(PREFIX) for text in texts):
        return None
    words = ["--metrics", record.group] if record.group != measured.TERMS else []
    words += ["--source", options["source"]] if options["source"] != source else []
    usual = "test" if options["source"] == source else "all"
    words += ["--split", options["split"]] if options["split"] != usual else []
    for name in (
        "checkpoint",
        "z",
        "limit",
        "num_samples",
        "generated",
        "normal",
        "anomalies",
        "seed",
    ):
        value = options.get(name, USUAL.get(name))
        if value is not None and value != USUAL.get(name):
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    rest = f" {shlex.join(words)}" if words else ""
    return f"jaxvae evaluate {called}{rest}{needs}"
