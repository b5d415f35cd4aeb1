"""ComfyUI's page in Chromium, for tests against a real ComfyUI."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import find_chromium
from comfy_host import Server

VIEWPORT = {"width": 1366, "height": 768}


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Chromium through Playwright; the test is skipped where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if not (path := find_chromium()):
        pytest.skip("there is no Chromium: set CHROMIUM to its path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def write_settings(base: Path, **settings: Any) -> None:
    """The settings of the page's user, over those with which nothing covers the graph."""
    path = base / "user" / "default" / "comfy.settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"Comfy.TutorialCompleted": True, **settings}))


class ComfyPage:
    """ComfyUI's page with a graph in it, in classic rendering or in Nodes 2.0."""

    def __init__(self, browser: Any, server: Server, *, nodes2: bool = False) -> None:
        self.server, self.nodes2 = server, nodes2
        self.page = browser.new_page(viewport=VIEWPORT)
        self.page.goto(f"http://127.0.0.1:{server.port}/")
        self.wait()
        self.page.evaluate("on => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", nodes2)

    def wait(self) -> None:
        """Until the page has opened its first graph, which would replace one that is loaded before."""
        self.page.wait_for_function(
            "window.app?.graph && window.app.extensionManager?.workflow?.activeWorkflow", timeout=60_000
        )
        self.page.wait_for_selector("canvas#graph-canvas")

    def reload(self) -> None:
        """As with F5."""
        self.page.reload()
        self.wait()

    def load(self, prompt: dict[str, Any], kind: str) -> None:
        """Put a prompt on the canvas; `kind` is a class of nodes in it."""
        self.page.evaluate("prompt => app.loadApiJson(prompt, 'test')", prompt)
        self.page.wait_for_function("kind => app.graph.nodes.some((node) => node.comfyClass === kind)", arg=kind)

    def queue(self) -> None:
        """Press Run, and wait until the server has nothing to do."""
        self.page.evaluate("app.queuePrompt(0)")
        self.page.wait_for_timeout(300)
        while True:
            queue = self.server.call("/queue")
            if not queue["queue_running"] and not queue["queue_pending"]:
                break
            self.page.wait_for_timeout(100)
        self.page.wait_for_timeout(500)
