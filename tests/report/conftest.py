"""A browser for the tests of pages."""

import pytest

from tests.report.browsing import chromium


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found
