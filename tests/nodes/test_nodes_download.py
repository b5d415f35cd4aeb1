"""Download SDPose Weights against a hub on this machine, over the stand-in for ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_hub
import pytest

NODE = "SDPoseAnnotatorDownload"
FILE = "split/sdpose_wholebody_fp16.safetensors"
WEIGHTS = bytes(range(256)) * 100_000  # the hub's library reads in blocks of 10 MB: three of them
NAME = f"wholebody-comfy/{FILE}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_hub.FakeHub]:
    with fake_hub.serve({"Comfy-Org/SDPose": {FILE: WEIGHTS, "other.safetensors": b"x"}}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield server


@pytest.fixture
def comfy_home(pack: Any, inside: Any, tmp_path: Path) -> Iterator[Path]:
    import folder_paths

    before = Path(folder_paths.base)
    folder_paths.use(tmp_path)
    inside("nodes.host.folders").register_folder()
    yield tmp_path
    folder_paths.use(before)
    inside("nodes.host.folders").register_folder()


def gets(hub: fake_hub.FakeHub) -> list[tuple[str, str | None]]:
    return [(name, wanted) for method, name, wanted in hub.log if method == "GET"]


def menu(nodes: dict[str, Any]) -> list[str]:
    inputs = nodes["SDPoseAnnotatorLoadModel"].define_schema().inputs
    return next(entry.settings["options"] for entry in inputs if entry.id == "model")


@pytest.mark.parametrize(
    ("weights", "said"), [("wholebody-comfy", "Comfy-Org/SDPose"), ("art-detector", "size: 94 MB"), ("body", "RAIL")]
)
def test_switched_off_it_says_what_it_would_fetch_and_asks_nobody(
    nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path, monkeypatch: pytest.MonkeyPatch, weights: str, said: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    text = nodes[NODE].execute(weights=weights, download=False).args[0]
    for expected in (said, "not downloaded", str(comfy_home / "models" / "sdpose" / weights), "Turn on 'download'"):
        assert expected in text
    assert hub.tokens == [], "a request was sent"
    assert list((comfy_home / "models" / "sdpose").iterdir()) == []


def test_weights_that_are_here_need_no_network(
    nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nodes[NODE].execute(weights="wholebody-comfy", download=True).args[0]
    hub.tokens.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [nodes[NODE].execute(weights="wholebody-comfy", download=on).args for on in (False, True)] == [(path,)] * 2
    assert hub.tokens == []


@pytest.mark.parametrize("damage", ["gone", "cut short", "unfinished", "of another repository"])
def test_weights_that_are_not_whole_are_fetched_again(
    nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path, damage: str
) -> None:
    fetch = lambda on=True: nodes[NODE].execute(weights="wholebody-comfy", download=on).args[0]  # noqa: E731
    path = Path(fetch())
    record = path.parents[1] / "sdpose_download.json"
    before = nodes[NODE].fingerprint_inputs(weights="wholebody-comfy", download=True)
    if damage == "gone":
        path.unlink()
        assert nodes[NODE].fingerprint_inputs(weights="wholebody-comfy", download=True) != before
    elif damage == "cut short":
        path.write_bytes(WEIGHTS[:-1])
    elif damage == "unfinished":
        (path.parents[1] / ".sdpose_download").mkdir()
    else:
        record.write_text(record.read_text().replace("Comfy-Org/SDPose", "Comfy-Org/Other"))
    assert "not downloaded" in fetch(False)
    hub.tokens.clear()
    assert Path(fetch()) == path and path.read_bytes() == WEIGHTS
    assert hub.tokens, "the hub was not asked"


def test_fetched_weights_are_in_the_menu_of_load_model(nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path) -> None:
    import comfy.utils

    comfy.utils.updates.clear()
    path = nodes[NODE].execute(weights="wholebody-comfy", download=True).args[0]
    assert Path(path) == comfy_home / "models" / "sdpose" / NAME
    assert Path(path).read_bytes() == WEIGHTS
    assert menu(nodes)[1:] == [NAME]
    done = [done for done, _ in comfy.utils.updates]
    assert done == sorted(done) and done[-1] == len(WEIGHTS) and len(set(done)) >= 3
    assert {total for _, total in comfy.utils.updates} == {len(WEIGHTS)}


def test_a_cancelled_download_stops_at_once_and_goes_on_later(
    nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path
) -> None:
    import comfy.model_management as management
    import comfy.utils

    comfy.utils.updates.clear()
    comfy.utils.on_update.append(lambda done, total: setattr(management, "interrupted", True))
    try:
        with pytest.raises(management.InterruptProcessingException):
            nodes[NODE].execute(weights="wholebody-comfy", download=True)
    finally:
        comfy.utils.on_update.clear()
    [(stopped_at, _)] = comfy.utils.updates
    assert 0 < stopped_at < len(WEIGHTS)
    assert menu(nodes)[1:] == []
    hub.log.clear()
    path = nodes[NODE].execute(weights="wholebody-comfy", download=True).args[0]
    assert Path(path).read_bytes() == WEIGHTS
    assert gets(hub) == [(FILE, f"bytes={stopped_at}-")]


def test_what_is_here_is_not_fetched_again(nodes: dict, hub: fake_hub.FakeHub, comfy_home: Path) -> None:
    first = nodes[NODE].execute(weights="wholebody-comfy", download=True).args
    hub.log.clear()
    assert nodes[NODE].execute(weights="wholebody-comfy", download=True).args == first
    assert gets(hub) == []


@pytest.mark.parametrize("offline", [True, False])
def test_no_network_is_one_clear_message(
    nodes: dict, inside: Any, hub: fake_hub.FakeHub, comfy_home: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        hub.refuse = 503
    with pytest.raises(inside("sdpose_core.errors").DownloadError, match="Comfy-Org/SDPose") as caught:
        nodes[NODE].execute(weights="wholebody-comfy", download=True)
    assert "\n" not in str(caught.value)
