"""What the tests of the review page share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium for the tests of one file. Skips them where it, Playwright or aiohttp is missing."""
    pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra review)")
    from review_page import started

    with started() as chromium:
        yield chromium
