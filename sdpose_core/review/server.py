"""The routes of the review page, for our server (`serving.py`) and for ComfyUI's. All lie below a secret prefix.

A request is refused unless it comes from a page of the same origin: others may reach 127.0.0.1 from the user's browser,
but neither know the token nor send our origin.

ComfyUI adds the routes when it starts: what a review needs is imported when there is one.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SDPoseError

if TYPE_CHECKING:
    from aiohttp import web

    from .canvas import Canvas
    from .session import ReviewSession

MAX_BODY = 4 << 20
"""Bytes of an edit."""
PAGE_FILES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".json": "application/json"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

UNKNOWN = "this address is not known: open the one that sdpose review prints"

FindSession = Callable[[str], "ReviewSession | None"]
Handler = Callable[["web.Request"], Awaitable["web.StreamResponse"]]


def add_routes(router: web.UrlDispatcher, prefix: str, find: FindSession, unknown: str = UNKNOWN) -> None:
    """Add the routes of the page below `prefix`/TOKEN/.

    Args:
        prefix: "" or such as "/sdpose_review".
        find: the session of a token; None: refused.
        unknown: what is said then.
    """
    routes = Routes(find, unknown)
    base = f"{prefix}/{{token}}"
    for path, handler in {
        f"{base}/": routes.index,
        f"{base}/page/{{name}}": routes.page_file,
        f"{base}/picture/{{t}}": routes.picture,
        f"{base}/api/{{view}}": routes.view,
    }.items():
        router.add_get(path, routes.guarded(handler))
    router.add_post(f"{base}/api/{{action}}", routes.guarded(routes.action))


class Routes:
    """What answers the requests of the page."""

    def __init__(self, find: FindSession, unknown: str = UNKNOWN) -> None:
        self._find, self._unknown = find, unknown
        self._decoding = asyncio.Lock()

    def guarded(self, handler: Callable[[web.Request, ReviewSession], Awaitable[Any]]) -> Handler:
        """A handler that refuses what does not come from the page, and answers every error in one sentence."""
        from aiohttp import web

        @functools.wraps(handler)
        async def answer(request: web.Request) -> web.StreamResponse:
            session = self._find(request.match_info["token"]) if is_same_origin(request) else None
            if session is None:
                return as_json({"error": self._unknown}, 403)
            try:
                response = await handler(request, session)
            except SDPoseError as error:
                return as_json({"error": str(error)}, 400)
            except MemoryError:
                return as_json({"error": "too little memory for this: close other programs"}, 500)
            return response if isinstance(response, web.StreamResponse) else as_json(response)

        return answer

    async def index(self, request: web.Request, session: ReviewSession) -> Any:
        return _page_file("index.html")

    async def page_file(self, request: web.Request, session: ReviewSession) -> Any:
        return _page_file(request.match_info["name"])

    async def picture(self, request: web.Request, session: ReviewSession) -> Any:
        from aiohttp import web

        if session.pictures is None:
            raise InputError("the pictures are not known")
        t, width = _number(request.match_info["t"], "frame"), _number(request.query.get("width", "0"), "width")
        async with self._decoding:  # one thread at most: edits must not wait until all of them are free
            if request.transport is None:
                raise InputError("nobody waits for this picture any more")
            content = await asyncio.to_thread(session.pictures.jpeg, t, width)
        return web.Response(
            body=content, content_type="image/jpeg", headers={**HEADERS, "Cache-Control": "private, max-age=3600"}
        )

    async def view(self, request: web.Request, session: ReviewSession) -> Any:
        from .views import clip_view, frames_view, timeline_view, worst_view

        name, query = request.match_info["view"], request.query
        if name == "clip":
            return await asyncio.to_thread(session.view, lambda _: clip_view(session))
        if name == "state":
            return await asyncio.to_thread(session.state)  # an edit may hold its lock
        if name == "frames":
            start, end = (_number(query.get(key, ""), key) for key in ("from", "to"))
            return await _viewed(session, lambda canvas: {"frames": frames_view(canvas, start, end)})
        if name == "timeline":
            bins = _number(query.get("bins", "1000"), "bins")
            return await _viewed(session, lambda canvas: {"rows": timeline_view(canvas, bins)})
        if name == "worst":
            count = _number(query.get("count", "100"), "count")
            return await _viewed(session, lambda canvas: worst_view(canvas, count))
        raise InputError(f"{name!r:.60} is not known")

    async def action(self, request: web.Request, session: ReviewSession) -> Any:
        body = await _body(request)
        name = request.match_info["action"]
        if name not in _ACTIONS:
            raise InputError(f"{name!r:.60} is not known")
        return await asyncio.to_thread(_ACTIONS[name], session, body)


async def _viewed(session: ReviewSession, make: Callable[[Canvas], dict[str, Any]]) -> dict[str, Any]:
    """A view, and the version that it shows."""
    return await asyncio.to_thread(session.view, lambda canvas: {"version": session.version, **make(canvas)})


def _edit(session: ReviewSession, body: dict[str, Any]) -> Any:
    op = body.get("op")
    if isinstance(op, dict) and op.get("kind") == "put":
        raise InputError("this edit is made by estimating again")
    return session.edit(op)  # type: ignore[arg-type]  # anything else is refused there


def _estimate(session: ReviewSession, body: dict[str, Any]) -> Any:
    from .fields import Fields

    fields = Fields({**body, "kind": "estimate"}, len(session.canvas), session.canvas.point_count)
    points = None if body.get("points") is None else fields.points().tolist()
    box = fields.numbers("box", 4).tolist()
    return session.estimate_again(fields.frame("t"), fields.whole("id", otherwise=None), box, points)


def _save(session: ReviewSession, body: dict[str, Any]) -> Any:
    path, state = session.save(_text(body, "name"))
    return {**state, "path": str(path), "name": path.name}


def _training(session: ReviewSession, body: dict[str, Any]) -> Any:
    path, pictures, people = session.save_training(_text(body, "folder"))
    return {**session.state(), "path": str(path), "pictures": pictures, "people_written": people}


_ACTIONS: dict[str, Callable[[ReviewSession, dict[str, Any]], Any]] = {
    "edit": _edit,
    "undo": lambda session, _: session.undo(),
    "redo": lambda session, _: session.redo(),
    "save": _save,
    "training": _training,
    "estimate": _estimate,
}


def is_same_origin(request: web.Request) -> bool:
    """Whether a page of this server sent the request, or a user typed it, and no page of another site."""
    origin, hosts = request.headers.get("Origin"), request.headers.getall("Host", [])
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    return origin is None or [origin.partition("://")[2]] == hosts


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise InputError(f"expected JSON, got {request.content_type!r:.60}")
    from aiohttp.web import RequestPayloadError

    content = bytearray()
    try:
        async for block in request.content.iter_chunked(1 << 16):
            content += block
            if len(content) > MAX_BODY:
                raise InputError(f"an edit of more than {MAX_BODY:,} bytes: change fewer frames at once")
    except (RequestPayloadError, ConnectionError):
        raise InputError("the request is damaged or was cut off") from None
    try:
        body = json.loads(content or b"{}", parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        raise InputError("expected JSON, got something else") from None
    if not isinstance(body, dict):
        raise InputError("expected a JSON object")
    return body


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"{name}: expected a text, got {value!r:.60}")
    return value or None


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise InputError(f"{what}: expected a whole number, got {text!r:.60}")
    return int(text)


def _page_file(name: str) -> Any:
    from aiohttp import web

    folder = resources.files(__package__) / "page"
    suffix = "." + name.rpartition(".")[2]
    if suffix not in PAGE_FILES or name not in {entry.name for entry in folder.iterdir()}:
        return as_json({"error": "there is no such file"}, 404)
    return web.Response(
        body=(folder / name).read_bytes(), content_type=PAGE_FILES[suffix], charset="utf-8", headers=HEADERS
    )


def as_json(value: Any, status: int = 200) -> Any:
    """An answer in JSON."""
    from aiohttp import web

    return web.Response(
        text=json.dumps(value, separators=(",", ":")), status=status,
        content_type="application/json", headers=HEADERS,
    )  # fmt: skip
