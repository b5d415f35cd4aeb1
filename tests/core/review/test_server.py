"""The server: what the page may do, and what others may not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from review_clips import two_people

from sdpose_core.errors import InputError
from sdpose_core.review import files as files_module
from sdpose_core.review.files import open_review
from sdpose_core.review.server import serve

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra review)")

TOKEN = "a-token-that-nobody-guesses"
EDIT = {"op": {"kind": "move", "t": 1, "id": 4, "points": [9], "to": [[5, 6]], "spread": 0}}


def with_server(path: Path, use: Callable[[Any, str], Awaitable[None]], port: int = 0) -> None:
    """Run `use` with an HTTP client and the address of a server for the poses in `path`."""

    async def run() -> None:
        session, stop, address = open_review(path), asyncio.Event(), asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(session, TOKEN, port, address.set_result, stop))
        try:
            done, _ = await asyncio.wait([server, address], return_when=asyncio.FIRST_COMPLETED)
            if server in done:
                server.result()
            async with aiohttp.ClientSession() as client:
                await use(client, address.result())
        finally:
            stop.set()
            address.cancel()
            await asyncio.gather(server, return_exceptions=True)
            session.close()

    asyncio.run(run())


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    two_people().save(tmp_path / "clip.pose.npz")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "clip.pose.npz"


def test_the_page_reads_and_edits(clip):
    async def use(client: Any, address: str) -> None:
        async with client.get(address) as answer:
            assert answer.status == 200 and answer.content_type == "text/html"
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        async with client.get(address + "api/clip") as answer:
            about = await answer.json()
            assert about["frames"] == 40 and about["points"]["names"][9] == "left_wrist"
        async with client.post(address + "api/edit", json=EDIT) as answer:
            state = await answer.json()
            assert state["undo"] == 1 and state["changed"] == [1, 1]
        async with client.get(address + "api/frames?from=1&to=2") as answer:
            [frame] = (await answer.json())["frames"]
            assert frame["people"][0]["points"][9][:2] == [5, 6] and frame["people"][0]["points"][9][5] == 2
        for name in ("undo", "redo"):
            async with client.post(f"{address}api/{name}", json={}) as answer:
                assert answer.status == 200
        async with client.post(address + "api/save", json={}) as answer:
            assert (await answer.json())["name"] == "clip_reviewed.pose.npz"

    with_server(clip, use)


def paths(address: str) -> dict[str, str]:
    base = address.removesuffix(f"{TOKEN}/")
    return {
        "no token": base,
        "wrong token": f"{base}{'x' * len(TOKEN)}/",
        "part of the token": f"{base}{TOKEN[:-1]}/api/clip",
        "empty token": f"{base}/api/clip",
        "parent": f"{address}page/../../secret.txt",
        "encoded parent": f"{address}page/..%2fserver.py",
        "twice encoded parent": f"{address}page/..%252fserver.py",
        "backslashes": f"{address}page/..%5cserver.py",
        "absolute": f"{address}page/%2fetc%2fpasswd",
        "python": f"{address}page/server.py",
        "null": f"{address}page/index.html%00.js",
        "a frame that is a path": f"{address}picture/..%2f..%2fsecret.txt",
    }


@pytest.mark.parametrize("name", list(paths("http://127.0.0.1:1/")))
def test_other_paths_are_refused(clip, name):
    async def use(client: Any, address: str) -> None:
        from yarl import URL

        async with client.get(URL(paths(address)[name], encoded=True)) as answer:
            text = await answer.text()
            assert answer.status in (400, 403, 404) and "secret" not in text.replace("secret.txt", "")
            assert "import" not in text and "root:" not in text

    with_server(clip, use)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": ""},
    ],
    ids=str,
)
def test_other_origins_are_refused(clip, headers):
    async def use(client: Any, address: str) -> None:
        for ask in (
            client.get(address + "api/clip", headers=headers),
            client.post(address + "api/edit", json=EDIT, headers=headers),
        ):
            async with ask as answer:
                assert answer.status in (400, 403)
        async with client.get(address + "api/state") as answer:
            assert (await answer.json())["undo"] == 0

    with_server(clip, use)


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("api/edit", b"", "application/json"),
        ("api/edit", b"[]", "application/json"),
        ("api/edit", b"{", "application/json"),
        ("api/edit", b"[" * 100_000, "application/json"),
        ("api/edit", json.dumps(EDIT).encode(), "text/plain"),
        ("api/edit", json.dumps(EDIT).encode(), "application/x-www-form-urlencoded"),
        ("api/edit", b'{"op": {"kind": "put"}}', "application/json"),
        ("api/edit", b" " * (5 << 20), "application/json"),
        ("api/save", b'{"name": "../../evil"}', "application/json"),
        ("api/save", b'{"name": 5}', "application/json"),
        ("api/save", b'{"name": "\\ud800"}', "application/json"),
        (
            "api/edit",
            b'{"op": {"kind": "move", "t": 1, "id": 4, "points": [9], "to": [[1' + b"0" * 400 + b", 6]]}}",
            "application/json",
        ),
        ("api/estimate", b'{"t": 0, "id": null, "box": [1, 2, 3, 1' + b"0" * 400 + b"]}", "application/json"),
        ("api/estimate", b'{"t": 0, "id": null, "box": [1, 2, 3, 1e999]}', "application/json"),
        ("api/training", b'{"folder": "/tmp/evil"}', "application/json"),
        ("api/estimate", b'{"t": 0, "id": null, "box": [1, 2]}', "application/json"),
        ("api/nothing", b"{}", "application/json"),
    ],
)
def test_odd_requests_are_refused_in_a_sentence(clip, path, body, kind):
    async def use(client: Any, address: str) -> None:
        async with client.post(address + path, data=body, headers={"Content-Type": kind}) as answer:
            assert answer.status == 400 and len((await answer.json())["error"]) > 10
        async with client.get(address + "api/state") as answer:
            assert (await answer.json())["undo"] == 0

    with_server(clip, use)
    assert sorted(file.name for file in clip.parent.iterdir()) == ["clip.pose.npz", "secret.txt"]


@pytest.mark.parametrize(
    "query", ["from=0&to=41", "from=-1&to=2", "from=a&to=2", "", "from=0", "from=0&to=99999999999"]
)
def test_frames_that_are_not_there_are_refused(clip, query):
    async def use(client: Any, address: str) -> None:
        async with client.get(f"{address}api/frames?{query}") as answer:
            assert answer.status == 400 and "expected" in (await answer.json())["error"]

    with_server(clip, use)


def test_a_script_in_a_name_stays_text(tmp_path):
    from dataclasses import replace

    name = "<img src=x onerror=alert(1)>"
    path = tmp_path / f"{name}.pose.npz"
    replace(two_people(), meta={"source": f"{name}.mp4", "model": "<script>alert(1)</script>"}).save(path)

    async def use(client: Any, address: str) -> None:
        async with client.get(address) as answer:
            assert "onerror" not in await answer.text()
        async with client.get(address + "api/clip") as answer:
            assert answer.content_type == "application/json" and answer.headers["X-Content-Type-Options"] == "nosniff"
            assert (await answer.json())["name"] == name

    with_server(path, use)


def test_a_port_in_use_is_named(clip):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        async def use(client: Any, address: str) -> None:
            raise AssertionError("it started")

        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            with_server(clip, use, port)


def test_the_server_listens_on_the_loopback_alone(clip):
    async def use(client: Any, address: str) -> None:
        port = int(address.split(":")[2].split("/")[0])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)} - {"127.0.0.1"}
        for other in others:
            with pytest.raises(OSError), socket.create_connection((other, port), timeout=2):
                pass

    with_server(clip, use)


async def sent(address: str, request: bytes) -> tuple[bytes, bytes]:
    """The first line and the body of the answer to a raw request, in which PORT stands for the port."""
    port = int(address.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.replace(b"PORT", str(port).encode()))
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer.partition(b"\r\n")[0], answer.partition(b"\r\n\r\n")[2]


HEAD = b" HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
STATE = b"/a-token-that-nobody-guesses/api/state"
UNDO = b"POST /a-token-that-nobody-guesses/api/undo"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /%ED%A0%80/" + HEAD + b"\r\n", b"403"),
        (b"GET /%FF%FE/" + HEAD + b"\r\n", b"403"),
        (b"GET " + STATE + HEAD + b"Host: evil.example\r\n\r\n", b"400"),
        (b"GET " + STATE + b" HTTP/1.1\r\nHost: [::1]:PORT\r\nConnection: close\r\n\r\n", b"403"),
        (b"GET " + STATE + b" HTTP/1.1\r\nHost: 127.0.0.1.evil.example:PORT\r\nConnection: close\r\n\r\n", b"403"),
        (b"GET " + STATE + b" HTTP/1.0\r\n\r\n", b"403"),
        (b"PUT " + STATE + HEAD + b"\r\n", b"405"),
        (b"OPTIONS " + STATE + HEAD + b"Origin: http://evil.example\r\n\r\n", b"405"),
        (UNDO + HEAD + JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"400"),  # nothing to undo
        (UNDO + HEAD + JSON + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde", b"400"),
    ],
)
def test_odd_messages_are_answered(clip, request_, status):
    async def use(client: Any, address: str) -> None:
        line, body = await sent(address, request_)
        assert line.split()[1] == status and b"Traceback" not in body
        line, _ = await sent(address, b"GET " + STATE + HEAD + b"\r\n")
        assert line.split()[1] == b"200"

    with_server(clip, use)


class SlowPictures:
    """Pictures that are not ready before they are stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def jpeg(self, t: int, width: int) -> bytes:
        assert self.stopped.wait(20)
        raise InputError("stopped")

    def stop(self) -> None:
        self.stopped.set()

    close = stop


