"""The experiments of the package, and which file a name or a path means.

In a repository they lie beside the package, in a wheel inside of it (setup.py).
"""

import ast
import difflib
import re
from pathlib import Path
from typing import NamedTuple

from jaxvae.checks import UsageError

DEMO = "digits_vae"
"""What is trained where no experiment is named."""

_PACKAGE = Path(__file__).parents[1]
_INSIDE, _BESIDE = _PACKAGE / "experiments", _PACKAGE.parent / "experiments"
# Of an installed package, what lies beside it is somebody else's.
FOLDER = _INSIDE if _INSIDE.is_dir() else _BESIDE
"""Where the package's experiments are."""

FAMILIES = {
    "": "the published recipes, and a demo",
    "kl": "a weight, a target or a schedule of the KL; other errors",
    "samples": "bounds of several samples",
    "aggregated": "what presses on the aggregated posterior",
    "discrete": "codes from a list",
    "labels": "what labels say",
    "layers": "several layers of latents",
    "priors": "priors that are learned",
    "posteriors": "posteriors that are no Gaussians",
    "jobs": "what autoencoders are trained for: docs/jobs.md",
    "studies": "for sweeps: docs/evaluation.md",
    "published": "models of public collections, to import their weights",
}
"""The folders of experiments, in the order in which they are listed, and what each is about."""


class Listed(NamedTuple):
    """What an experiment's docstring says."""

    name: str
    """Such as mnist_vae or samples/iwae."""
    title: str
    """Its first paragraph, on one line."""
    expect: str
    """What stands after `Expect:`; empty where the file promises nothing."""
    path: Path
    paper: str = ""
    """The first address in the docstring, of the paper; empty where there is none."""

    @property
    def family(self) -> str:
        """The folder, a key of `FAMILIES`."""
        return self.name.rpartition("/")[0]

    @property
    def number(self) -> str:
        """The first clause of `expect`: what is expected to be reached, with its unit."""
        return re.split(r"[;,.] |[;,.]$| \(", self.expect)[0]


def experiments() -> dict[str, Path]:
    """The file of each experiment by its name, by family, those of the top folder first.

    Files that define no `experiment` are scripts, the jobs of docs/jobs.md.
    """
    order = [*FAMILIES]

    def place(file: Path) -> tuple[int, Path]:
        folder = file.parent.relative_to(FOLDER).as_posix().removeprefix(".")
        return (order.index(folder) if folder in order else len(order), file)

    files = sorted(FOLDER.rglob("*.py"), key=place)
    files = [file for file in files if re.search(rb"^experiment *[:=]", file.read_bytes(), re.M)]
    return {file.relative_to(FOLDER).with_suffix("").as_posix(): file for file in files}


def listed() -> list[Listed]:
    """The experiments, by their docstrings alone: no file is executed."""
    return [_listed(name, path) for name, path in experiments().items()]


def _listed(name: str, path: Path) -> Listed:
    text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    title = " ".join(text.partition("\n\n")[0].split())
    found = re.search(r"^Expect: (.*?)(?=^\w+: |^$|\Z)", text, re.M | re.S)
    link = re.search(r"\((?:arXiv:([\d.]+)|(https?://[^)\s]+))\)", text)
    paper = (f"https://arxiv.org/abs/{link[1]}" if link[1] else link[2]) if link else ""
    return Listed(name, title, " ".join(found[1].split()) if found else "", path, paper)


def resolve(given: str | Path) -> Path:
    """The file that is meant: one that exists, or else one of the package's experiments, by its
    name or the last part of it where no other has the same.

    Raises:
        UsageError: neither; the message has the names that are near.
    """
    path, name = Path(given), Path(given).as_posix()
    if path.is_file():
        return path
    known = experiments()
    same = [own for own in known if name in (own, _last(own))]
    if name in known or len(same) == 1:
        return known[name if name in known else same[0]]
    if same:
        raise UsageError(f"experiment {name!r}: must be one of {', '.join(same)}")
    if path.is_dir():
        config = path / "config.json"
        alike = f"; another one alike begins with {config}" if config.is_file() else ""
        raise UsageError(
            f"experiment {name!r}: a folder; must be a file or a name. A run is continued with"
            f" --resume{alike}"
        )
    beside = path.with_name(f"{path.name}.py")
    near = [beside.as_posix()] if beside.is_file() else []
    near += difflib.get_close_matches(path.stem.lower(), [_last(own) for own in known], cutoff=0.7)
    meant = f"did you mean {' or '.join(near)}? " if near else ""
    raise UsageError(
        f"experiment {name!r}: no such file, and not the name of an experiment; {meant}`jaxvae"
        " experiments` lists the names"
    )


def _last(name: str) -> str:
    """Of samples/iwae, iwae."""
    return name.rpartition("/")[2]
