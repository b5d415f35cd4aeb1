"""A server of the review page, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sdpose_core.review.files import open_review
from sdpose_core.review.serving import serve

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