def test_edits_do_not_wait_for_pictures_and_the_end_does_not_either(clip, monkeypatch):
    slow = SlowPictures()
    monkeypatch.setattr(files_module, "_pictures", lambda *_: slow)

    async def use(client: Any, address: str) -> None:
        pictures = [asyncio.create_task(client.get(f"{address}picture/{t}")) for t in range(60)]
        await asyncio.sleep(0.1)
        async with client.post(address + "api/edit", json=EDIT) as answer:
            assert answer.status == 200 and not slow.stopped.is_set()
        for task in pictures:
            task.cancel()

    with_server(clip, use)
    assert slow.stopped.is_set()


def test_a_name_that_is_not_unicode_is_shown(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.pose.npz"))
    two_people().save(path)

    async def use(client: Any, address: str) -> None:
        async with client.get(address + "api/clip") as answer:
            assert (await answer.json())["name"].startswith("caf")
        async with client.post(address + "api/edit", json=EDIT) as answer:
            assert answer.status == 200
        async with client.post(address + "api/save", json={}) as answer:
            assert (await answer.json())["name"] == "caf__reviewed.pose.npz"

    with_server(path, use)


def test_a_port_that_no_machine_has_is_an_error_of_one_line(clip):
    async def use(client: Any, address: str) -> None:
        raise AssertionError("it was served")

    with pytest.raises(InputError, match="port 70000 cannot be used"):
        with_server(clip, use, 70000)
