"""The server and what it is sent by others than its page, or by its page at a bad time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from review_clips import two_people
from review_server import EDIT, TOKEN, aiohttp, with_server

from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.review import files as files_module
from sdpose_core.review.serving import make_app


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    two_people().save(tmp_path / "clip.pose.npz")
    (tmp_path / "secret.txt").write_text("secret")
    return tmp_path / "clip.pose.npz"


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


@pytest.mark.skipif(sys.platform != "linux", reason="names of arbitrary bytes are Linux's")
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


@pytest.mark.parametrize(("port", "status"), [(80, 200), (8080, 403)])
def test_the_usual_port_is_left_out_by_browsers(clip, port, status):
    from aiohttp.test_utils import TestClient, TestServer

    async def ask() -> int:
        session = files_module.open_review(clip)
        async with TestClient(TestServer(make_app(session, TOKEN, port))) as client:
            headers = {"Host": "localhost", "Origin": "http://localhost"}
            async with client.post(f"/{TOKEN}/api/edit", json=EDIT, headers=headers) as answer:
                session.close()
                return answer.status

    assert asyncio.run(ask()) == status


def test_a_port_that_no_machine_has_is_an_error_of_one_line(clip):
    async def use(client: Any, address: str) -> None:
        raise AssertionError("it was served")

    with pytest.raises(InputError, match="port 70000 cannot be used"):
        with_server(clip, use, 70000)


HANGING = """
import sys, time
from sdpose_core.cli import review
from sdpose_core.cli.main import main
review.make_estimator = lambda args: time.sleep(600)
sys.exit(main(["review", sys.argv[1], "--pictures", sys.argv[2], "--no-browser"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are handled elsewhere")
def test_a_second_interrupt_does_not_wait_for_an_estimate(tmp_path):
    replace(two_people(1), frame_rate=None).save(tmp_path / "a.pose.npz")
    write_png(tmp_path / "a.png", np.zeros((240, 320, 3), np.uint8))
    command = [sys.executable, "-c", HANGING, str(tmp_path / "a.pose.npz"), str(tmp_path / "a.png")]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()

        async def ask() -> None:
            async with aiohttp.ClientSession() as client:
                box = {"t": 0, "id": None, "box": [0, 0, 50, 50]}
                with pytest.raises(asyncio.TimeoutError):
                    await client.post(address + "api/estimate", json=box, timeout=aiohttp.ClientTimeout(2))

        asyncio.run(ask())
        server.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(5)
        server.send_signal(signal.SIGINT)
        assert server.wait(10) == 130
    finally:
        server.kill()
        server.communicate()
