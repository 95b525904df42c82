"""What the index of a folder of runs says."""

import base64
import io
import os

import pytest
from PIL import Image

from jaxvae.report import index
from jaxvae.runs import listing
from tests.commands import call
from tests.report.pages import several
from tests.report.test_page import Reader, of_page


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return several.index_folder(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def found(folder):
    said = index.contents(folder, listing.standings(folder), folder / "index.html")
    return {run["name"]: run for run in said["runs"]}


def test_every_run_and_no_other_folder(found):
    evil = several.EVIL
    assert {*found} == {"b10", "b9", "deep/c", "failed", "damaged", evil}
    b10 = found["b10"]
    assert (b10["state"], b10["epoch"], b10["parameters"]) == ("finished", 3, 1234)
    assert b10["best"]["val_loss"] == pytest.approx(100 / 3) and b10["seconds"] == 30.0
    assert found[evil]["state"] == "stopped" and found["failed"]["best"] == {}
    assert found["failed"]["state"] == "failed: not finite at step 2"
    damaged = found["damaged"]
    assert damaged["state"].startswith("damaged: ") and "metrics.csv" in damaged["state"]
    assert damaged["experiment"] is None and damaged["best"] == {}


def test_links_lead_from_the_page(folder, found):
    assert {n: run["link"] for n, run in found.items() if run["link"]} == {"b9": "b9/report.html"}
    odd = folder.parent / "a b%" / "run"
    odd.mkdir(parents=True)
    (odd / "report.html").write_text("")
    for out, link in (("x/index.html", "../a%20b%25/run/report.html"), ("i.html", "a%20b%25/run")):
        assert index.html.link(odd, folder.parent / out).startswith(link)
    assert index.html.link(folder, folder.parent / "i.html") is None


def test_a_thumbnail_of_the_last_figure(found):
    assert [name for name, run in found.items() if run["thumbnail"]] == ["b10"]
    thumbnail = found["b10"]["thumbnail"]
    png = base64.b64decode(thumbnail["url"].partition(",")[2])
    assert thumbnail["name"] == "samples" and Image.open(io.BytesIO(png)).size == (360, 120)


def test_a_damaged_figure_is_none(tmp_path):
    run = several.index_folder(tmp_path) / "b9"
    (run / "figures").mkdir()
    (run / "figures" / "reconstructions.png").write_text("no picture")
    (entry,) = index.contents(run, listing.standings(run), tmp_path / "i.html")["runs"]
    assert (entry["name"], entry["thumbnail"]) == ("b9", None)


def test_when_it_last_moved(folder, found):
    summary = folder / "b9" / "summary.json"
    os.utime(summary, (1e9, 1e9))
    said = index.contents(folder, listing.standings(folder), folder / "index.html")
    assert {run["name"]: run["changed"] for run in said["runs"]}["b9"] == 1e9


def test_the_command(capsys, folder, tmp_path):
    page = tmp_path / "index.html"
    status, result, _ = call(capsys, "runs", folder, "--page", page)
    assert status == 0 and len(result["runs"]) == 6
    assert (result["page"], result["bytes"]) == (str(page), page.stat().st_size)
    text = page.read_text()
    reader = Reader(text)
    assert set(reader.links) == {"#main", "data:,"} and "b" not in reader.tags
    assert len(of_page(text)["runs"]) == 6
    assert reader.tags.count("script") == len(index.SCRIPTS) + 1 and "uPlot" not in text
