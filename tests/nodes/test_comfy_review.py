"""Review Poses in a real ComfyUI: its routes, its button in the real page, and a restart.

`COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy tests/nodes/test_comfy_review.py`; how it is started:
`tests/support/comfy_host.py`. Tests with the page need Chromium (`CHROMIUM` names it) and Playwright.
"""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, node, running
from comfy_page import ComfyPage, write_settings
from PIL import Image
from review_clips import of_person, two_people

from sdpose_core.poses import PoseSequence
from sdpose_core.video.writer import VideoWriter

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
MOVE = {"kind": "move", "t": 10, "id": 4, "points": [9], "to": [[60.5, 70.25]], "spread": 0}
CLIP, VIDEO = "clip.pose.npz", "clip.mp4"
WRIST = 9


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Folders of a ComfyUI with a clip of two people: poses and video."""
    base = make_base(tmp_path / "comfy")
    two_people().save(base / "input" / CLIP)
    write_settings(base)
    with VideoWriter(base / "input" / VIDEO, (320, 240), Fraction(25)) as writer:
        for shade in range(40):
            writer.write(np.full((240, 320, 3), 100 + shade, np.uint8))
    return base


def graph(name: str = "", file: str = CLIP, **review: Any) -> dict[str, Any]:
    """Poses of a file -> Review Poses -> a file."""
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": VIDEO}},
        "2": node("SDPoseAnnotatorLoadSequence", file=f"{file} [input]"),
        "3": node("SDPoseAnnotatorReview", sequence=["2", 0], video=["1", 0], corrections=name, **review),
        "4": node("SDPoseAnnotatorSave", poses=["3", 0], filename_prefix="reviewed"),
        "5": {"class_type": "PreviewAny", "inputs": {"source": ["3", 2]}},
    }


def saved(server: Server) -> list[PoseSequence]:
    """What the graph has written, in order."""
    return [PoseSequence.load(path) for path in sorted((server.base / "output").glob("reviewed_*.pose.npz"))]


def result(server: Server, prompt: dict[str, Any]) -> tuple[PoseSequence, str]:
    """The poses that a graph gives, and the node's text."""
    outputs = server.run(prompt)
    return saved(server)[-1], outputs["5"]["text"][0]


def wrist(sequence: PoseSequence) -> list[float]:
    return of_person(sequence, MOVE["id"])[MOVE["t"], WRIST].tolist()


def open_page(server: Server, name: str) -> str:
    return server.call("/sdpose_review", {"corrections": name, "node": "3"})["address"]


def test_corrections_outlive_runs_other_poses_and_a_restart(base: Path) -> None:
    name = "kept"
    with running(base) as server:
        before, text = result(server, graph(name))
        assert text.startswith("no corrections yet")
        address = open_page(server, name)
        assert server.call(f"{address}api/clip")["frames"] == 40
        assert server.call(f"/api{address}api/clip")["in_comfy"]
        assert server.call(f"{address}api/edit", {"op": MOVE})["undo"] == 1
        after, text = result(server, graph(name))
        assert text.startswith("1 correction applied")
        assert wrist(after) == MOVE["to"][0] != wrist(before)
        server.run(graph(name))
        assert len(saved(server)) == 2, "nothing was corrected since, and the node ran again"
    nudged = two_people()
    replace(nudged, keypoints=nudged.keypoints + 1).save(base / "input" / "other.pose.npz")
    with running(base) as server:
        after, text = result(server, graph(name))
        assert wrist(after) == MOVE["to"][0] and text.startswith("1 correction applied")
        other, text = result(server, graph(name, file="other.pose.npz"))
        assert wrist(other) == MOVE["to"][0]
        assert text.startswith("the poses changed since 1 correction of them: 1 applied again")
        again, text = result(server, graph(name))
        assert wrist(again) == MOVE["to"][0] and text.startswith("1 correction applied")


