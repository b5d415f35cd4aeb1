"""The review page inside ComfyUI: what the Review Poses nodes got in their last runs, and the reviews that are open."""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...sdpose_core.errors import InputError, SDPoseError
from ...sdpose_core.review.identity import digest_of
from ...sdpose_core.texts import parse_json
from ..sockets.review_pictures import ReviewPictures
from .corrections import Corrections
from .model import PreviewModel

if TYPE_CHECKING:
    import numpy as np
    import torch
    from aiohttp import web

    from ...sdpose_core.poses import Poses, PoseSequence
    from ...sdpose_core.review.session import Estimate, ReviewSession

PREFIX = "/sdpose_review"
MAX_WIRES = MAX_OPEN = 4
"""Each keeps a clip's poses in memory."""
PREVIEW = PreviewModel()
UNKNOWN = "this review is closed: press Review poses on the node again"
NOT_YET = "nothing has arrived at this node yet: run the graph once, then review the poses"


@dataclass(frozen=True)
class Wire:
    """What was on a node's wires in its last run."""

    corrections: Corrections
    sequence: PoseSequence
    digest: str
    pictures: ReviewPictures
    model: Callable[[], Any]
    notes: Sequence[str]


@dataclass(frozen=True)
class Open:
    """A review that a page may look at."""

    wire: Wire
    session: ReviewSession


class Reviews:
    """The wires of the last nodes that ran, and the last reviews that were opened. For any thread."""

    def __init__(self) -> None:
        self._wires: OrderedDict[tuple[str, str], Wire] = OrderedDict()
        self._open: OrderedDict[str, Open] = OrderedDict()
        self._lock = threading.RLock()

    def remember(
        self,
        corrections: Corrections,
        node: str,
        sequence: PoseSequence,
        *,
        image: torch.Tensor | None,
        video: Any,
        model: Any,
        notes: Sequence[str],
    ) -> None:
        """Keep what arrived at a node, for its button. Raises `InputError` for pictures of other frames."""
        with self._lock:
            before = self._wires.pop((corrections.name, node), None)
        if before and before.pictures.are_of(sequence, image, video):
            pictures = before.pictures
        else:
            pictures = ReviewPictures(sequence, image, video)
        known = (lambda: PREVIEW) if model is None else weakref.ref(model)
        wire = Wire(corrections, sequence, digest_of(sequence), pictures, known, notes)
        with self._lock:
            self._wires[corrections.name, node] = wire
            while len(self._wires) > MAX_WIRES:
                self._wires.popitem(last=False)

    def open(self, name: str, node: str) -> str:
        """The token of a page for a node (its id; inside a subgraph, the end of its id) whose corrections have a name.

        Raises `InputError` if it has not run yet.
        """
        with self._lock:
            wire = next((wire for key, wire in reversed(self._wires.items()) if _is_node(key, name, node)), None)
            if wire is None:
                raise InputError(NOT_YET)
            for token, review in list(self._open.items()):
                same = (review.wire.corrections.name, review.wire.digest) == (name, wire.digest)
                if same and review.wire.pictures is wire.pictures and review.wire.model() is wire.model():
                    self._open.move_to_end(token)
                    return token
                if same:
                    self._close(token)
            while len(self._open) >= MAX_OPEN:
                self._close(next(iter(self._open)))
            token = secrets.token_urlsafe(24)
            self._open[token] = Open(wire, _session(wire))
            return token

    def find(self, token: str) -> ReviewSession | None:
        """The session of a token. Does not wait for `open`: the server asks for each request."""
        review = self._open.get(token)
        return review.session if review else None

    def _close(self, token: str) -> None:
        self._open.pop(token).session.close()


REVIEWS = Reviews()


def _is_node(key: tuple[str, str], name: str, node: str) -> bool:
    return key[0] == name and (key[1] == node or key[1].endswith(f":{node}"))


def _session(wire: Wire) -> ReviewSession:
    from ...sdpose_core.review.session import ReviewSession

    journal = wire.corrections.journal(wire.sequence)
    try:
        return ReviewSession(
            wire.sequence,
            name=str(wire.sequence.meta.get("source") or ""),
            journal=journal,
            pictures=wire.pictures.open(wire.sequence),
            estimate=estimate_by(wire.model, wire.sequence.keypoint_set),
            notes=wire.notes,
        )
    except BaseException:
        journal.close()
        raise


def estimate_by(model: Callable[[], Any], keypoint_set: str) -> Estimate:
    """Estimates the person in a box, with as many points as the poses have."""

    @functools.cache
    def preview() -> Any:
        return PREVIEW.estimator()

    def estimate(picture: np.ndarray, box: np.ndarray) -> Poses:
        chosen = model()
        if chosen is None:
            raise InputError("the model is no longer loaded: run the graph again")
        if chosen is not PREVIEW and _is_busy():
            raise InputError("ComfyUI is running a graph, and the model cannot do both: wait until it ends")
        found = (preview() if chosen is PREVIEW else chosen.estimator()).estimate([picture], [box])[0]
        return _as_set(found, keypoint_set)

    return estimate


def _as_set(poses: Poses, keypoint_set: str) -> Poses:
    """The same, or the first points of a larger set. Raises `InputError` if it does not begin with them."""
    from ...sdpose_core.skeletons import KEYPOINT_SETS

    if poses.keypoint_set == keypoint_set:
        return poses
    wanted, found = (KEYPOINT_SETS.get(name) for name in (keypoint_set, poses.keypoint_set))
    if wanted is None or found is None or found.names[: len(wanted.names)] != wanted.names:
        raise InputError(f"the model gives {poses.keypoint_set}, the poses are {keypoint_set}: connect another model")
    count = len(wanted.names)
    return replace(
        poses, keypoints=poses.keypoints[:, :count], scores=poses.scores[:, :count], keypoint_set=keypoint_set
    )


def _is_busy() -> bool:
    from server import PromptServer

    return PromptServer.instance.prompt_queue.get_tasks_remaining() > 0


def serve_review_page() -> None:
    """Serve the page below /sdpose_review/TOKEN/, and what the node's button asks for that address."""
    with contextlib.suppress(ImportError):  # without a server, as in tests
        from server import PromptServer

        from ...sdpose_core.review.server import add_routes

        server = PromptServer.instance
        server.routes.post(PREFIX)(_open_page)
        for prefix in (PREFIX, f"/api{PREFIX}"):  # a page that is served below another folder asks below /api alone
            add_routes(server.app.router, prefix, REVIEWS.find, UNKNOWN)


async def _open_page(request: web.Request) -> web.Response:
    """{"corrections": name, "node": id} -> {"address"} of the page, or {"error"}."""
    import asyncio

    from aiohttp import web

    from ...sdpose_core.review.server import is_same_origin

    if not is_same_origin(request) or request.content_type != "application/json":
        return web.json_response({"error": "expected a request of ComfyUI's own page"}, status=403)
    try:
        body = parse_json(await request.text(), "request", "an object with corrections and node", dict)
        name = Corrections(body.get("corrections", "")).name
        token = await asyncio.to_thread(REVIEWS.open, name, str(body.get("node", "")))
    except SDPoseError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"address": f"{PREFIX}/{token}/"})
