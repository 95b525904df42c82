"""The pages of several runs in a real browser."""

import numpy as np
import pytest

from tests.report.browsing import opened
from tests.report.pages import several

pytestmark = pytest.mark.slow

COLOURED = """(selector) => [...document.querySelectorAll(selector)].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const found = new Set();
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] === 255) found.add([data[i], data[i + 1], data[i + 2]].join());
  }
  return [...found];
})"""
PIXELS = """(selector) => [...document.querySelectorAll(selector)].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return Array.from(data).filter((_, i) => i % 4 === 0);
})"""
UNLABELLED = """() => [...document.querySelectorAll('button, input, img, [role]')]
  .filter((e) => !(e.ariaLabel || e.alt || e.textContent.trim() || e.labels?.length))
  .map((e) => e.outerHTML)"""
NAMES = "#differences thead th"


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """Runs of which two have measures in common: more than are seen at once."""
    each = several.four(tmp_path_factory.mktemp("compared"))
    for i, run in enumerate(each[:2]):
        knn = {f"knn_{k}": 0.5 + i / 4 for k in range(1, 16)} | {"knn_1_se": 0.0123}
        several.measure(run, "probes", knn, seed=0, step=18)
    return each


@pytest.fixture(scope="module")
def page(four):
    return several.page(four[0].folder.parent, four)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    from jaxvae.report import index
    from jaxvae.runs import listing

    folder = several.index_folder(tmp_path_factory.mktemp("runs"))
    return index.write(folder, listing.standings(folder), folder / "index.html")


def rgb(colour):
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))


@pytest.mark.ci
def test_a_comparison(browser, page):
    with opened(browser, page) as shown:
        colours = shown.evaluate("contents.runs.map((run) => run.color)")

        def drawn(selector="#curves .u-wrap canvas"):
            return [{*found} for found in shown.evaluate(COLOURED, selector)]

        # Every run has its curve of the loss, in its colour; the AE has none of the KL.
        loss, _, kl, *_ = drawn()
        assert {rgb(c) for c in colours} <= loss
        assert rgb(colours[2]) not in kl and rgb(colours[0]) in kl
        # Points of those with a KL.
        (plane,) = drawn("#plane .u-wrap canvas")
        assert [rgb(c) in plane for c in colours] == [True, True, False, True]
        assert "of a finished epoch: ae" in shown.locator("#plane").inner_text()
        rows = shown.locator("#plane tbody tr")
        assert rows.count() == 5 and "member 1: beta 1" in shown.locator("#plane").text_content()

        # The legend hides a run everywhere, by click and from the keyboard.
        button = shown.get_by_role("group", name="Runs on this page").get_by_role("button").first
        assert button.inner_text() == "a"
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        assert rgb(colours[0]) not in drawn()[0] | drawn("#plane .u-wrap canvas")[0]
        assert rgb(colours[1]) in drawn()[0]
        assert shown.locator('[data-run="0"]:visible').count() == 0
        button.press("Enter")
        assert rgb(colours[0]) in drawn()[0] and shown.locator('[data-run="0"]:visible').count() > 9

        # Curves of the training on demand: thin, so in other shades than those before.
        before = drawn()[0]
        shown.get_by_label("training too").check()
        assert len(drawn()[0]) > len(before)
        # Pointing reads a curve: at the last epoch one run alone has a value.
        box = shown.locator("#curves .u-over").first.bounding_box()
        shown.mouse.move(box["x"] + box["width"] - 1, box["y"] + 40)
        text = shown.locator("#curves .readout").first.inner_text()
        assert text.startswith(f"epoch {several.LONGER}: ") and "waves" in text
        assert " a " not in text

        # The same examples: those in the file, in rows of their own.
        originals = np.array(
            shown.evaluate(PIXELS, "#examples table:first-of-type tr:first-child canvas")[:12]
        )
        index = shown.evaluate("contents.examples[0].index")
        np.testing.assert_array_equal(
            originals, several.STRIPES.test.images[np.array(index)].reshape(12, -1)
        )
        assert shown.locator("#examples table").count() == 2
        assert shown.locator("#examples table").first.locator("tr").count() == 4
        error = shown.evaluate("contents.examples[0].runs[0].error")
        mean = shown.locator('#examples tr[data-run="0"] th small').inner_text()
        assert float(mean.removeprefix("mean ")) == pytest.approx(np.mean(error), rel=1e-2)
        assert shown.locator("#latents table").count() == 2
        assert "prior of their codes: ae" in shown.locator("#latents").inner_text()

        # Names are names, the link is one, and what is interactive or a picture has a label.
        names = shown.locator(NAMES).all_inner_texts()
        assert names[1].startswith(several.EVIL)
        assert shown.locator(f"{NAMES} a").get_attribute("href") == "../a/report.html"
        assert shown.evaluate(UNLABELLED) == []


