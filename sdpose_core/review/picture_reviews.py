"""`meta["review"]` of a folder of pictures, where a frame is a picture, and of each picture by itself, as frame 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..poses import PoseSequence
from ..stated import list_in, mapping_in


def joined_reviews(parts: Sequence[PoseSequence]) -> dict[str, Any]:
    """What earlier reviews placed and checked in pictures, with their positions as frames."""
    placed, checked = [], []
    for t, part in enumerate(parts):
        review = mapping_in(part.meta, "review")
        placed += [{**entry, "frame": t} for entry in list_in(review, "placed", Mapping) if entry.get("frame") == 0]
        checked += [[t, *pair[1:]] for pair in list_in(review, "checked", list) if pair[:1] == [0]]
    return {"placed": placed, "checked": checked}


def review_of_picture(review: Mapping[str, Any], t: int, earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What the review of a folder did to picture `t`, after the `earlier` review of the picture."""
    return {
        "edits": [*list_in(earlier, "edits"), *(_in_picture(op) for op in review["edits"] if t in frames_of(op))],
        "placed": [{**entry, "frame": 0} for entry in review["placed"] if entry["frame"] == t],
        "checked": [[0, track_id] for frame, track_id in review["checked"] if frame == t],
        "library_version": review["library_version"],
    }


_AT_ONE_FRAME = ("move", "put", "split")


def frames_of(op: Mapping[str, Any]) -> range:
    """The pictures that an edit names, except the one that a copy is made of; it may change others too."""
    if op["kind"] == "join":
        return range(0)
    first, last = (op["t"], op["t"]) if op["kind"] in _AT_ONE_FRAME else (op["from"], op["to"])
    return range(first, last + 1)


def _in_picture(op: Mapping[str, Any]) -> dict[str, Any]:
    """The edit in one of its pictures. A copy has no `t` there: what was copied is in another picture."""
    if op["kind"] in _AT_ONE_FRAME:
        return {**op, "t": 0}
    return {**{name: value for name, value in op.items() if name != "t"}, "from": 0, "to": 0}
