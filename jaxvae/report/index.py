"""What a page says of a folder of runs: where each stands, how it looks, and where its page is."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxvae import __version__
from jaxvae.evaluation.written import by_epoch
from jaxvae.report import html, looks
from jaxvae.report.blobs import Blobs
from jaxvae.report.contents import Json

SCRIPTS = ("dom.js", "data.js", "open.js", "index.js")
WIDTH = 360
"""Of a thumbnail, in pixels: twice as many as it has on the page, where its sides are cut."""
SHOWN = ("population", "reconstructions", "samples", "latents", "curves")
"""Figures of which the first that is there becomes the thumbnail."""
LAST = ("summary.json", "metrics.csv", "config.json")
"""Files of a run of which the first that is there says when it ended, or last moved."""


def write(folder: Path, standings: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write the index of the runs below a folder, whole or not at all; return where it is.

    Args:
        folder: the folder.
        standings: of the runs, as `runs.listing.standings` has them.
        out: the file. Links are relative to its folder.
    """
    blobs = Blobs()
    return html.save(contents(folder, standings, out), blobs, SCRIPTS, out)


def contents(folder: Path, standings: Sequence[Mapping[str, Any]], out: Path) -> Json:
    """Everything the page says and shows."""
    return {
        "title": f"Runs in {folder.resolve().name or folder}",
        "by": f"jaxvae {__version__}",
        "runs": [
            {
                **standing,
                "name": _name(Path(standing["run"]), folder),
                "link": html.link(Path(standing["run"]), out),
                "changed": _changed(Path(standing["run"])),
                "thumbnail": _thumbnail(Path(standing["run"])),
            }
            for standing in standings
        ],
    }


def _name(run: Path, folder: Path) -> str:
    """Its path below the folder, which may be a run itself."""
    return run.resolve().name if run == folder else run.relative_to(folder).as_posix()


def _changed(run: Path) -> float:
    """When a run ended, or last moved, in seconds since 1970."""
    return next(path.stat().st_mtime for name in LAST if (path := run / name).exists())


def _thumbnail(run: Path) -> Json | None:
    """A figure, small: of the end of the training, or else of the last epoch that has one."""
    folders = [run / "figures", *reversed(by_epoch(run / "figures"))]
    for name in SHOWN:
        for folder in folders:
            file = folder / f"{name}.png"
            with contextlib.suppress(OSError):  # none there, or damaged
                return {"name": name, "url": looks.data_url(looks.small_webp(file, WIDTH))}
    return None
