"""Run folders: what is in one, who may write to it, and its checkpoints.

Exported here is what `jaxvae.runs.folder` defines. `guards`, `code`, `names` (of the package's
experiments) and `checkpoint`, which imports Orbax, are imported by name.
"""

from jaxvae.runs.classes import PARTS
from jaxvae.runs.folder import (
    COLUMNS,
    Interrupted,
    RunError,
    best_member,
    best_row,
    describe,
    ended_early,
    line_of,
    load_experiment,
    origin_of,
    read_config,
    read_json,
    read_metrics,
    read_summary,
    saved_config,
    template_for,
    write_json,
    write_metrics,
)
from jaxvae.runs.names import DEMO

__all__ = [
    "COLUMNS",
    "DEMO",
    "PARTS",
    "Interrupted",
    "RunError",
    "best_member",
    "best_row",
    "describe",
    "ended_early",
    "line_of",
    "load_experiment",
    "origin_of",
    "read_config",
    "read_json",
    "read_metrics",
    "read_summary",
    "saved_config",
    "template_for",
    "write_json",
    "write_metrics",
]
