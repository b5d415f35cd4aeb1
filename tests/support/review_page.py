"""The review page in a browser: a server in a thread, Chromium through Playwright."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from chromium import find_chromium
from review_clips import doubted, two_people

from sdpose_core.poses import PoseSequence
from sdpose_core.review.files import open_review
from sdpose_core.review.serving import serve
from sdpose_core.review.session import Estimate, ReviewSession

TOKEN = "a-token-for-a-test"
CHROMIUM = find_chromium()
PATIENCE = 30
"""Seconds for what the page has to do."""


@contextmanager
def served(path: Path, estimate: Estimate | None = None) -> Iterator[tuple[str, ReviewSession]]:
    """The address of a server with the poses in `path`, and its session."""
    session = open_review(path, estimate=estimate)
    loop, stop, address = asyncio.new_event_loop(), asyncio.Event(), []
    started = threading.Event()

    def ready(given: str) -> None:
        address.append(given)
        started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(session, TOKEN, 0, ready, stop),))
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield address[0], session
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        session.close()
        loop.close()


@contextmanager
def started() -> Iterator[Any]:
    """Chromium, without a window. Skips the test where it or Playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, clip: Path, query: str = "", size: tuple[int, int] = (1366, 768)) -> Iterator[ReviewPage]:
    """The page with the poses `clip` in a window of `size`; what it reports as an error fails the test."""
    with served(clip) as (address, _):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, locale="en-US")
        review = ReviewPage(page, address)
        review.open(query)
        yield review
        page.close()
        assert not review.problems, review.problems


def opened_doubted(
    browser: Any, folder: Path, doubts: dict[tuple[int, int], float], points: Any = 9, reason: str = "jump"
) -> AbstractContextManager[ReviewPage]:
    """The page with `two_people` in a file clip.pose.npz, of whom {(frame, id): distrust} is doubted in `points`."""
    doubted(two_people(), doubts, points, reason).save(folder / "clip.pose.npz")
    return opened(browser, folder / "clip.pose.npz")


class ReviewPage:
    """What a test does on the page, as a person with a mouse and keys does."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address, self.problems = page, address, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self._note(message.type, message.text))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error":
            self.problems.append(text)

    def open(self, query: str = "") -> None:
        self.page.goto(self.address + query)
        self.settle()

    def ask(self, expression: str) -> Any:
        """A value of the page's handle."""
        return self.page.evaluate(f"() => window.sdposeReview?.{expression} ?? null")

    def settle(self) -> None:
        """Wait until all that was asked for is drawn."""
        self.page.wait_for_timeout(20)
        self.until(lambda: self.ask("ready"))

    def until(self, true: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"the page waits: {self.hint()!r}, {self.problems}"
            self.page.wait_for_timeout(20)

    def hint(self) -> str:
        return self.page.text_content("#hint")

    def at(self, t: int, track_id: int, point: int) -> tuple[float, float]:
        """Where a point is in the window."""
        place = self.ask(f"screen({t}, {track_id}, {point})")
        return place["x"], place["y"]

    def drag(self, start: tuple[float, float], dx: float, dy: float) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move(start[0] + dx / 2, start[1] + dy / 2)
        mouse.move(start[0] + dx, start[1] + dy)
        mouse.up()
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def click(self, selector: str) -> None:
        self.page.click(selector)
        self.settle()

    def saved(self, clip: Path) -> PoseSequence:
        """Save, and read what was saved beside `clip`."""
        name = f"{clip.name.removesuffix('.pose.npz')}_reviewed"
        self.press("Control+s")
        self.until(lambda: name in self.page.text_content("#status"))
        return PoseSequence.load(clip.with_name(f"{name}.pose.npz"))
