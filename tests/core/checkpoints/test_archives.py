"""The art detector: downloaded as an archive from a plain address, unpacked, tried, and then the default."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_hub
import pytest

from sdpose_core.annotate.requests import models_asked
from sdpose_core.checkpoints import download as download_module
from sdpose_core.checkpoints.archives import ARCHIVES
from sdpose_core.checkpoints.download import download, plan
from sdpose_core.checkpoints.records import RECORD
from sdpose_core.cli.main import main
from sdpose_core.detection.art_detector import ART_DETECTOR, FILE, art_detector_path
from sdpose_core.detection.loading import load_detector
from sdpose_core.detection.people import DetectorOptions
from sdpose_core.detection.yolox import EMBEDDED_YOLOX
from sdpose_core.errors import CheckpointError, DownloadError
from sdpose_core.estimation.options import EstimatorOptions

MODEL = EMBEDDED_YOLOX.read_bytes()
MEMBER = "20230928/yolox_m/end2end.onnx"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fake_hub.FakeHub]:
    with fake_hub.serve({"open/mmlab": {}}) as hub:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        monkeypatch.setenv("SDPOSE_HOME", str(tmp_path / "home"))
        offer(hub, monkeypatch, zipped({"20230928/yolox_m/pipeline.json": b"{}", MEMBER: MODEL}))
        yield hub


def offer(hub: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch, content: bytes, **changes: Any) -> None:
    """Serve an archive, and expect it, and the embedded model in it, as the art detector."""
    hub.repos["open/mmlab"]["yolox.zip"] = content
    facts: dict[str, Any] = {
        "url": f"{hub.url}/open/mmlab/resolve/x/yolox.zip", "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "entry_size": len(MODEL),
        "entry_sha256": hashlib.sha256(MODEL).hexdigest(),
    }  # fmt: skip
    monkeypatch.setitem(ARCHIVES, ART_DETECTOR, replace(ARCHIVES[ART_DETECTOR], **{**facts, **changes}))


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_real_one_is_pinned_and_says_what_binds_its_use() -> None:
    known = ARCHIVES[ART_DETECTOR]
    assert known.url.startswith("https://download.openmmlab.com/")
    assert len(known.sha256) == len(known.entry_sha256) == 64
    assert "Apache-2.0" in known.license
    assert "non-commercial" in known.license


@pytest.mark.usefixtures("server")
def test_it_is_unpacked_tried_recorded_and_then_the_default() -> None:
    before = models_asked("preview", EstimatorOptions(), "auto", DetectorOptions())
    assert before["detector"]["model"] == "yolox"
    with pytest.raises(CheckpointError, match="sdpose download art-detector"):
        load_detector(ART_DETECTOR)
    assert load_detector().name.startswith("YOLOX-Nano")
    assert main(["download", ART_DETECTOR]) == 0
    path = art_detector_path()
    assert path.read_bytes() == MODEL
    assert files_in(path.parent) == {FILE, RECORD}
    record = json.loads((path.parent / RECORD).read_text())
    assert record["unpacked"] == {FILE: hashlib.sha256(MODEL).hexdigest()}
    assert "Human-Art" in record["licence"]
    assert load_detector().name.startswith(FILE)
    assert load_detector(ART_DETECTOR).meta()["sha256"] == hashlib.sha256(MODEL).hexdigest()
    assert load_detector("yolox").name.startswith("YOLOX-Nano")
    after = models_asked("preview", EstimatorOptions(), "auto", DetectorOptions())
    assert after["detector"]["model"] != "yolox"
    assert after == models_asked("preview", EstimatorOptions(), path, DetectorOptions())


def test_the_plan_comes_first_and_the_hubs_token_is_not_sent(server: fake_hub.FakeHub) -> None:
    text = plan(ART_DETECTOR).describe()
    assert not server.log
    assert server.url in text
    assert "non-commercial" in text
    download(ART_DETECTOR)
    assert server.tokens == [None]
    count = len(server.log)
    download(ART_DETECTOR)
    assert len(server.log) == count


def test_a_broken_download_is_resumed(server: fake_hub.FakeHub) -> None:
    planned = plan(ART_DETECTOR)
    part = download_module._part(planned.files[0], planned)
    part.parent.mkdir(parents=True)
    part.write_bytes(server.repos["open/mmlab"]["yolox.zip"][:1_000_000])
    assert download(ART_DETECTOR).read_bytes() == MODEL
    assert [asked for _, _, asked in server.log] == ["bytes=1000000-"]


def test_a_killed_unpacking_needs_no_second_download(server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    content = server.repos["open/mmlab"]["yolox.zip"]
    folder = art_detector_path().parent
    folder.mkdir(parents=True)
    (folder / "yolox.zip").write_bytes(content)
    download(ART_DETECTOR)
    assert not server.log
    assert files_in(folder) == {FILE, RECORD}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"x/other.onnx": MODEL}, "has 0 files end2end.onnx"),
        ({"a/end2end.onnx": MODEL, "b/end2end.onnx": MODEL}, "has 2 files end2end.onnx"),
        ({"end2end.onnx": MODEL + b"x"}, "bytes: expected"),
        ({"end2end.onnx": MODEL[:-1] + b"x"}, "its SHA-256 is"),
    ],
    ids=["none", "two", "larger", "altered"],
)
def test_an_archive_without_exactly_that_model_is_refused(
    server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], expected: str
) -> None:
    offer(server, monkeypatch, zipped(members))
    with pytest.raises(DownloadError, match=expected):
        download(ART_DETECTOR)
    assert not art_detector_path().exists()
    assert load_detector().name.startswith("YOLOX-Nano")


def test_names_in_the_archive_lead_nowhere(server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, monkeypatch, zipped({"../../../end2end.onnx": MODEL, "/etc/evil": b"x"}))
    path = download(ART_DETECTOR)
    home = Path(os.environ["SDPOSE_HOME"])
    assert files_in(home.parent) == {path.relative_to(home.parent).as_posix(), f"home/{ART_DETECTOR}/{RECORD}"}


def test_a_link_in_the_archive_is_refused(server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    info = zipfile.ZipInfo("end2end.onnx")
    info.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    offer(server, monkeypatch, buffer.getvalue())
    with pytest.raises(DownloadError, match="expected one plain file"):
        download(ART_DETECTOR)


def test_a_bomb_is_not_unpacked(server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(zipped({"end2end.onnx": bytes(50_000_000)}, zipfile.ZIP_DEFLATED))
    true, stated = (50_000_000).to_bytes(4, "little"), len(MODEL).to_bytes(4, "little")
    while (at := content.find(true)) >= 0:
        content[at : at + 4] = stated
    offer(server, monkeypatch, bytes(content))
    with pytest.raises(DownloadError, match="holds more than it states|cannot be unpacked|SHA-256"):
        download(ART_DETECTOR)
    folder = art_detector_path().parent
    assert all(path.stat().st_size <= len(MODEL) for path in folder.rglob("*"))


def test_a_file_that_is_no_detector_is_not_put_in_place(
    server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b"no model"
    facts = {"entry_size": len(other), "entry_sha256": hashlib.sha256(other).hexdigest()}
    offer(server, monkeypatch, zipped({MEMBER: other}), **facts)
    with pytest.raises(DownloadError, match="cannot run here"):
        download(ART_DETECTOR)
    assert not art_detector_path().exists()


@pytest.mark.parametrize("content", [b"<html>a portal</html>", bytes(5_000_000)], ids=["page", "larger"])
def test_other_bytes_than_the_archives_are_never_put_in_place(server: fake_hub.FakeHub, content: bytes) -> None:
    right = server.repos["open/mmlab"]["yolox.zip"]
    server.repos["open/mmlab"]["yolox.zip"] = content
    assert not _succeeds()
    assert not art_detector_path().exists()
    server.repos["open/mmlab"]["yolox.zip"] = right
    assert _succeeds() or _succeeds()  # what was taken for the beginning of the file is removed
    assert files_in(art_detector_path().parent) == {FILE, RECORD}


def _succeeds() -> bool:
    try:
        download(ART_DETECTOR)
    except DownloadError:
        return False
    return True


def test_what_forbids_downloads_forbids_this_one(server: fake_hub.FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        plan(ART_DETECTOR)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    offer(server, monkeypatch, b"", url="http://example.org/yolox.zip")
    with pytest.raises(DownloadError, match="https://"):
        plan(ART_DETECTOR)
    assert not server.log


def test_nothing_is_written_through_a_link(server: fake_hub.FakeHub, tmp_path: Path) -> None:
    folder, elsewhere = art_detector_path().parent, tmp_path / "elsewhere.onnx"
    folder.mkdir(parents=True)
    art_detector_path().symlink_to(elsewhere)
    with pytest.raises(DownloadError, match="is a link"):
        download(ART_DETECTOR)
    assert not server.log
    assert not elsewhere.exists()
