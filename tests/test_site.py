"""The documentation as a site: no warning, everything in it, nothing from elsewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jaxvae.runs import names

ROOT = Path(__file__).parents[1]

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


def test_every_document_notebook_and_experiment_is_in_it(site):
    for path in (ROOT / "docs").glob("*.md"):
        page = "index.html" if path.stem == "index" else f"{path.stem}/index.html"
        assert (site / page).is_file(), page
    for path in (ROOT / "notebooks").glob("*.py"):
        assert "jp-Cell" in (site / "notebooks" / path.stem / "index.html").read_text(), path
    listed = (site / "experiments" / "index.html").read_text()
    for each in names.listed():
        assert f">{each.name.rpartition('/')[2]}</code>" in listed, each.name
    reference = (site / "api" / "objectives" / "index.html").read_text()
    assert 'id="jaxvae.objectives.divergences.gaussian_kl"' in reference


def test_search_finds(site):
    index = json.loads((site / "search" / "search_index.json").read_text())
    texts = {doc["location"]: (doc["title"] + doc["text"]).lower() for doc in index["docs"]}
    for words, page in (
        ("free_bits_vae", "variants/"),
        ("webp", "jobs/"),
        ("gaussian_kl", "api/"),
    ):
        assert any(words in text for where, text in texts.items() if where.startswith(page)), words


def test_pages_load_nothing_from_elsewhere(site):
    """Notebooks may show formulas by MathJax, which is loaded where there are some."""
    for path in site.rglob("*.html"):
        # By which the theme asks GitHub for the repository's stars.
        asks = 'data-md-component="source"' in path.read_text()
        assert not asks, path
        if "notebooks" not in path.parts:
            found = re.findall(
                r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]*)\"", path.read_text()
            )
            found += re.findall(
                r"<link[^>]*stylesheet[^>]*href=\"(https?:[^\"]*)\"", path.read_text()
            )
            assert not found, path
