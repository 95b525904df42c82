"""From what a page says to one HTML file: the files of the folder `page`, and the data, inlined."""

import html
import json
import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxvae.atomic import atomic
from jaxvae.report.blobs import Blobs
from jaxvae.report.contents import Reported, contents

FILE = "report.html"
"""In the run folder, where no other is named."""

PAGE = Path(__file__).parent / "page"
UPLOT = "vendor/uPlot.iife.min.js"
SCRIPTS = (
    *(UPLOT, "dom.js", "data.js", "network.js", "model.js", "draw.js", "map.js", "controls.js"),
    *("explorer.js", "own.js", "pictures.js", "codebooks.js", "measures.js", "curves.js"),
    *("progress.js", "open.js", "page.js"),
)
"""In the order in which they are read: each uses those before it."""


class Page:
    """A page of a run, or of several: a notebook shows it in place, a browser opens its `path`."""

    def __init__(self, path: Path):
        self.path = path

    def __repr__(self) -> str:
        return f"<Page {self.path}: {self.path.stat().st_size / 1e6:.1f} MB>"

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        inside = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        style = "width:100%;height:85vh;min-height:600px;border:0"
        return f'<iframe srcdoc="{inside}" style="{style}" title="{self.path.name}"></iframe>'


def write(run: Reported, out: Path) -> Path:
    """Write the page of a run, whole or not at all; return where it is."""
    blobs = Blobs()
    return save(contents(run, blobs), blobs, SCRIPTS, out)


def save(said: dict[str, Any], blobs: Blobs, scripts: Sequence[str], out: Path) -> Path:
    """Write a page, whole or not at all; return where it is."""
    text = page(said, blobs, scripts)
    with atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out


def page(said: dict[str, Any], blobs: Blobs, of: Sequence[str] = SCRIPTS) -> str:
    """The HTML, with the scripts `of` it. Whatever names are in `said`, they are data: nothing of
    them is read as HTML."""
    charts = UPLOT in of
    sheets = ["vendor/uPlot.min.css"] if charts else []
    styles = "\n".join(f"<style>\n{_read(name)}</style>" for name in (*sheets, "style.css"))
    scripts = "\n".join(f"<script>\n{_read(name)}</script>" for name in of)
    licences = f"<!--\n{_read('vendor/uPlot.LICENSE')}-->" if charts else ""
    data = [f'<script type="application/json" id="contents">{_json(said)}</script>']
    data += [
        f'<script type="text/plain" id="blob-{name}">{letters}</script>'
        for name, letters in blobs.packed.items()
    ]
    parts = {
        "title": html.escape(str(said["title"])),
        "styles": styles,
        "data": "\n".join(data),
        "scripts": f"{licences}\n{scripts}",
    }
    template = _read("template.html")
    before, *rest = template.split("{{")
    pieces = [before]
    for part in rest:  # not by replacing: a name in the data may look like a place
        name, _, after = part.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def link(folder: Path, out: Path) -> str | None:
    """From the page `out` to that of a run; None: the run has none."""
    page = folder / FILE
    if not page.is_file():
        return None
    way = os.path.relpath(page.resolve(), out.parent.resolve())
    return urllib.parse.quote(Path(way).as_posix())


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON in which no sign can end or begin an element of HTML."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