def test_pointing_at_a_model(browser, page):
    with opened(browser, page) as shown:
        over = shown.locator("#plane .u-over")
        over.scroll_into_view_if_needed()
        points = [p for p in shown.evaluate("contents.points") if p["kl"] is not None]
        box = over.bounding_box()
        kl, recon = ([p[name] for p in points] for name in ("kl", "recon"))

        def at(values, value):
            low, high = min(values), max(values)
            return (value - low + 0.12 * (high - low)) / (1.24 * (high - low))

        one = points[1]
        x, y = at(kl, one["kl"]), 1 - at(recon, one["recon"])
        shown.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        said = shown.locator("#plane .readout").inner_text()
        assert "member 0: beta 0: KL 5, reconstruction 20, epoch 4" in said


def test_measures_in_common(browser, page):
    with opened(browser, page) as shown:
        part = shown.locator("#measures")
        assert part.locator("h3").all_inner_texts() == ["Classifiers on codes"]
        assert "Of 30 test examples of digits; seed 0." in part.inner_text()
        heads = part.locator("table").first.locator("thead th").all_inner_texts()
        assert [head.split("\n")[0] for head in heads] == ["a", several.EVIL, "ae", "waves"]
        assert all("not at the best epoch, but at epoch 2" in head for head in heads[:2])
        first = part.locator("tbody tr").first
        assert first.locator("th").inner_text().startswith("knn 1 ↑")
        assert "majority of so many nearest codes" in first.locator("th").inner_text()
        cells = ["0.500 ± 0.012", "0.750 ± 0.012", "\u2013", "\u2013"]
        assert first.locator("td").all_inner_texts() == cells
        assert part.locator("tbody tr:visible").count() == 12
        part.get_by_text("3 more").click()
        assert part.locator("tbody tr:visible").count() == 15
        shown.get_by_role("group", name="Runs on this page").get_by_role("button").first.click()
        assert first.locator("td:visible").all_inner_texts() == cells[1:]


DRAWN = """() => {
  const canvas = document.querySelector('#curves .u-wrap canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return [...data.keys()].filter((i) => i % 4 === 3 && data[i] > 0).length;
}"""


