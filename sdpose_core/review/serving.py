"""Our own server of the review page, on this machine's loopback."""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import InputError, reason_of
from .server import Handler, add_routes, as_json
from .session import ReviewSession

if TYPE_CHECKING:
    from aiohttp import web


def same_token(given: str, token: str) -> bool:
    """Whether they are equal, in a time that tells nothing."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), token.encode())


def make_app(session: ReviewSession, token: str, port: int) -> web.Application:
    """An application with one session, which answers to the names of this machine's loopback alone."""
    from aiohttp import web

    names = ("127.0.0.1", "localhost")
    hosts = {f"{name}:{port}" for name in names}.union(names if port == 80 else ())  # browsers leave out :80

    @web.middleware
    async def only_loopback(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hosts.issuperset(request.headers.getall("Host", [""])):  # a site's name that leads to 127.0.0.1
            return as_json({"error": "this server answers on 127.0.0.1 only"}, 403)
        return await handler(request)

    app = web.Application(middlewares=[only_loopback])
    add_routes(app.router, "", lambda given: session if same_token(given, token) else None)
    return app


async def serve(
    session: ReviewSession, token: str, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serve the page on 127.0.0.1 until `stop` is set. `ready` gets its address.

    Args:
        port: 0: any free one.

    Raises `InputError` if the port is taken.
    """
    from aiohttp import web

    listening = socket.socket()
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise InputError(f"port {port} cannot be used ({reason_of(error)}): choose another with --port") from None
        port = listening.getsockname()[1]
        runner = web.AppRunner(make_app(session, token, port), access_log=None, shutdown_timeout=2)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            ready(f"http://127.0.0.1:{port}/{token}/")
            await stop.wait()
        finally:
            session.stop()
            await runner.cleanup()
