"""The documentation as a site: no warning, everything in it, nothing from elsewhere."""

import importlib
import io
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from jaxvae.runs import names
from tests.report.test_page import of_page
from tests.scripts import script

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))

pytestmark = [pytest.mark.slow, pytest.mark.ci]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built with warnings as errors; notebooks, which tests/test_notebooks.py runs, as they are."""
    out = tmp_path_factory.mktemp("site")
    environment = os.environ | {"SITE_RUNS": "false", "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def served(site):
    """The address of the site behind a server of this machine."""
    handler = partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_every_document_notebook_and_experiment_is_in_it(site):
    for path in DOCUMENTS:
        page = "index.html" if path.stem == "index" else f"{path.stem}/index.html"
        assert (site / page).is_file(), page
    for path in (ROOT / "notebooks").glob("*.py"):
        assert "jp-Cell" in (site / "notebooks" / path.stem / "index.html").read_text(), path
    listed = (site / "experiments" / "index.html").read_text()
    for each in names.listed():
        assert f">{each.name.rpartition('/')[2]}</code>" in listed, each.name
    reference = (site / "api" / "objectives" / "index.html").read_text()
    assert 'id="jaxvae.objectives.divergences.gaussian_kl"' in reference


@pytest.mark.parametrize(
    "room", ["data", "evaluation", "figures", "models", "objectives", "training"]
)
def test_what_a_room_offers_is_in_the_reference(site, room):
    """Functions and classes: constants stand with those that use them."""
    page = (site / "api" / room / "index.html").read_text()
    module = importlib.import_module(f"jaxvae.{room}")
    for name in module.__all__:
        if callable(getattr(module, name)):
            assert re.search(rf'id="jaxvae\.{room}\.([\w.]+\.)?{name}"', page), name


def formulas(document: Path) -> tuple[list[str], list[str]]:
    """In blocks, and in a line: what stands between dollars, in no code."""
    text = document.read_text()
    blocks = re.findall(r"^```math\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return blocks, re.findall(r"\$([^$\n]+)\$", re.sub(r"`[^`\n]*`", "", text))


def test_formulas_are_drawn_without_a_script(site):
    """As MathML, each of them and nothing else, those in tables too."""
    number = 0
    for path in DOCUMENTS:
        blocks, inline = formulas(path)
        page = (site / ("" if path.stem == "index" else path.stem) / "index.html").read_text()
        assert page.count('<math display="block">') == len(blocks), path
        assert page.count("<math>") == len(inline), path
        assert not re.search(r'class="arithmatex">(?!<math)', page), path
        number += len(blocks) + len(inline)
    assert number >= 50
    mathematics = (site / "mathematics" / "index.html").read_text()
    for row in re.findall(r"<tr>(.*?)</tr>", mathematics, re.DOTALL):
        assert row.count("<td>") in (0, 3), row  # a bar in a formula would begin another cell


def test_formulas_of_notebooks_are_drawn_too(site):
    """No dollar is left in prose."""
    drawn = 0
    for path in (ROOT / "notebooks").glob("*.py"):
        page = (site / "notebooks" / path.stem / "index.html").read_text()
        prose = "".join(re.findall(r"jp-RenderedMarkdown[^>]*>(.*?)\n</div>", page, re.DOTALL))
        assert len(prose) > 500 and "$" not in prose, path
        assert prose.count('<math display="block">') == path.read_text().count("$$") / 2, path
        drawn += prose.count("<math")
    assert drawn >= 1


def test_formulas_in_a_line_are_read_by_github_too():
    """Its Markdown takes the backslash from punctuation, and a bar for the end of a cell."""
    for path in DOCUMENTS:
        for formula in formulas(path)[1]:
            assert not re.search(r"\\[^a-zA-Z]|\|", formula), f"{path.name}: ${formula}$"


def test_search_finds(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    texts = {doc["location"]: (doc["title"] + doc["text"]).lower() for doc in index["docs"]}
    for words, page in (
        ("free_bits_vae", "variants/"),
        ("webp", "jobs/"),
        ("gaussian_kl", "api/"),
    ):
        assert any(words in text for where, text in texts.items() if where.startswith(page)), words


def test_the_search_box_leads_to_pages(served, browser):
    """In a browser: the theme looks words up in a worker, which loads the index."""
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served)
    page.get_by_role("textbox", name="Search").click()
    page.get_by_text("Type to start searching").wait_for()  # the worker is ready
    page.keyboard.type("free_bits_vae")
    page.get_by_text("matching document").wait_for()
    hits = page.locator(".md-search-result__link")
    assert "variants/" in " ".join(hit.get_attribute("href") for hit in hits.all())
    with page.expect_navigation():
        hits.first.click()
    assert "free_bits_vae" in page.locator("article").inner_text()
    assert [url for url in asked if not url.startswith((served, "data:", "blob:"))] == []
    page.close()


def test_pages_load_nothing_from_elsewhere(site):
    """Nor do notebooks, whose converter would load MathJax and Mermaid."""
    for path in site.rglob("*.html"):
        page = path.read_text()
        # By which the theme asks GitHub for the repository's stars.
        assert 'data-md-component="source"' not in page, path
        found = re.findall(r"<(?:script|img|iframe)[^>]* src=\"(?:https?:[^\"]*)?\"", page)
        found += re.findall(r"<link[^>]*stylesheet[^>]*href=\"https?:[^\"]*\"", page)
        found += re.findall(r"\bimport\(\"https?:[^\"]*\"", page)
        assert not found, path


def test_the_gallery_leads_to_pages_of_runs():
    """One of them is trained, for an epoch; CI's job `site` trains all."""
    pages = script("pages")
    cards = "\n".join(pages.gallery())
    links = re.findall(r"\[!\[\]\(reports/(\w+)\.webp\) (.+)\]\(reports/(\w+)\.html\)", cards)
    assert links == [(name, live.title, name) for name, live in pages.LIVE.items()]
    live = pages.LIVE["population"]
    page, picture = pages.trained("betas", live._replace(settings=live.settings | {"epochs": 1}))
    said = of_page(page)
    assert said["member"].startswith(f"member {said['number']} of 4")
    assert said["measures"]["command"].startswith("jaxvae evaluate betas --member ")
    assert Image.open(io.BytesIO(picture)).size[0] == pages.WIDTH
