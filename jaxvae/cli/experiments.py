"""The command that lists the package's experiments, and shows one."""

from typing import Any

import tyro

from jaxvae.cli import closing
from jaxvae.runs import names


def experiments(name: tyro.conf.Positional[str | None] = None) -> dict[str, Any]:
    """List the experiments by family: what each is, and to expect; or print one, to read or change.

    `jaxvae train NAME` trains one; `jaxvae experiments NAME > mine.py` copies it.

    Args:
        name: Print this one's file.
    """
    if name is not None:
        closing.show(names.resolve(name).read_text(encoding="utf-8").rstrip("\n"))
        raise SystemExit(0)
    fields = ("name", "family", "title", "expect", "number", "paper", "path")
    listed = names.listed()
    return {"experiments": [{f: str(getattr(item, f)) for f in fields} for item in listed]}