def refusal(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Status and text of a request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", data, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_pictures_of_the_wire_are_served(base: Path) -> None:
    prompt = graph("pictures")
    prompt["6"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}}
    del prompt["3"]["inputs"]["video"]
    prompt["3"]["inputs"]["image"] = ["6", 0]
    with running(base) as server:
        server.run(prompt)
        address = open_page(server, "pictures")
        for t in (0, 39):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{address}picture/{t}?width=80") as response:
                picture = Image.open(io.BytesIO(response.read()))
            assert picture.format == "JPEG" and picture.size == (80, 60)
            assert np.asarray(picture).mean() == pytest.approx(100 + t, abs=4)


def test_other_sites_and_other_tokens_are_refused(base: Path) -> None:
    asked = {"corrections": "safe", "node": "3"}
    own = {"Content-Type": "application/json", "Origin": "", "Sec-Fetch-Site": "same-origin"}
    with running(base) as server:
        own["Origin"] = f"http://127.0.0.1:{server.port}"
        status, text = refusal(server, "/sdpose_review", asked, **own)
        assert status == 400 and "run the graph once" in text
        server.run(graph("safe"))
        status, text = refusal(server, "/sdpose_review", asked, **own)
        assert status == 200
        address = json.loads(text)["address"]
        assert refusal(server, f"{address}api/clip", **own)[0] == 200
        for headers in ({**own, "Origin": "http://evil.example"}, {**own, "Sec-Fetch-Site": "cross-site"}):
            assert refusal(server, "/sdpose_review", asked, **headers)[0] == 403
            assert refusal(server, f"{address}api/edit", {"op": MOVE}, **headers)[0] == 403
        assert refusal(server, "/sdpose_review", asked, **{**own, "Content-Type": "text/plain"})[0] == 403
        assert refusal(server, "/sdpose_review", {**asked, "corrections": "../up"}, **own)[0] == 400
        assert refusal(server, "/sdpose_review", ["safe"], **own)[0] == 400
        assert refusal(server, f"/sdpose_review/{'x' * 32}/api/clip", **own)[0] == 403
        for path in ("page/..%2fserver.py", "page/%2fetc%2fpasswd", "picture/..%2fx"):
            status, text = refusal(server, f"{address}{path}", **own)
            assert status in (400, 403, 404) and "root:" not in text and "import" not in text
        assert server.call(f"{address}api/clip")["undo"] == 0


# --- in the page ------------------------------------------------------------------------------------------------------


