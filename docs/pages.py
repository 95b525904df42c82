"""What the site has besides documents: notebooks, a list of experiments and a gallery of their
pages, links to the code, formulas."""

import html
import itertools
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from math_core import LatexToMathML
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

import jaxvae
from jaxvae.report.looks import small_webp
from jaxvae.runs import names

ROOT = Path(__file__).parents[1]
RUNS = os.environ.get("SITE_RUNS", "true") == "true"
"""Whether notebooks are carried out, and experiments trained for their pages."""


class Live(NamedTuple):
    """A run that is trained for the site: its page, and the figure of it that leads there.

    settings: as `jaxvae.train` takes them.
    """

    title: str
    figure: str
    experiment: str
    settings: dict[str, Any]


BETAS = jaxvae.Population(sweep=("objective.beta=0.25,0.5,1,2",))
LIVE = {
    "digits_vae": Live("A VAE with two latents", "manifold", "digits_vae", {}),
    "digits_ae": Live(
        "An autoencoder", "latents", "digits_vae", {"name": "digits_ae", "family": "AE"}
    ),
    "vq_vae": Live("A VQ-VAE, with its codebook", "reconstructions", "vq_vae", {}),
    "conditional_vae": Live(
        "A conditional VAE, with a choice of class", "samples", "conditional_vae", {}
    ),
    "population": Live(
        "The best of four betas", "population", "digits_vae", {"epochs": 30, "population": BETAS}
    ),
    "breast_cancer": Live("A table of measurements", "reconstructions", "breast_cancer", {}),
}
"""By the names of their pages. Their data come with scikit-learn: nothing is fetched."""
WIDTH = 480
"""Of the gallery's pictures, in pixels."""
CODE = "https://github.com/jaxvae/jaxvae/blob/main/"
FORMULA = re.compile(r'(<(span|div) class="arithmatex">)\\[([](.*?)\\[])](?=</)', re.DOTALL)
"""As arithmatex leaves it: an element with TeX in it, between \\( and \\) or \\[ and \\]."""
IN_NOTEBOOK = re.compile(r"<p>\$\$(.*?)\$\$</p>", re.DOTALL)
"""A formula of a notebook, as its converter leaves it for MathJax."""
LOADERS = re.compile(r"<!-- Load mathjax -->.*<!-- End of mermaid configuration -->", re.DOTALL)
"""What it adds to load MathJax, and a library for diagrams, from elsewhere."""


@event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files: Files, config: Any) -> Files:
    """Notebooks and generated pages."""
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        name = f"notebooks/{path.name}"
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name in LIVE if RUNS else ():
        page, picture = trained(name, LIVE[name])
        files.append(File.generated(config, f"reports/{name}.html", content=page))
        files.append(File.generated(config, f"reports/{name}.webp", content=picture))
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
    content = IN_NOTEBOOK.sub(r'<div class="arithmatex">\\[\1\\]</div>', LOADERS.sub("", content))

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


def trained(name: str, live: Live) -> tuple[str, bytes]:
    """The page of a run, and its figure as a small WebP file."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"figures_every": 0, "figure_footer": False, "quiet": True} | live.settings
        run = jaxvae.train(live.experiment, Path(folder) / name, **settings)
        picture = small_webp(run.folder / "figures" / f"{live.figure}.png", WIDTH)
        return run.report().path.read_text(), picture


def gallery() -> list[str]:
    """A picture and a title for each page of a run."""
    cards = [
        [f"[![](reports/{name}.webp) {live.title}](reports/{name}.html)", ""]
        for name, live in LIVE.items()
    ]
    about = "Each is the page of a run, trained as this site was built: [what is in it](report.md)."
    inside = '<div class="gallery" markdown>'
    return ["## Gallery", "", about, "", inside, "", *itertools.chain(*cards), "</div>", ""]


def experiments() -> str:
    """A table by family."""
    lines = [
        "# Experiments",
        "",
        "`jaxvae train NAME` trains one, `jaxvae experiments NAME` prints its",
    ]
    lines += ["file, `jaxvae train NAME --help` its settings.", "", *(gallery() if RUNS else [])]
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
