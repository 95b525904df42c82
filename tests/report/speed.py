"""How large a page is, and how fast: python -m tests.report.speed RUN/report.html"""

import json
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
FRAMES = """(frames) => new Promise((done) => {
  const { explorer } = report;
  const times = [];
  const frame = (now) => {
    times.push(now);
    const turn = (2 * Math.PI * times.length) / frames;
    explorer.moveTo(2 * Math.cos(turn), 2 * Math.sin(turn));
    if (times.length < frames) requestAnimationFrame(frame);
    else done((1000 * (frames - 1)) / (times[frames - 1] - times[0]));
  };
  requestAnimationFrame(frame);
})"""


def milliseconds_per_decode(page: Any) -> float:
    """Of decoding one code and drawing it, the median of 200."""
    return statistics.median(page.evaluate(DECODE))


def frames_per_second(page: Any, frames: int = 90) -> float:
    """While the code is dragged in a circle over the map, a move for every frame."""
    return float(page.evaluate(FRAMES, frames))


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
