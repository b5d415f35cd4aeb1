"""Lists, patterns and scripts in the place of a video or a picture: nothing else is read, asked or started."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import DATA
from PIL import Image
from video_files import levels, write

from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_core.origins import read_mark
from sdpose_core.video.opening import frame_count, is_video, open_video

HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
LISTS = {
    "hls": HLS,
    "hls key": HLS.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF'),
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "concat, mark": "\ufeffffconcat version 1.0\nfile '{}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns={}\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}  # fmt: skip
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) print\nshowpage\n%%EOF\n"


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Listens; whoever connects is waiting in its queue."""
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        waiting.listen()
        waiting.setblocking(False)
        yield waiting


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.gif"])
def test_lists_are_refused_and_read_nothing(tmp_path: Path, server: socket.socket, kind: str, name: str) -> None:
    shutil.copy(DATA / "dancer.mp4", tmp_path / "other.mp4")
    host, port = server.getsockname()
    path = tmp_path / name
    for target in ("/etc/passwd", "other.mp4", f"file:{tmp_path}/other.mp4", f"http://{host}:{port}/a.ts"):
        path.write_text(LISTS[kind].replace("{}", target), encoding="utf-8")
        with pytest.raises(InputError, match=r"list\.\w+ (is a list of other files|cannot be read)") as caught:
            open_video(path)
        assert "\n" not in str(caught.value) and "root:" not in str(caught.value)
        assert read_mark(path) is None
    with pytest.raises(BlockingIOError):
        server.accept()


@pytest.mark.parametrize("name", ["a%d.jpg", "a*.jpg", "a?.bmp", "%03d.tif"])
def test_a_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    """FFmpeg would read a1.jpg, the secret one, for a%d.jpg."""
    for other in ("a1.jpg", "a0.bmp", "001.tif", "a1.bmp"):
        Image.new("RGB", (40, 40)).save(tmp_path / other)
    with pytest.raises(InputError, match="no such file"):
        open_video(tmp_path / name)
    Image.new("RGB", (24, 16)).save(tmp_path / "own", format=Image.registered_extensions()[Path(name).suffix])
    (tmp_path / "own").rename(tmp_path / name)
    try:
        assert open_video(tmp_path / name).info.size == (24, 16)
    except InputError as error:
        assert "cannot be read as a video" in str(error)


@pytest.mark.parametrize("name", ["http:x.mp4", "concat:a.mp4|b.mp4", "pipe:0", "-"])
def test_a_name_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_video(name)
    write(tmp_path / "clip.mp4", levels(2)).rename(name)
    assert frame_count(name) == 2


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` that leaves a trace."""
    (tmp_path / "bin").mkdir()
    trace = tmp_path / "started"
    for name in ("gs", "gswin64c", "gswin32c"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho >> '{trace}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # Pillow remembers whether there is one
    return trace


def test_the_program_would_be_started(tmp_path: Path, ghostscript: Path) -> None:
    (tmp_path / "x.gif").write_bytes(POSTSCRIPT)
    with pytest.raises(OSError), Image.open(tmp_path / "x.gif") as image:
        image.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("suffix", [".gif", ".png", ".tif", ".mp4", ".eps"])
@pytest.mark.parametrize("begin", [b"", b"\xc5\xd0\xd3\xc6" + (32).to_bytes(4, "little") + bytes(24)])
def test_postscript_starts_nothing(
    tmp_path: Path, ghostscript: Path, suffix: str, begin: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in" / f"x{suffix}"
    path.parent.mkdir()
    path.write_bytes(begin + POSTSCRIPT)
    for read in (read_image, open_video):
        with pytest.raises(InputError):
            read(path)
    assert is_video(path) in (True, False) and read_mark(path) is None
    out = str(tmp_path / "out")
    for command in ("image", "video"):
        assert main([command, str(path), "-o", out, "--model", "preview-body"]) in (1, 2)
    assert main(["info", str(path)]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert not ghostscript.exists()
