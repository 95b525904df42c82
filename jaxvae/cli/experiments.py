"""The command that lists the package's experiments, and shows one."""

import shutil
import sys
import textwrap
from functools import partial
from typing import Any

import tyro

from jaxvae.runs import names


def experiments(name: tyro.conf.Positional[str | None] = None) -> dict[str, Any]:
    """List the experiments: name, what it is, what to expect; or print one, to read or to change.

    On a terminal the list is text; elsewhere that goes to stderr, and JSON with all that is
    expected to stdout. `jaxvae train NAME` trains one; `jaxvae experiments NAME > mine.py` copies
    it.

    Args:
        name: Print this one's file.
    """
    if name is not None:
        sys.stdout.write(names.resolve(name).read_text(encoding="utf-8"))
        raise SystemExit(0)
    listed = names.listed()
    on_terminal = sys.stdout.isatty()
    print(_as_text(listed), file=sys.stdout if on_terminal else sys.stderr)
    if on_terminal:
        raise SystemExit(0)
    fields = ("name", "title", "expect", "path")
    return {"experiments": [{f: str(getattr(item, f)) for f in fields} for item in listed]}


def _as_text(listed: list[names.Listed]) -> str:
    """The name, and beside it the title and what to expect, within the terminal's width."""
    margin = max(len(item.name) for item in listed) + 2
    width = max(40, shutil.get_terminal_size().columns - margin)
    wrap = partial(textwrap.wrap, break_on_hyphens=False)
    lines = []
    for item in listed:
        expect = f"expect: {item.number}" if item.number else ""
        own = [*wrap(item.title, width), *wrap(expect, width)]
        left = [item.name, *[""] * (len(own) - 1)]
        lines += [f"{a:{margin}}{b}" for a, b in zip(left, own, strict=True)]
    return "\n".join(lines)
