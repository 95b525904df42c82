"""Records the explorer of a page: python docs/images/explorer.py RUN/report.html, half a minute.

The pointer is dragged over the map of a model of two latents, in Chromium; the decoded image
follows. docs/images/pictures.py trains the run that the picture in the README is of.
"""

import math
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from jaxvae.figures import save_film

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))  # `tests`, which is not installed

from tests.report.browsing import chromium, opened  # noqa: E402

FRAMES = 44
WIDTH = 720  # pixels of the film
EDGE = 10  # pixels of the page around the explorer
RADIUS = 0.3  # of the map's width


def frames(page: Any, folder: Path) -> list[Path]:
    """PNG files: once around the map, on a figure of eight that passes most classes."""
    page.locator(".map-marks").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('.explorer').scrollIntoView()")
    area, map_ = (page.locator(x).bounding_box() for x in (".explorer", ".map-marks"))
    bottom = map_["y"] + map_["height"] + EDGE
    clip = {"x": area["x"] - EDGE, "y": area["y"], "width": area["width"] + 2 * EDGE}
    clip["height"] = bottom - area["y"]
    page.mouse.move(map_["x"] + EDGE, map_["y"] + EDGE)  # where no point is
    page.mouse.down()
    middle = map_["x"] + map_["width"] / 2, map_["y"] + map_["height"] / 2
    written = []
    for i in range(FRAMES):
        turn = 2 * math.pi * i / FRAMES
        x = middle[0] + RADIUS * map_["width"] * math.sin(2 * turn) * 0.7
        y = middle[1] - RADIUS * map_["width"] * math.cos(turn)
        page.mouse.move(x, y)
        page.wait_for_timeout(40)  # a frame is drawn
        written.append(folder / f"{i:03d}.png")
        page.screenshot(path=written[-1], clip=clip)
        with Image.open(written[-1]) as image:
            image.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
            image.save(written[-1])
    return written


def main(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        with opened(browser, path.resolve(), width=1080) as page:
            written = frames(page, Path(folder))
        save_film(written, HERE / "explorer.gif")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
