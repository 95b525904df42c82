"""What the site has besides documents: notebooks, a list of experiments, links to the code,
formulas."""

import html
import itertools
import os
import re
from pathlib import Path
from typing import Any

from math_core import LatexToMathML
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import jaxvae
from jaxvae.runs import names

ROOT = Path(__file__).parents[1]
RUNS = os.environ.get("SITE_RUNS", "true") == "true"
"""Whether notebooks are carried out, and experiments trained for their pages."""
LIVE = ("digits_vae", "vq_vae", "conditional_vae")
CODE = "https://github.com/jaxvae/jaxvae/blob/main/"
FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\[([](.*?)\\[])](?=</)', re.DOTALL)
"""As arithmatex leaves it: an element with TeX in it, between \\( and \\) or \\[ and \\]."""


@event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files: Files, config: Any) -> Files:
    """Notebooks and generated pages."""
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        name = f"notebooks/{path.name}"
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name in LIVE if RUNS else ():
        run = jaxvae.train(name, figures_every=None, quiet=True)
        page = run.report().path.read_text()
        files.append(File.generated(config, f"reports/{name}.html", content=page))
    files.append(File.generated(config, "experiments.md", content=experiments()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/ lead to the page of a notebook, or to the repository."""

    def elsewhere(link: re.Match[str]) -> str:
        target = link[1]
        if files.get_file_from_path(target) is not None:
            return f"]({target})"
        known = (ROOT / target).exists()
        assert known, f"{page.file.src_uri}: {link[0]}: no such file"
        return f"]({CODE}{target})"

    return re.sub(r"\]\(\.\./([^)]*)\)", elsewhere, markdown)


def on_page_content(content: str, **of: Any) -> str:
    """Formulas become MathML, which browsers draw by themselves; what is no TeX is an error."""
    converter = LatexToMathML()

    def as_mathml(formula: re.Match[str]) -> str:
        start, tag, tex = formula.groups()
        return start + converter.convert_with_local_state(
            html.unescape(tex), displaystyle=tag == "div"
        )

    return FORMULA.sub(as_mathml, content)


def on_post_page(output: str, **of: Any) -> str:
    """The theme would ask GitHub on every page how many stars the repository has."""
    return output.replace(' data-md-component="source"', "")


def on_post_template(output_content: str, **of: Any) -> str:
    """The same of 404.html."""
    return on_post_page(output_content)


def experiments() -> str:
    """A table by family."""
    lines = [
        "# Experiments",
        "",
        "`jaxvae train NAME` trains one, `jaxvae experiments NAME` prints its",
    ]
    lines += ["file, `jaxvae train NAME --help` its settings.", ""]
    if RUNS:
        pages = ", ".join(f"[`{name}`](reports/{name}.html)" for name in LIVE)
        lines += [f"Pages of runs, to move in their latent spaces: {pages}.", ""]
    for family, group in itertools.groupby(names.listed(), lambda each: each.family):
        about = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", names.FAMILIES[family])
        title = [f"{about[0].upper()}{about[1:]}.", ""] if family else []
        lines += ["", f"## {family or 'Recipes'}", "", *title, *table([*group])]
    return "\n".join(lines) + "\n"


def table(group: list[names.Listed]) -> list[str]:
    """Of a family, with what is to be expected where any of it says so."""
    heads = ["experiment", "what it is", "expect"][: 3 if any(each.expect for each in group) else 2]
    rows = [heads, ["---"] * len(heads)]
    for each in group:
        name = each.name.rpartition("/")[2]
        where = f"{CODE}{Path(each.path).resolve().relative_to(ROOT).as_posix()}"
        cells = (f"[`{name}`]({where})", each.title, each.number or each.expect)
        rows.append([str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells])
    return [f"| {' | '.join(row[: len(heads)])} |" for row in rows]