class Page(ComfyPage):
    """ComfyUI's page with a graph in it."""

    def load(self, prompt: dict[str, Any], kind: str = "SDPoseAnnotatorReview") -> None:
        super().load(prompt, kind)

    def run(self) -> PoseSequence:
        """What the graph gives."""
        count = len(saved(self.server))
        self.page.evaluate("app.queuePrompt(0)")
        for _ in range(300):
            if len(saved(self.server)) > count and not self.server.call("/queue")["queue_running"]:
                return saved(self.server)[-1]
            self.page.wait_for_timeout(100)
        raise TimeoutError("the graph did not end")

    def press(self) -> None:
        """Press the node's button with the mouse."""
        if self.nodes2:
            self.page.get_by_role("button", name="Review poses").click()
            return
        at, before = self._button(), None
        while at is None or at != before:  # the page still arranges the graph
            self.page.wait_for_timeout(300)
            at, before = self._button(), at
        self.page.mouse.click(*at)

    def _button(self) -> list[float] | None:
        """Position in the window of the button that is drawn on the canvas; None: it was not drawn yet."""
        return self.page.evaluate("""() => {
            const node = app.graph.nodes.find((node) => node.comfyClass === "SDPoseAnnotatorReview");
            const button = node.widgets.find((widget) => widget.type === "button");
            if (!button.last_y) return null;
            const [x, y] = app.canvas.ds.convertOffsetToCanvas([node.pos[0] + 80, node.pos[1] + button.last_y + 8]);
            const canvas = app.canvas.canvas.getBoundingClientRect();
            return [x + canvas.left, y + canvas.top];
        }""")

    @property
    def dialog(self) -> Any:
        return self.page.get_by_role("dialog", name="Review poses")

    def drag(self, t: int, track_id: int, point: int, by: tuple[float, float]) -> None:
        """Drag a point in the dialog by pixels of the source."""
        frame = self.page.wait_for_selector("dialog iframe").content_frame()
        frame.wait_for_function("window.sdposeReview?.ready", timeout=30_000)
        frame.locator("#frame-number").fill(str(t))
        frame.locator("#frame-number").press("Enter")
        frame.wait_for_function("t => sdposeReview.frame === t && sdposeReview.ready", arg=t)
        offset = self.page.locator("dialog iframe").bounding_box()
        at = frame.evaluate("([t, id, point]) => sdposeReview.screen(t, id, point)", [t, track_id, point])
        scale, version = frame.evaluate("[sdposeReview.scale, sdposeReview.version]")
        x, y = at["x"] + offset["x"], at["y"] + offset["y"]
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by[0] * scale / 2, y + by[1] * scale / 2, steps=4)
        self.page.mouse.move(x + by[0] * scale, y + by[1] * scale, steps=4)
        self.page.mouse.up()
        frame.wait_for_function("version => sdposeReview.version > version && sdposeReview.ready", arg=version)

    def close_dialog(self) -> None:
        self.dialog.get_by_role("button", name="Close").click()
        self.dialog.wait_for(state="detached")

    def review_node(self) -> dict[str, Any]:
        """Values of the node's widgets, by name, and the button's label."""
        return self.page.evaluate("""() => {
            const node = app.graph.nodes.find((node) => node.comfyClass === "SDPoseAnnotatorReview");
            const label = node.widgets.find((widget) => widget.type === "button").label;
            return { ...Object.fromEntries(node.widgets.map((widget) => [widget.name, widget.value])), label };
        }""")


@pytest.mark.browser
@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes 2.0"])
def test_drag_a_point_and_run_again(base: Path, browser: Any, nodes2: bool) -> None:
    with running(base) as server:
        page = Page(browser, server, nodes2=nodes2)
        page.load(graph())
        before = page.run()
        page.press()
        page.drag(MOVE["t"], MOVE["id"], WRIST, (30, 20))
        page.close_dialog()
        page.page.wait_for_function("app.graph.nodes.some((n) => n.widgets?.some((w) => w.label?.includes('1 corr')))")
        after = page.run()
        moved = np.subtract(wrist(after), wrist(before))
        np.testing.assert_allclose(moved, (30, 20), atol=1)
        placed = of_person(after, MOVE["id"], "edited")
        assert placed[MOVE["t"], WRIST] and not np.delete(placed, WRIST, axis=1).any()
        name = page.review_node()["corrections"]
        assert len(name) == 16
        page.page.close()
    with running(base) as server:
        again, text = result(server, graph(name))
        assert "1 correction applied" in text
        np.testing.assert_array_equal(of_person(again, MOVE["id"]), of_person(after, MOVE["id"]))


@pytest.mark.browser
def test_the_button_and_the_name_of_the_corrections(base: Path, browser: Any) -> None:
    with running(base) as server:
        page = Page(browser, server)
        page.load(graph())
        page.press()
        page.page.get_by_text("run the graph once").wait_for()
        assert not page.dialog.count()
        name = page.review_node()["corrections"]
        page.load(graph(name))
        assert page.review_node()["corrections"] == name, "a loaded graph keeps the name"
        names = page.page.evaluate("""() => {
            const node = app.graph.nodes.find((node) => node.comfyClass === "SDPoseAnnotatorReview");
            app.canvas.selectItems([node]);
            app.canvas.copyToClipboard();
            app.canvas.pasteFromClipboard();
            const all = app.graph.nodes.filter((node) => node.comfyClass === "SDPoseAnnotatorReview");
            return all.map((node) => node.widgets.find((widget) => widget.name === "corrections").value);
        }""")
        assert len(names) == 2 and names[0] == name != names[1] and len(names[1]) == 16
        page.page.close()
