"""Draws the pictures of docs/report.md: python docs/images/reports.py FOLDER.

`mnist_vae_2d` trains in FOLDER/mnist, 12 epochs on MNIST, and the runs below in FOLDER/small, up to
three minutes each on two cores. Runs that are there are drawn as they are. The pages are opened in
Chromium.
"""

import sys
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
WIDTHS = {"": (1180, "light"), "-phone": (390, "dark")}
HEIGHT = 1500  # pixels of a page, from its top
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


def phone(browser: Any, path: Path) -> None:
    with opened(browser, path, 360, "dark") as page:
        page.set_viewport_size({"width": 360, "height": 780})
        page.evaluate("document.querySelector('#latents').scrollIntoView()")
        explored(page)
        page.screenshot(path=OUT / "phone.png")


def compare(browser: Any, path: Path) -> None:
    """From the curves to the examples."""
    with opened(browser, path, 1180) as page:
        page.evaluate("document.querySelector('.runs').style.position = 'static'")
        part_of(page, "compare.png", "#curves", "#examples")


def kind(browser: Any, path: Path, name: str) -> None:
    """The page as it opens, in a window and on a phone."""
    for end, (width, scheme) in WIDTHS.items():
        with opened(browser, path, width, scheme) as page:
            clip = {"x": 0, "y": 0, "width": width, "height": HEIGHT}
            drawn = OUT / f"{name}{end}.png"
            page.screenshot(path=drawn, clip=clip, full_page=True)
        with Image.open(drawn) as image:
            image.convert("RGB").save(drawn, optimize=True)


def main(folder: Path) -> None:
    run = pictures.trained(folder / "mnist", "mnist_vae_2d", epochs=12)
    run.report()
    small = folder / "small"
    for name, (experiment, settings) in RUNS.items():
        if not (small / name / "summary.json").exists():
            jaxvae.train(experiment, small / name, figures_every=None, **settings)
    page = small / "compare.html"
    jaxvae.compare(*(small / name for name in COMPARED), path=page)
    with chromium() as browser:
        mnist(browser, folder / "mnist" / "report.html")
        phone(browser, folder / "mnist" / "report.html")
        compare(browser, page)
        for name in KINDS:
            kind(browser, jaxvae.load(small / name).report().path, name)
    for name in ("mnist", "phone", "compare"):
        with Image.open(OUT / f"{name}.png") as image:
            full = image.convert("RGB")
        # The means of what is alike, so that greys stay grey.
        few = full.quantize(COLORS, COVERAGE, kmeans=3, dither=Image.Dither.NONE)
        few.save(OUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
