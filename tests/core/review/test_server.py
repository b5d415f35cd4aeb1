"""The server: what the page may do, and what others may not."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from review_clips import two_people
from review_server import EDIT, TOKEN, with_server

from sdpose_core.errors import InputError


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
