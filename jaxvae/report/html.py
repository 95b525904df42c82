"""From what a page says to one HTML file: the files of the folder `page`, and the data, inlined."""

import html
import json
from pathlib import Path
from typing import Any

from jaxvae.atomic import atomic
from jaxvae.report.blobs import Blobs
from jaxvae.report.contents import Reported, contents

FILE = "report.html"
"""In the run folder, where no other is named."""

PAGE = Path(__file__).parent / "page"
NAMES = (
    *("dom", "data", "network", "model", "draw", "map", "controls"),
    *("explorer", "own", "pictures", "curves", "page"),
)
SCRIPTS = ("vendor/uPlot.iife.min.js", *(f"{name}.js" for name in NAMES))
"""In the order in which they are read: each uses those before it."""
STYLES = ("vendor/uPlot.min.css", "style.css")
LICENCES = ("vendor/uPlot.LICENSE",)


class Page:
    """A page of a run: a notebook shows it in place, a browser opens its `path`."""

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
    text = page(contents(run, blobs), blobs)
    with atomic(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return out


def page(said: dict[str, Any], blobs: Blobs) -> str:
    """The HTML. Whatever names are in `said`, they are data: nothing of them is read as HTML."""
    styles = "\n".join(f"<style>\n{_read(name)}</style>" for name in STYLES)
    scripts = "\n".join(f"<script>\n{_read(name)}</script>" for name in SCRIPTS)
    licences = "\n".join(f"<!--\n{_read(name)}-->" for name in LICENCES)
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


def _read(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON in which no sign can end or begin an element of HTML."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
