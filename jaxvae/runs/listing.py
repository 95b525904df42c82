"""Several runs: which are below a folder, where each stands, and in what they differ."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxvae.checks import UsageError, require
from jaxvae.config import Experiment
from jaxvae.runs.folder import (
    best_member,
    best_row,
    read_json,
    read_metrics,
    read_summary,
    saved_config,
)
from jaxvae.runs.guards import is_held

TERMS = ("val_loss", "val_recon", "val_kl", "val_mse")
OF_RECON = ("objective.likelihood", "objective.sigma")
"""Settings that make reconstruction terms numbers of different things; every field of an objective
does it to losses."""
OF_IMAGES = tuple(
    f"data.{name}"
    for name in (
        *("resize", "resize_rule", "aspect", "background", "pad"),
        *("quantize", "binarize", "range", "standardise"),
    )
)
"""Settings that make other images of the same ones."""
FREE = (
    *("name", "train.report", "train.track"),
    *("train.figures_every", "train.figure_formats", "train.figure_footer"),
)
"""What changes no number of a run."""


def below(folder: Path) -> list[Path]:
    """The run folders in it and below it, by name.

    Raises:
        UsageError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    found = sorted(path.parent for path in folder.rglob("config.json") if _of_a_run(path))
    if not found:
        raise UsageError(f"{folder}: no run in it or below it (a run has a config.json)")
    return found


def _of_a_run(config: Path) -> bool:
    """Others write files of that name too."""
    saved = read_json(config)
    return isinstance(saved, dict) and "jaxvae" in saved and "experiment" in saved


def standings(folder: Path) -> list[dict[str, Any]]:
    """Where each of the runs in and below a folder stands, by name; of one that is damaged `state`
    says how, and little else is known.

    Raises:
        UsageError: there is no such folder, or no run in it.
    """
    return [_standing_or_damage(run) for run in below(folder)]


def _standing_or_damage(folder: Path) -> dict[str, Any]:
    try:
        return standing(folder)
    except UsageError as error:
        unknown = dict.fromkeys(("experiment", "epoch", "epochs", "seconds", "parameters"))
        return {"run": str(folder), **unknown, "state": f"damaged: {error}", "best": {}}


def standing(folder: Path) -> dict[str, Any]:
    """Where a run stands: its experiment, state, epochs, best epoch and that one's losses.

    `state` is finished, trains (another process holds the folder), imported, stopped (a process
    ended without a word), or what summary.json says of how it failed or was interrupted. Of a
    population the best is that of its best member, which is named.

    Raises:
        UsageError: not a run folder, or damaged.
    """
    config, rows = saved_config(folder), read_metrics(folder / "metrics.csv")
    summary = read_summary(folder)
    found = {
        "run": str(folder),
        "experiment": config["experiment"]["name"],
        "state": _state(folder, rows, summary),
        "epoch": rows[-1]["epoch"] if rows else 0,
        "epochs": config["experiment"]["train"]["epochs"],
        "seconds": summary.get("total_seconds"),
        "parameters": summary.get("num_parameters"),
    }
    best: Mapping[str, float] | None = summary.get("best")
    if "members" in summary:
        chosen = best_member(summary["members"])
        found |= {"members": len(summary["members"])}
        found |= {"member": chosen["member"]} if chosen else {}
        best = chosen["best"] if chosen else None
    elif not best:
        best = best_row(rows)
        found |= {"member": int(best["member"])} if best and "member" in best else {}
    shown = {n: x for n, x in (best or {}).items() if n == "epoch" or n in TERMS}
    known = {n: x if x is not None and math.isfinite(x) else None for n, x in shown.items()}
    return found | {"best": known}


def _state(folder: Path, rows: Sequence[Any], summary: Mapping[str, Any]) -> str:
    if is_held(folder):
        return "trains"
    if summary:
        return str(summary.get("status", "finished"))
    imported = not rows and (folder / "import.json").exists()
    return "imported" if imported else "stopped"


def compared(folders: Sequence[Path]) -> dict[str, Any]:
    """In what settings runs differ, and what each came to; of a population that of its best member.

    Returns:
        `runs`, each its `standing`; `settings`, the values of each by dotted name, where they are
        not all the same (None: it has no such setting); `one_kind`, whether `loss` and `recon` are
        numbers of one thing; `notes`: why they are not; `measures`: as `in_common.tables`.

    Raises:
        UsageError: fewer than two, one twice, or one that is not a run.
    """
    require(len(folders) >= 2, "runs", len(folders), "two at least")
    places = [folder.resolve() for folder in folders]
    require(len({*places}) == len(places), "runs", [*map(str, folders)], "each given once")
    images = [saved_config(folder).get("images") for folder in folders]
    each = [_settings(folder) for folder in folders]
    names = [*dict.fromkeys(name for values in each for name in values)]
    differing = {name: [values.get(name) for values in each] for name in names}
    differing = {n: v for n, v in differing.items() if n not in FREE and any(x != v[0] for x in v)}
    notes = []
    # Deeper ones are of an objective's own optimizer.
    if told := [n for n in differing if n == "objective" or n.rpartition(".")[0] == "objective"]:
        notes.append(f"losses are of different things ({', '.join(told)})")
    if prepared := [name for name in OF_IMAGES if name in differing]:
        notes.append(f"images are prepared in different ways ({', '.join(prepared)})")
    if others := any(one != images[0] for one in images):
        notes.append("images differ, those that losses are measured on perhaps too")
    from jaxvae.runs import in_common  # and JAX, which a list of runs does without

    where = [standing(folder) for folder in folders]
    return {
        "runs": where,
        "settings": differing,
        "one_kind": {
            "loss": not notes,
            "recon": not any((others, prepared, *(name in differing for name in OF_RECON))),
        },
        "notes": notes,
        "measures": in_common.tables([*map(in_common.measured_on, folders, each, where)]),
    }


def _settings(folder: Path) -> dict[str, Any]:
    """By dotted name; a class stands under its part: objective, jaxvae.variants.kl.Capacity.

    Those that an older version did not have are as they are by default.
    """
    config = saved_config(folder)
    usual = json.loads(json.dumps(asdict(Experiment("usual"))))
    values = dict(_flat(usual)) | dict(_flat(config["experiment"])) | config["classes"]
    best = best_member(read_summary(folder).get("members", ())) or {}
    return values | {name: value for name, value in best.items() if name in values}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
