"""Make `docs/review.jpg`, a picture of the page of `sdpose review`: `python docs/make_review_picture.py`.

It needs Chromium and Playwright. The clip is tests/data/dancer.mp4 with the poses of the preview.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2

ROOT = Path(__file__).resolve().parents[1]
VIDEO = ROOT / "tests" / "data" / "dancer.mp4"
OUT = ROOT / "docs" / "review.jpg"
COMMAND = [sys.executable, "-m", "sdpose_core.cli"]


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Wait until an expression is true on the page."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end:
            raise TimeoutError(f"not true after {seconds:.0f} s: {expression}")
        page.wait_for_timeout(50)


def take(page: Any, address: str, path: Path) -> None:
    """The page at the first thing to check, as a PNG."""
    page.goto(address)
    until(page, "Boolean(window.sdposeReview?.ready) && !!document.querySelector('#worst-list button')")
    page.keyboard.press("n")
    page.keyboard.press("0")
    until(page, "window.sdposeReview.ready && !document.querySelector('#reason-card').hidden")
    page.wait_for_timeout(300)
    page.screenshot(path=str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser's program")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        estimate = [*COMMAND, "video", str(VIDEO), "--model", "preview", "--check", "-o", str(folder)]
        subprocess.run(estimate, check=True, cwd=ROOT)
        review = [*COMMAND, "review", str(folder / "dancer.pose.npz"), "--video", str(VIDEO), "--no-browser"]
        with subprocess.Popen(review, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server, sync_playwright() as play:
            assert server.stdout is not None
            browser = play.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
            try:
                page = browser.new_page(viewport={"width": 1366, "height": 768}, locale="en-US", color_scheme="light")
                take(page, server.stdout.readline().strip(), folder / "page.png")
            finally:
                browser.close()
                server.terminate()
        image = cv2.imread(str(folder / "page.png"))
        cv2.imwrite(str(OUT), image, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()
