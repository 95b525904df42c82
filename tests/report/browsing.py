"""Pages in a real browser, without a network: the Chromium of the system, driven by Playwright."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import CHROMIUM

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET])
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(
    browser: Any, path: Path, width: int = 1280, scheme: str = "light", **options: Any
) -> Iterator[Any]:
    """A page that has drawn itself; nothing may go wrong in it, and nothing may be asked for."""
    size = {"width": width, "height": 1300}
    context = browser.new_context(viewport=size, color_scheme=scheme, offline=True, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))

    def requested(request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", path.as_uri())):
            wrong.append(f"request of {request.url}")

    page.on("request", requested)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    yield page
    assert wrong == [], wrong
    context.close()
