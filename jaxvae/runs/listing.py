"""Several runs: which are below a folder, where each stands, and in what they differ."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvae.checks import UsageError, require
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
TOLD_APART = ("objective.likelihood", "objective.sigma", "objective.beta", "objective.warmup_steps")
"""Settings that make losses numbers of different things."""


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
    return found | {"best": {n: x for n, x in (best or {}).items() if n == "epoch" or n in TERMS}}


def _state(folder: Path, rows: Sequence[Any], summary: Mapping[str, Any]) -> str:
    if is_held(folder):
        return "trains"
    if summary:
        return str(summary.get("status", "finished"))
    imported = not rows and (folder / "import.json").exists()
    return "imported" if imported else "stopped"


def compared(folders: Sequence[Path]) -> dict[str, Any]:
    """In what settings runs differ, and what each came to.

    Returns:
        `runs`, each its `standing`; `settings`, the values of each by dotted name, where they are
        not all the same (None: it has no such setting); `notes`: why losses are not of one thing.

    Raises:
        UsageError: fewer than two, one twice, or one that is not a run.
    """
    require(len(folders) >= 2, "runs", len(folders), "two at least")
    places = [folder.resolve() for folder in folders]
    require(len({*places}) == len(places), "runs", [*map(str, folders)], "each given once")
    configs = [saved_config(folder) for folder in folders]
    # A class stands under the name of its part: objective, jaxvae.variants.kl.Capacity.
    flat = [dict(_flat(config["experiment"])) | config["classes"] for config in configs]
    names = [*dict.fromkeys(name for values in flat for name in values)]
    differing = {name: [values.get(name) for values in flat] for name in names}
    differing = {n: v for n, v in differing.items() if n != "name" and any(x != v[0] for x in v)}
    notes = []
    if told := [name for name in ("objective", *TOLD_APART) if name in differing]:
        notes.append(f"losses are of different things ({', '.join(told)})")
    if any(config.get("images") != configs[0].get("images") for config in configs):
        notes.append("images differ, those that losses are measured on perhaps too")
    return {
        "runs": [standing(folder) for folder in folders],
        "settings": differing,
        "notes": notes,
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
