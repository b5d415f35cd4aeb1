"""What ComfyUI's page shows of our nodes: sentences of errors, texts, videos. In classic rendering and Nodes 2.0.

`COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy tests/nodes/test_comfy_page.py`; `COMFYUI_FRONTEND` chooses another front
end, see `tests/support/comfy_host.py`. Needs Chromium (`CHROMIUM` names it) and Playwright.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, node, running
from comfy_page import ComfyPage, write_settings
from paths import DATA
from PIL import Image

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
PREVIEW, NOBODY = "Preview, not SDPose: connect Load SDPose Model", "Nobody found: lower detect_threshold"
ANNOTATE, VIDEO, ANIMATE = "SDPoseAnnotator", "SDPoseAnnotatorVideo", "SDPoseAnnotatorAnimateAnyone"
BESIDE_THE_NODE = """(sentence) => [...document.querySelectorAll("body *")].some((element) => !element.children.length
    && element.textContent.startsWith(sentence) && !element.closest(".sdpose_text") && element.checkVisibility())"""
LOAD = {"class_type": "LoadVideo", "inputs": {"file": "dancer.mp4"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), [DATA / "astronaut.png", DATA / "dancer.mp4"])
    Image.new("RGB", (96, 96)).save(base / "input" / "black.png")
    (base / "input" / "broken.mp4").write_bytes(b"no video" * 100)
    write_settings(base)
    with running(base) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["classic", "nodes 2.0"])
def page(request: pytest.FixtureRequest, browser: Any, server: Server) -> Iterator[ComfyPage]:
    page = ComfyPage(browser, server, nodes2=request.param)
    yield page
    page.page.close()


def of_picture(file: str, kind: str = "PreviewImage") -> dict[str, Any]:
    """A picture -> SDPose Annotator, in the middle of a graph."""
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": file}},
        "2": node(ANNOTATE, image=["1", 0]),
        "3": {"class_type": kind, "inputs": {"images": ["2", 0]}},
    }


def lines(page: ComfyPage, kind: str = ANNOTATE) -> list[str]:
    """Of the text on a node, as the page draws it."""
    return page.page.evaluate(
        """async (kind) => {
            const node = app.graph.nodes.find((node) => node.comfyClass === kind);
            for (let turn = 0; turn < 100; turn++) {
                const text = node.widgets.find((widget) => widget.name === "sdpose_text")?.element;
                if (text?.getBoundingClientRect().height > 10) return text.innerText.split("\\n");
                app.canvas.centerOnNode(node);
                app.canvas.setDirty(true, true);
                await new Promise((done) => setTimeout(done, 50));
            }
            return [];
        }""",
        kind,
    )


def texts(page: ComfyPage) -> int:
    return page.page.locator(".sdpose_text").count()


def test_the_text_stays_on_a_node_and_comes_again_with_kept_results(page: ComfyPage) -> None:
    page.load(of_picture("astronaut.png"), ANNOTATE)
    page.queue()
    first = lines(page)
    assert first[0] == PREVIEW and "1 person in 1 frame" in first[1]
    assert texts(page) == 1 and not page.page.get_by_text("frames/s").nth(1).count(), "no second text"
    page.reload()
    page.load(of_picture("astronaut.png"), ANNOTATE)
    assert texts(page) == 0
    page.queue()
    assert lines(page) == first, "the time in it: ComfyUI kept the result"


def test_what_matters_comes_first(page: ComfyPage) -> None:
    page.load(of_picture("black.png"), ANNOTATE)
    page.queue()
    first = lines(page)
    assert first[0].startswith(NOBODY) and first[1] == PREVIEW


def test_the_text_is_no_part_of_the_graph(page: ComfyPage) -> None:
    read = """JSON.stringify(app.graph.serialize().nodes.filter((node) => node.type.startsWith("SDPoseAnnotator"))
        .map((node) => [node.widgets_values, node.inputs]))"""
    prompt = "app.graphToPrompt().then(({ output }) => JSON.stringify(output))"
    page.load(of_picture("astronaut.png"), ANNOTATE)
    before, asked = page.page.evaluate(read), page.page.evaluate(prompt)
    page.queue()
    assert lines(page)
    assert page.page.evaluate(read) == before and page.page.evaluate(prompt) == asked


def video_colors(page: ComfyPage, name: str) -> list[float]:
    """Share of pixels of the page's video NAME that are black, and green without red and blue."""
    return page.page.evaluate(
        """async (name) => {
            for (let turn = 1; turn < 100; turn++) {
                await new Promise((done) => setTimeout(done, 100));
                const video = [...document.querySelectorAll("video")].find((video) => video.src.includes(name));
                if (!(video?.readyState > 1)) continue;
                video.currentTime = 0.01 * turn; // the first picture may not be drawn yet
                await new Promise((done) => video.addEventListener("seeked", done, { once: true }));
                const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
                const context = canvas.getContext("2d");
                context.drawImage(video, 0, 0);
                const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
                let black = 0, green = 0;
                for (let i = 0; i < data.length; i += 4) {
                    black += data[i] + data[i + 1] + data[i + 2] < 48;
                    green += data[i] + data[i + 2] < 48 && data[i + 1] > 100;
                }
                if (4 * black < data.length) return [(4 * black) / data.length, (4 * green) / data.length];
            }
            return [1, 0];
        }""",
        name,
    )


def test_videos_play_on_the_nodes_and_after_save_video(page: ComfyPage) -> None:
    prompt = {
        "1": LOAD,
        "2": node(VIDEO, path="dancer.mp4", width=128, height=128),
        "3": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": "saved", "format": "auto", "codec": "auto"},
        },
        "4": node(ANIMATE, video=["1", 0], short_side=64),
        "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
    }
    page.load(prompt, VIDEO)
    page.queue()
    for kind, name in ((VIDEO, "_kps_play.mp4"), ("SaveVideo", "saved_"), (ANIMATE, "SDPose_")):
        page.page.evaluate(
            "kind => app.canvas.centerOnNode(app.graph.nodes.find((node) => node.comfyClass === kind))", kind
        )
        black, green = video_colors(page, name)
        assert 0.5 < black < 0.99 and green < 0.2, name
    assert lines(page, VIDEO)[0] == PREVIEW == lines(page, ANIMATE)[0]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("broken.mp4", "broken.mp4 cannot be read as a video"), ("", "no video: connect a video or enter a file in path")],
    ids=["while it runs", "before it runs"],
)
def test_the_sentence_of_an_error_is_read(page: ComfyPage, path: str, sentence: str) -> None:
    page.load({"1": node(VIDEO, path=path)}, VIDEO)
    page.queue()
    page.page.wait_for_function(BESIDE_THE_NODE, arg=sentence)
    assert lines(page, VIDEO)[0].startswith(sentence)
    seen = page.page.locator("body").inner_text()
    assert "custom_nodes" not in seen and str(Path(page.server.base)) not in seen and "sdpose_core" not in seen
    page.page.evaluate("app.api.dispatchEvent(new CustomEvent('execution_start', { detail: { prompt_id: 'next' } }))")
    assert page.page.locator(".sdpose_text").inner_text() == "", "a run that may not reach the node"


def test_an_error_is_shown_by_its_short_name(server: Server) -> None:
    entry = server.wait(server.queue({"1": node(VIDEO, path="broken.mp4")}))
    error = next(message for kind, message in entry["status"]["messages"] if kind == "execution_error")
    assert error["exception_type"] == "InputError"
    assert error["exception_message"].startswith("broken.mp4 cannot be read as a video")
