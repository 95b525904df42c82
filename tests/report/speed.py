"""How large a page is, and how fast: python -m tests.report.speed RUN/report.html"""

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.report.browsing import chromium, opened

DECODE = """() => {
  const { model, explorer } = report;
  const times = [];
  for (let i = 0; i < 300; i++) {
    const z = Float32Array.from({ length: explorer.length }, normal);
    const began = performance.now();
    draw(explorer.picture, model.decode(z, explorer.label));
    times.push(performance.now() - began);
  }
  return times.slice(100);
}"""
WATCH = """() => {
  const { explorer } = report;
  let before = null;
  window.drawn = [];
  const frame = (now) => {
    const z = explorer.z.join();
    if (z !== before) drawn.push(now);
    before = z;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""
"""Keeps the times of frames that show another code than those before them."""


def milliseconds_per_decode(page: Any) -> float:
    """Of decoding one code and drawing it, the median of 200."""
    return statistics.median(page.evaluate(DECODE))


def frames_per_second(page: Any, moves: int = 180) -> float:
    """Those that show another code, while the mouse drags the code in circles over the map."""
    box = page.locator(".map-marks").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + 60, y)
    page.mouse.down()
    page.evaluate(WATCH)
    for i in range(moves):
        turn = 2 * math.pi * i / 90
        page.mouse.move(x + 60 * math.cos(turn), y + 60 * math.sin(turn))
    page.mouse.up()
    times = page.evaluate("drawn")
    return 1000 * (len(times) - 1) / (times[-1] - times[0])


def measured(path: Path) -> dict[str, float]:
    with chromium() as browser:
        loads = []
        for _ in range(5):
            with opened(browser, path) as page:
                loads.append(page.evaluate("report.milliseconds"))
        with opened(browser, path) as page:
            decode, frames = milliseconds_per_decode(page), frames_per_second(page)
    return {
        "megabytes": round(path.stat().st_size / 1e6, 2),
        "milliseconds_until_drawn": round(statistics.median(loads)),
        "milliseconds_per_decode": round(decode, 2),
        "frames_per_second_while_dragging": round(frames, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]).resolve()), indent=2))