def test_curves_of_all_members(browser, four, tmp_path):
    """Those of the others are drawn too, but not read; with their run they are hidden.

    A line across a panel of some 270 pixels has at least as many of its own.
    """
    waves = four[3]._replace(member="member 0 of 3")
    rows = [[row | {"val_loss": k * row["val_loss"]} for row in waves.rows] for k in (2, 3)]
    counts = []
    for name, others in (("alone", []), ("all", rows)):
        each = [*four[:3], waves._replace(others=others)]
        with opened(browser, several.page(tmp_path / name, each)) as shown:
            text = shown.locator("#curves").inner_text()
            assert "waves" in text and "another member" not in text
            assert "thin, pale curves are the other members" in text
            whole = shown.evaluate(DRAWN)
            shown.evaluate("hiddenRuns.add(3), repaint()")
            counts.append((whole, shown.evaluate(DRAWN)))
    (best, hidden), (every, also_hidden) = counts
    assert best > hidden == also_hidden and every > best + 300


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_at_every_width(browser, page, index, width, scheme):
    for path in (page, index):
        with opened(browser, path, width, scheme) as shown:
            room = shown.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert room <= 0, path
            # What is wider scrolls within, under the names, which stay.
            table = shown.locator(".wide").first
            table.evaluate("(part) => part.scrollTo(1000, 0)")
            name = shown.locator(".side tbody th[scope=row]").first.bounding_box()
            assert name["x"] >= 0 and name["x"] + name["width"] <= width
            dark = shown.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            assert (dark == "rgb(22, 25, 29)") == (scheme == "dark")


def test_in_print(browser, page):
    with opened(browser, page) as shown:
        pdf = shown.pdf(format="A4", print_background=True)
        assert pdf.startswith(b"%PDF") and len(pdf) > 20_000


LONG = """() => {
  const named = '.side:not(.index, .looks) tbody td, .index tbody :is(th, td:nth-child(3))';
  for (const cell of document.querySelectorAll(named)) {
    cell.append('jaxvae.variants.categorical.Of_a_very_long_name');
  }
}"""


LINES = """(cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size;
}"""
"""How many lines of text an element has."""


def test_nothing_is_cut_off_on_paper(browser, page, index):
    """Words of tables are broken where they are longer than paper is wide; nothing there asks to be
    pointed at."""
    paper = 680  # A4 within its margins
    for path in (page, index):
        with opened(browser, path, paper) as shown:
            shown.evaluate(LONG)
            shown.emulate_media(media="print")
            box = "(table) => table.getBoundingClientRect().right"
            ends = f"[...document.querySelectorAll('table')].map({box})"
            assert 0 < max(shown.evaluate(ends)) <= paper, path
            assert "Point at" not in shown.locator("body").inner_text()
            # Numbers of the index are whole.
            numbers = shown.locator(".index tbody td:nth-child(n+5):not(:last-child)").all()
            heights = {cell.evaluate(LINES) for cell in numbers}
            assert heights == ({1} if path == index else set())


@pytest.mark.ci
def test_an_index(browser, index):
    with opened(browser, index) as shown:
        names = shown.locator("tbody th")
        by_name = names.all_inner_texts()
        assert len(by_name) == 6 and by_name[0] == several.EVIL

        # A click sorts, another one turns; what is not known stays last. Also from the keyboard.
        loss = shown.get_by_role("button", name="loss")
        loss.click()
        assert names.all_inner_texts()[:4] == ["b9", "b10", "deep/c", by_name[0]]
        assert {*names.all_inner_texts()[4:]} == {"damaged", "failed"}
        head = shown.locator("th[aria-sort]")
        assert head.count() == 1 and head.get_attribute("aria-sort") == "ascending"
        loss.press("Enter")
        assert names.all_inner_texts()[:4] == [by_name[0], "deep/c", "b10", "b9"]
        assert {*names.all_inner_texts()[4:]} == {"damaged", "failed"}
        assert head.get_attribute("aria-sort") == "descending"
        shown.get_by_role("button", name="run").click()  # of numbers in names, 9 comes before 10
        assert [name for name in names.all_inner_texts() if name[0] == "b"] == ["b9", "b10"]

        assert shown.locator("tbody a").get_attribute("href") == "b9/report.html"
        assert shown.locator("tbody img").evaluate("(image) => image.naturalWidth") == 360
        assert "not finite at step 2" in shown.locator("tbody").inner_text()
        assert shown.evaluate(UNLABELLED) == []
        assert (
            shown.locator("tbody a").evaluate("(link) => link.href")
            == (index.parent / "b9" / "report.html").as_uri()
        )
