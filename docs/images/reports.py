"""Draws the pictures of docs/report.md: python docs/images/reports.py FOLDER [PAGE ...].

Of these pages (`mnist vq`), by default of all. `mnist_vae_2d` trains in FOLDER/mnist, 12 epochs on
MNIST, and the runs below in FOLDER/small, up to three minutes each on two cores. Runs that are
there are drawn as they are. The pages are opened in Chromium.
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pictures
from PIL import Image

import jaxvae

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # `tests`, which is not installed

from tests.report.browsing import chromium, opened  # noqa: E402

OUT = HERE / "report"
COVERAGE = Image.Quantize.MAXCOVERAGE  # so that the colours of rare classes stay
MARGIN = 10  # pixels
COLORS = 256  # of a picture, which is half as large then
POPULATION = jaxvae.Population(sweep=("objective.beta=0.25,0.5,2,4",))
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("digits_vae", {"epochs": 15}),
    "beta4": ("digits_vae", {"epochs": 20, "beta": 4.0}),
    "wide": ("digits_vae", {"epochs": 15, "latent_dim": 10}),
    "ae": ("digits_vae", {"name": "digits_ae", "epochs": 15, "family": "AE"}),
    "pop": ("digits_vae", {"epochs": 15, "population": POPULATION}),
    "vq": ("vq_vae", {"epochs": 30}),
    "conditional": ("conditional_vae", {"epochs": 30}),
    "colour": (
        "images_vae",
        {"data": "cifar10_jpeg", "resize": 32, "limit": 4000, "epochs": 15}
        | {"hidden_dims": (32, 64, 128), "latent_dim": 64},
    ),
}
"""The experiment of each run in FOLDER/small, and its settings."""
COMPARED = ("vae", "beta4", "wide", "ae", "pop")
KINDS = ("ae", "vae", "colour", "vq", "conditional", "pop")
"""Runs of which the page is drawn, at two widths."""
PAGES = ("mnist", "compare", *KINDS)
WIDTH = 1180  # pixels
WIDTHS = {"": (WIDTH, "light", "body"), "-phone": (390, "dark", "#latents, #codebook")}
"""Width of a window, its colours, and what a picture is of: the last of these on the page."""
HEIGHT = 1500  # pixels at most
SEVEN = ((0.3, 0.25), (0.7, 0.25), (0.45, 0.8))  # its corners, in sheets
QUALITY = 80  # of a WebP file of a whole page
ENDS = """([from, to]) => {
  const { labels, map } = report.explorer;
  return [from, to].map((digit) => map.toScreen(...middle(digit)));
  function middle(digit) {
    const at = [...labels.keys()].filter((i) => labels[i] === digit);
    const { x, y } = map.points;
    const mean = (values) => at.reduce((sum, i) => sum + values[i], 0) / at.length;
    const far = (i) => Math.hypot(x[i] - mean(x), y[i] - mean(y));
    const i = at.reduce((a, b) => (far(b) < far(a) ? b : a));
    return [x[i], y[i]];
  }
}"""
"""Where the codes lie that are nearest to the means of two digits."""


def part_of(page: Any, name: str, first: str, last: str) -> None:
    """From one section to another one, and the margins beside them."""
    scrolled = page.evaluate("scrollY")
    top, bottom = (page.locator(section).bounding_box() for section in (first, last))
    clip = {"x": 0, "y": top["y"] + scrolled, "width": page.viewport_size["width"]}
    clip["height"] = bottom["y"] + bottom["height"] - top["y"] + MARGIN
    page.screenshot(path=OUT / name, clip=clip, full_page=True)


def explored(page: Any) -> None:
    """The map before what is decoded there."""
    page.locator("#tiles").check()
    page.wait_for_timeout(3000)  # tiles are drawn from the middle outwards


def draw(page: Any, corners: Sequence[tuple[float, float]]) -> None:
    sheet = page.locator(".sheet")
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    for i, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=10)
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_timeout(1000)


def whole(browser: Any, path: Path, name: str) -> None:
    """The page from its top to its end, with an image of one's own."""
    with opened(browser, path, WIDTH) as page:
        draw(page, SEVEN)
        drawn = page.screenshot(full_page=True)
    with Image.open(io.BytesIO(drawn)) as image:
        image.convert("RGB").save(OUT / f"{name}-whole.webp", quality=QUALITY, method=6)


def mnist(browser: Any, path: Path) -> None:
    """A walk from a 0 to a 7."""
    with opened(browser, path) as page:
        explored(page)
        box = page.locator(".map-marks").bounding_box()
        for x, y in page.evaluate(ENDS, [0, 7]):
            page.mouse.click(box["x"] + x, box["y"] + y)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1000)
        part_of(page, "mnist.png", "#latents", "#latents")
    few_colours("mnist.png")


def phone(browser: Any, path: Path) -> None:
    with opened(browser, path, 360, "dark") as page:
        page.set_viewport_size({"width": 360, "height": 780})
        page.evaluate("document.querySelector('#latents').scrollIntoView()")
        explored(page)
        page.screenshot(path=OUT / "phone.png")
    few_colours("phone.png")


def compare(browser: Any, path: Path) -> None:
    """From the curves to the examples."""
    with opened(browser, path, WIDTH) as page:
        page.evaluate("document.querySelector('.runs').style.position = 'static'")
        part_of(page, "compare.png", "#curves", "#examples")
    few_colours("compare.png")


def few_colours(name: str) -> None:
    """The means of what is alike, so that greys stay grey."""
    with Image.open(OUT / name) as image:
        full = image.convert("RGB")
    few = full.quantize(COLORS, COVERAGE, kmeans=3, dither=Image.Dither.NONE)
    few.save(OUT / name, optimize=True)


def kind(browser: Any, path: Path, name: str) -> None:
    """The page as it opens, in a window, and on a phone its explorer or its codebook."""
    for end, (width, scheme, first) in WIDTHS.items():
        with opened(browser, path, width, scheme) as page:
            box = page.locator(first).last.bounding_box()
            height = min(HEIGHT, box["height"] + MARGIN)
            clip = {"x": 0, "y": box["y"], "width": width, "height": height}
            drawn = OUT / f"{name}{end}.png"
            page.screenshot(path=drawn, clip=clip, full_page=True)
        with Image.open(drawn) as image:
            image.convert("RGB").save(drawn, optimize=True)


def small(folder: Path, name: str) -> jaxvae.Run:
    """A run of RUNS, trained where it is not there."""
    if not (folder / name / "summary.json").exists():
        experiment, settings = RUNS[name]
        jaxvae.train(experiment, folder / name, figures_every=None, **settings)
    return jaxvae.load(folder / name)


def main(folder: Path, pages: Sequence[str]) -> None:
    with chromium() as browser:
        if "mnist" in pages:
            page = pictures.trained(folder / "mnist", "mnist_vae_2d", epochs=12).report().path
            mnist(browser, page)
            phone(browser, page)
            whole(browser, page, "mnist")
        if "compare" in pages:
            runs = [small(folder / "small", name) for name in COMPARED]
            compare(browser, jaxvae.compare(*runs, path=folder / "small" / "compare.html").path)
        for name in KINDS:
            if name in pages:
                page = small(folder / "small", name).report().path
                kind(browser, page, name)
                if name == "vq":
                    whole(browser, page, name)


if __name__ == "__main__":
    given = sys.argv[2:] or PAGES
    if unknown := {*given} - {*PAGES}:
        sys.exit(f"{', '.join(sorted(unknown))}: no such page; known: {', '.join(PAGES)}")
    main(Path(sys.argv[1]).resolve(), given)
